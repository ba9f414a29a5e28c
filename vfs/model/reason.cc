#include "model/reason.h"

#include <array>

namespace lockscope {

const char* Name(Reason reason) {
  static constexpr std::array<const char*, kReasonCount> kNames = {
      "unknown",          "writer",     "pending-writer",
      "readers",          "exclusive",  "hot-journal-recovery",
      "wal-recovery",     "checkpoint", "snapshot-stale",
      "upgrade-deadlock", "barrier"};
  return kNames.at(static_cast<std::size_t>(reason));
}

}  // namespace lockscope
