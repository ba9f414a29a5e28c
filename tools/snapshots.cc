// lockscope snapshots: who reads which state of the database, and what that pins.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

std::string Transaction(const insight::Value& autocommit) {
  const std::string number = Plain(autocommit);
  if (number.empty()) return {};
  return number == "0" ? "explicit" : "statement";
}

constexpr std::array kShown = {
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"slot", "SLOT", Fit::kRight, Plain},
    ShownColumn{"mark", "MARK", Fit::kRight, Commas},
    ShownColumn{"frame", "FRAME", Fit::kRight, Commas},
    ShownColumn{"behind_frames", "BEHIND", Fit::kRight, Commas},
    ShownColumn{"pins", "PINS", Fit::kLeft, Plain},
    ShownColumn{"pinned_bytes", "PINNED", Fit::kRight, Bytes},
    ShownColumn{"age_ms", "FOR", Fit::kRight, Duration},
    ShownColumn{"autocommit", "TRANSACTION", Fit::kLeft, Transaction},
    ShownColumn{"process", "PROCESS", Fit::kFlexible, Plain},
    ShownColumn{"sql", "SQL", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "snapshots",
    .description = "who reads which state of the database, and what that pins",
    .shown = kShown,
    .nothing = "nobody reads",
};

}  // namespace

void AddSnapshots(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
