#include "functions.h"

#include <new>
#include <optional>
#include <string>

#include "barrier_functions.h"
#include "diagnosis_functions.h"
#include "function_call.h"
#include "insight/lock_log.h"
#include "insight/table.h"
#include "ledger/registry.h"
#include "lockscope.h"
#include "logging/log.h"
#include "settings/settings.h"
#include "shim/shim_file.h"
#include "sql_tables.h"

namespace lockscope::loadable {

namespace {

settings::DatabaseSettings SettingsOfMain(sqlite3* db) {
  settings::DatabaseSettings settings;
  sqlite3_file_control(db, "main", shim::kFcntlSettings, &settings);
  return settings;
}

Status Version(sqlite3_context* context, int, sqlite3_value**) {
  Answer(context, std::string("lockscope ") + lockscope_libversion() + " (SQLite " +
                      sqlite3_libversion() + " " + sqlite3_sourceid() + ")");
  return {};
}

Status Json(sqlite3_context* context, int count, sqlite3_value** arguments) {
  const auto name = TextArgument(arguments[0], "the table");
  if (!name.ok()) return name.status();
  const SqlTable* table = FindSqlTable(name.value());
  if (table == nullptr) {
    return {SQLITE_MISUSE, "lockscope has no table '" + name.value() + "'"};
  }
  std::optional<std::string> target;
  if (count > 1) {
    auto text = TextArgument(arguments[1], "the target");
    if (!text.ok()) return text.status();
    target = std::move(text.value());
  }
  const auto rows = table->rows(sqlite3_context_db_handle(context), *table->table, target);
  if (!rows.ok()) return rows.status();
  Answer(context, insight::ToJson(*table->table, rows.value()));
  return {};
}

Status AnswerSetting(sqlite3_context* context, const std::string& name) {
  auto value = settings::Get(name, SettingsOfMain(sqlite3_context_db_handle(context)));
  if (!value.ok()) return value.status();
  Answer(context, value.value());
  return {};
}

Status Set(sqlite3_context* context, int, sqlite3_value** arguments) {
  const auto name = TextArgument(arguments[0], "the setting's name");
  if (!name.ok()) return name.status();
  const auto value = TextArgument(arguments[1], "the setting's value");
  if (!value.ok()) return value.status();
  const std::string log_before = settings::WordOfProcess("log");
  if (Status status = settings::Set(name.value(), value.value()); !status.ok()) return status;
  const bool of_log = sqlite3_stricmp(name.value().c_str(), "log") == 0;
  if (Status status = of_log ? logging::Follow() : Status{}; !status.ok()) {
    (void)settings::Set("log", log_before);
    return status;
  }
  insight::FollowLogSettings();
  ledger::Registry::Process().SettingsChanged();
  return AnswerSetting(context, name.value());
}

Status Get(sqlite3_context* context, int, sqlite3_value** arguments) {
  const auto name = TextArgument(arguments[0], "the setting's name");
  if (!name.ok()) return name.status();
  return AnswerSetting(context, name.value());
}

constexpr Function kFunctions[] = {
    {"lockscope_version", 0, 0, Call<Version>},
    {"lockscope_json", 1, SQLITE_DIRECTONLY, Call<Json>},
    {"lockscope_json", 2, SQLITE_DIRECTONLY, Call<Json>},
    {"lockscope_set", 2, SQLITE_DIRECTONLY, Call<Set>},
    {"lockscope_get", 1, 0, Call<Get>},
};

}  // namespace

int RegisterFunctions(sqlite3* db) {
  if (const int result = Register(db, kFunctions); result != SQLITE_OK) return result;
  if (const int result = RegisterDiagnosisFunctions(db); result != SQLITE_OK) return result;
  return RegisterBarrierFunctions(db);
}

}  // namespace lockscope::loadable
