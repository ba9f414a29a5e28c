// lockscope blockers: who waits, or would wait, and who is in the way.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"blocked_pid", "WAITS", Fit::kRight, Plain},
    ShownColumn{"blocked_connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"wants", "WANTS", Fit::kLeft, Plain},
    ShownColumn{"age_ms", "FOR", Fit::kRight, Duration},
    ShownColumn{"blocker_pid", "BLOCKER", Fit::kRight, Plain},
    ShownColumn{"blocker_connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"holds", "HOLDS", Fit::kLeft, Plain},
    ShownColumn{"held_ms", "HELD", Fit::kRight, Duration},
    ShownColumn{"blocker_process", "PROCESS", Fit::kFlexible, Plain},
    ShownColumn{"blocker_sql", "SQL", Fit::kFlexible, Plain},
    ShownColumn{"advice", "ADVICE", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "blockers",
    .description = "who waits, or would wait, and who is in the way",
    .shown = kShown,
    .nothing = "nobody is in anybody's way on",
    .note =
        "Without a pid under WAITS: whoever asks next, or a process outside this pid namespace.\n"
        "SQLite asks the kernel again and again instead of waiting there: such a wait is seen "
        "only\n"
        "of processes that publish their connections. What is in its way is seen in any case.\n",
};

}  // namespace

void AddBlockers(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
