// lockscope: shows who holds which lock on an SQLite database, and holds barriers. Each command has
// a file of its own.
//
// No command that only looks opens the database with SQLite: whoever closes a database last would
// checkpoint it and delete its WAL. The commands that hold a barrier do, without checkpoint.
#include <fcntl.h>
#include <unistd.h>

#include <clocale>
#include <exception>
#include <sstream>

#include "command.h"
#include "lockscope.h"

namespace {

using namespace lockscope::tools;

// What CLI11 has to say goes to stdout where it was asked for, else to stderr with status 2.
int Explain(const CLI::App& app, const CLI::ParseError& error) {
  std::ostringstream out;
  std::ostringstream err;
  const bool asked_for = app.exit(error, out, err) == 0;
  if (asked_for) {
    const std::string text = out.str();
    return Print(text.ends_with('\n') ? text : text + "\n") ? kExitWell : kExitWrong;
  }
  // CLI11 misses the command before it minds a word that is none.
  if (app.get_subcommands().empty() && app.remaining_size() > 0) {
    Complain("no command '" + app.remaining().front() + "': lockscope --help lists them");
    return kExitUsage;
  }
  std::istringstream lines(err.str());
  for (std::string line; std::getline(lines, line);) Complain(line);
  return kExitUsage;
}

// A stream that is closed would become the next file that is opened, a pid file or a pipe of ours,
// and take what is printed. What stands in for it fails as before, and a command that is run does
// not get it.
void KeepStreamsFromFiles() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) >= 0) continue;
    // The lowest that is free.
    (void)!open("/dev/null", (stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
  }
}

int Main(int argc, char** argv) {
  CLI::App app("Eyes for SQLite's locks: who holds which lock, and which reader pins the WAL.",
               "lockscope");
  app.set_version_flag("--version", "lockscope " LOCKSCOPE_VERSION);
  app.require_subcommand(1);
  app.footer("lockscope COMMAND --help tells more of a command; so does man lockscope.");
  const CommandLine line = Split(argc, argv);
  Action action;
  AddConnections(app, action);
  AddLocks(app, action);
  AddSnapshots(app, action);
  AddWal(app, action);
  AddWhy(app, action);
  AddBarriers(app, action);
  AddBlockers(app, action);
  AddWaits(app, action);
  AddRecoveries(app, action);
  AddHazards(app, action);
  AddEvents(app, action);
  AddStats(app, action);
  AddWaitRecovery(app, action);
  AddShell(app, action);
  AddExec(app, action);
  AddCopy(app, action);
  AddHold(app, action);
  try {
    // CLI11 takes its words from the back.
    app.parse(std::vector<std::string>(line.own.rbegin(), line.own.rend()));
  } catch (const CLI::ParseError& error) {
    return Explain(app, error);
  }
  return action(line);
}

}  // namespace

int main(int argc, char** argv) {
  KeepStreamsFromFiles();
  std::setlocale(LC_CTYPE, "C.UTF-8");  // for the width of characters, whatever the user's locale
  try {
    return Main(argc, argv);
  } catch (const std::exception& e) {
    Complain(e.what());
  } catch (...) {
    Complain("failed");
  }
  return kExitWrong;
}
