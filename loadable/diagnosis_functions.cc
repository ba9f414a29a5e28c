#include "diagnosis_functions.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "function_call.h"
#include "insight/recoveries.h"
#include "insight/recovery_wait.h"
#include "insight/why_busy.h"
#include "interrupt_probe.h"
#include "targets.h"

namespace lockscope::loadable {
namespace {

using std::chrono::milliseconds;

// The first argument, where there is one: a schema or a path. '' is its default.
Result<std::vector<std::string>> Targets(sqlite3_context* context, int count,
                                         sqlite3_value** arguments) {
  std::optional<std::string> target;
  if (count > 0 && !IsDefault(arguments[0])) {
    auto text = TextArgument(arguments[0], "the target");
    if (!text.ok()) return text.status();
    target = std::move(text.value());
  }
  return ResolveTargets(sqlite3_context_db_handle(context), target);
}

Status Why(sqlite3_context* context, int count, sqlite3_value** arguments) {
  const auto paths = Targets(context, count, arguments);
  if (!paths.ok()) return paths.status();
  const insight::Asker asker = Ask(sqlite3_context_db_handle(context));
  Answer(context, insight::WhyBusy(insight::Look::At(paths.value()), asker));
  return {};
}

Status State(sqlite3_context* context, int count, sqlite3_value** arguments) {
  const auto paths = Targets(context, count, arguments);
  if (!paths.ok()) return paths.status();
  const insight::Look look = insight::Look::At(paths.value());
  auto worst = insight::RecoveryState::kNone;
  for (const insight::Database& database : look.databases()) {
    worst = std::max(worst, insight::RecoveryStateOf(look, database));
  }
  Answer(context, std::string(insight::Name(worst)));
  return {};
}

Status WaitRecovery(sqlite3_context* context, int count, sqlite3_value** arguments) {
  const auto paths = Targets(context, count, arguments);
  if (!paths.ok()) return paths.status();
  milliseconds timeout{5000};
  if (count > 1) {
    if (Status status = TimeArgument(arguments[1], "timeout_ms", timeout); !status.ok()) {
      return status;
    }
  }
  InterruptProbe probe(sqlite3_context_db_handle(context));
  Status status =
      insight::WaitForRecovery(paths.value(), timeout, [&probe] { return probe.Interrupted(); });
  if (!status.ok()) return status;
  Answer(context, std::string("none"));
  return {};
}

// They open files of the caller's choice, which a schema must not.
constexpr Function kFunctions[] = {
    {"lockscope_why", 0, SQLITE_DIRECTONLY, Call<Why>},
    {"lockscope_why", 1, SQLITE_DIRECTONLY, Call<Why>},
    {"lockscope_recovery_state", 0, SQLITE_DIRECTONLY, Call<State>},
    {"lockscope_recovery_state", 1, SQLITE_DIRECTONLY, Call<State>},
    {"lockscope_wait_recovery", 0, SQLITE_DIRECTONLY, Call<WaitRecovery>},
    {"lockscope_wait_recovery", 1, SQLITE_DIRECTONLY, Call<WaitRecovery>},
    {"lockscope_wait_recovery", 2, SQLITE_DIRECTONLY, Call<WaitRecovery>},
};

}  // namespace

int RegisterDiagnosisFunctions(sqlite3* db) { return Register(db, kFunctions); }

}  // namespace lockscope::loadable
