// lockscope stats: how often each lock was taken and refused, how long it was waited for and held.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"resource", "RESOURCE", Fit::kLeft, Plain},
    ShownColumn{"mode", "MODE", Fit::kLeft, Plain},
    ShownColumn{"acquired", "ACQUIRED", Fit::kRight, Commas},
    ShownColumn{"refused", "REFUSED", Fit::kRight, Commas},
    ShownColumn{"wait_us_p50", "WAIT P50", Fit::kRight, Micros},
    ShownColumn{"wait_us_max", "WAIT MAX", Fit::kRight, Micros},
    ShownColumn{"hold_us_p50", "HELD P50", Fit::kRight, Micros},
    ShownColumn{"hold_us_max", "HELD MAX", Fit::kRight, Micros},
    ShownColumn{"process", "PROCESS", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "stats",
    .description = "how often each lock was taken and refused, how long waited for and held",
    .shown = kShown,
    .nothing = "no lock call is counted on",
    .note =
        "Of every process that publishes its locks, for its life, closed connections included.\n"
        "WAIT: from the first refusal to the grant. HELD: from the grant to the release. P50: "
        "half\n"
        "of them were no longer. What a process without lockscope holds is in lockscope locks.\n",
};

}  // namespace

void AddStats(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
