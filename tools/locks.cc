// lockscope locks: who holds which lock, and who waits for one.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

std::string HeldOrWaits(const insight::Value& granted) {
  const std::string number = Plain(granted);
  if (number.empty()) return {};
  return number == "1" ? "held" : "waits";
}

std::string InTheKernel(const insight::Value& verified) {
  const std::string number = Plain(verified);
  if (number.empty()) return {};
  return number == "1" ? "yes" : "LOST";
}

constexpr std::array kShown = {
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"resource", "RESOURCE", Fit::kLeft, Plain},
    ShownColumn{"mode", "MODE", Fit::kLeft, Plain},
    ShownColumn{"granted", "STATE", Fit::kLeft, HeldOrWaits},
    ShownColumn{"verified", "IN KERNEL", Fit::kLeft, InTheKernel},
    ShownColumn{"age_ms", "FOR", Fit::kRight, Duration},
    ShownColumn{"process", "PROCESS", Fit::kFlexible, Plain},
    ShownColumn{"sql", "SQL", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "locks",
    .description = "who holds which lock, and who waits for one",
    .shown = kShown,
    .nothing = "nobody holds a lock on",
};

}  // namespace

void AddLocks(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
