// lockscope connections: who has the database open, and what they are doing.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"state", "STATE", Fit::kLeft, Plain},
    ShownColumn{"age_ms", "FOR", Fit::kRight, Duration},
    ShownColumn{"pid_start", "PROCESS STARTED (UTC)", Fit::kLeft, Plain},
    ShownColumn{"process", "PROCESS", Fit::kFlexible, Plain},
    ShownColumn{"sql", "SQL", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "connections",
    .description = "who has the database open, and what they are doing",
    .shown = kShown,
    .nothing = "nobody is seen to use",
};

}  // namespace

void AddConnections(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
