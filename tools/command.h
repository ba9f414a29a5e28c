// What every command of lockscope shares: how it is added, what it says, how it ends.
#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "command_line.h"
#include "insight/look.h"

namespace lockscope::tools {

enum Exit : int {
  kExitWell = 0,
  kExitWrong = 1,  // something is wrong: a danger or a warning, a database that cannot be looked at
  kExitUsage = 2,
  kExitTryAgain = 75,      // no barrier in time (EX_TEMPFAIL)
  kExitOver = 124,         // the hold time is over; this and the others as timeout(1) has them
  kExitFailed = 125,       // lockscope failed, or the barrier was violated
  kExitNotRunnable = 126,  // the command to run
  kExitNotFound = 127,
  kExitSignal = 128,  // and the signal that ended it
};

// What the command line asked for; run once all of it has been read. Returns the exit status.
using Action = std::function<int(const CommandLine&)>;

// Each adds its command to `app`, and sets `action` when it is the one that was asked for.
void AddConnections(CLI::App& app, Action& action);
void AddLocks(CLI::App& app, Action& action);
void AddSnapshots(CLI::App& app, Action& action);
void AddWal(CLI::App& app, Action& action);
void AddWhy(CLI::App& app, Action& action);
void AddBarriers(CLI::App& app, Action& action);
void AddBlockers(CLI::App& app, Action& action);
void AddHazards(CLI::App& app, Action& action);
void AddEvents(CLI::App& app, Action& action);
void AddStats(CLI::App& app, Action& action);
void AddWaits(CLI::App& app, Action& action);
void AddRecoveries(CLI::App& app, Action& action);
void AddWaitRecovery(CLI::App& app, Action& action);
void AddShell(CLI::App& app, Action& action);
void AddExec(CLI::App& app, Action& action);
void AddCopy(CLI::App& app, Action& action);
void AddHold(CLI::App& app, Action& action);

// An option whose value is a span of time; anything else is a usage error.
void AddTimeSpan(CLI::App& command, const char* name, std::chrono::milliseconds& span,
                 const char* help);

// One line on stderr: "lockscope: " and the text, made Visible.
void Complain(std::string_view text);

// Writes to stdout and flushes. False, after a complaint, where that fails (a full disk).
bool Print(std::string_view text);

// The databases that a command line names.
struct Databases {
  struct Named {
    std::string name;  // as it was given, for people
    std::string path;  // absolute, symbolic links resolved
  };
  std::vector<Named> found;  // each file once
  bool all_found = true;     // else it was said on stderr which was not, and why

  std::vector<std::string> Paths() const;
  const std::string& NameOf(const std::string& path) const;
};
Databases Find(const std::vector<std::string>& names);

// Looks at them. Complains where the kernel's list of locks cannot be read: others are not seen
// then.
insight::Look LookAt(const Databases& databases);

}  // namespace lockscope::tools
