// lockscope hazards: what endangers a database now.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"severity", "SEVERITY", Fit::kLeft, Plain},
    ShownColumn{"hazard", "HAZARD", Fit::kLeft, Plain},
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"explanation", "EXPLANATION", Fit::kFlexible, Plain},
    ShownColumn{"advice", "ADVICE", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "hazards",
    .description = "what endangers the database now, and what to do about it",
    .shown = kShown,
    .nothing = "no hazard is seen for",
    .note =
        "Without a pid: it is no process's doing, or one's outside this pid namespace.\n"
        "Looks twice, a third of a second apart, where one look cannot tell. Of processes that "
        "belong to\n"
        "other users, only root sees which files they have open.\n",
};

}  // namespace

void AddHazards(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
