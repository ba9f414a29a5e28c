// lockscope recoveries: hot journals, who rolls them back or recovers a WAL, and what is over.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"kind", "KIND", Fit::kLeft, Plain},
    ShownColumn{"state", "STATE", Fit::kLeft, Plain},
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"started", "STARTED", Fit::kLeft, Plain},
    ShownColumn{"duration_ms", "TOOK", Fit::kRight, Duration},
    ShownColumn{"pages_done", "DONE", Fit::kRight, Commas},
    ShownColumn{"pages_total", "OF", Fit::kRight, Commas},
    ShownColumn{"journal_bytes", "JOURNAL", Fit::kRight, Bytes},
    ShownColumn{"refused", "REFUSED", Fit::kRight, Commas},
    ShownColumn{"super_journal", "SUPER-JOURNAL", Fit::kFlexible, Plain},
    ShownColumn{"process", "PROCESS", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "recoveries",
    .description = "hot journals, rollbacks and WAL recoveries",
    .shown = kShown,
    .nothing = "no recovery is known of",
    .note =
        "hot: a crashed transaction waits for the next writer. A process without lockscope is "
        "seen\n"
        "while it recovers, without telling how far it is. REFUSED: requests of others meanwhile,\n"
        "of processes that publish their connections.\n",
};

}  // namespace

void AddRecoveries(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
