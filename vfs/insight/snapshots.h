// Read snapshots: who reads what state of the database, and what that keeps from happening.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "insight/locks.h"

namespace lockscope::insight {

enum class Pin {
  kNone,
  kBackfill,  // checkpoints stop at its mark (slot 0: do nothing while there is something to do)
  kRestart,   // everything can be checkpointed, but the WAL cannot start over, and grows
};
const char* Name(Pin pin);

struct Snapshot {
  LockFacts lock;  // the read slot; in rollback mode the database lock
  std::optional<int> slot{};
  std::optional<std::uint32_t> mark{};
  std::optional<std::uint64_t> frame{};
  std::optional<std::uint64_t> behind_frames{};
  std::optional<Pin> pin{};                     // null where the wal-index cannot be read
  std::optional<std::uint64_t> pinned_bytes{};  // likewise
};

std::vector<Snapshot> CollectSnapshots(const Look& look, const Database& database,
                                       const std::vector<LockFacts>& locks);

// The pin that holds most back: of the snapshots that pin so, the one with the lowest mark (slot 0
// before all). Null for none.
const Snapshot* StrongestPin(const std::vector<Snapshot>& snapshots, Pin pin);

}  // namespace lockscope::insight
