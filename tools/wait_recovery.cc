// lockscope wait-recovery: returns once nothing is being recovered, and no hot journal waits for
// it.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "command.h"
#include "insight/recovery_wait.h"

namespace lockscope::tools {
namespace {

struct Options {
  std::vector<std::string> databases;
  std::chrono::milliseconds timeout{5000};
};

int WaitRecovery(const Options& options) {
  const Databases databases = Find(options.databases);
  if (databases.found.empty()) return kExitWrong;
  const Status status = insight::WaitForRecovery(databases.Paths(), options.timeout, {});
  if (!status.ok()) {
    Complain(status.message);
    return kExitTryAgain;
  }
  return databases.all_found ? kExitWell : kExitWrong;
}

}  // namespace

void AddWaitRecovery(CLI::App& app, Action& action) {
  const auto options = std::make_shared<Options>();
  CLI::App* subcommand = app.add_subcommand(
      "wait-recovery", "wait until nothing is being recovered and no journal is hot");
  subcommand->add_option("DB", options->databases, "database files")->required();
  AddTimeSpan(*subcommand, "--timeout", options->timeout,
              "how long at most: 300ms, 5s, 2m, 1h, bare = seconds; 5s is the default");
  subcommand->footer(
      "Rolls nothing back by itself: a hot journal waits for whoever opens the database for "
      "writing.\n"
      "Exit status: 0 it is over, or there was nothing; 1 a database cannot be read; 2 usage;\n"
      "75 not in time.");
  subcommand->callback([&action, options] {
    action = [options](const CommandLine&) { return WaitRecovery(*options); };
  });
}

}  // namespace lockscope::tools
