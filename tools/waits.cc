// lockscope waits: the waits that SQLITE_BUSY began, and why.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"at", "AT", Fit::kLeft, Plain},
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"resource", "WANTED", Fit::kLeft, Plain},
    ShownColumn{"mode", "MODE", Fit::kLeft, Plain},
    ShownColumn{"waited_ms", "WAITED", Fit::kRight, Duration},
    ShownColumn{"outcome", "OUTCOME", Fit::kLeft, Plain},
    ShownColumn{"reason", "REASON", Fit::kLeft, Plain},
    ShownColumn{"blocker_pid", "BLOCKER", Fit::kRight, Plain},
    ShownColumn{"sql", "SQL", Fit::kFlexible, Plain},
    ShownColumn{"explanation", "EXPLANATION", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "waits",
    .description = "the waits that SQLITE_BUSY began, newest first, and why",
    .shown = kShown,
    .nothing = "no wait is noted on",
    .note =
        "The last eight of each connection of every process that publishes its connections, also\n"
        "of closed ones until others take their place. One row a wait, over all of SQLite's\n"
        "retries. Without OUTCOME it goes on.\n",
};

}  // namespace

void AddWaits(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
