#include "ledger/lock_stats.h"

namespace lockscope::ledger {

void StatCounts::Merge(const StatCounts& other) {
  acquired += other.acquired;
  released += other.released;
  refused += other.refused;
  hold.Merge(other.hold);
  wait.Merge(other.wait);
}

StatCounts LockStats::Copy(std::size_t index) const {
  const Kind& kind = kinds_.at(index);
  StatCounts counts;
  // Releases first: a reader may find more acquired than released and held, never fewer.
  counts.released = kind.released.Load();
  counts.acquired = kind.acquired.Load();
  counts.refused = kind.refused.Load();
  if (counts.Empty()) return counts;
  counts.hold = kind.hold.Copy();
  counts.wait = kind.wait.Copy();
  return counts;
}

void LockStats::Clear() {
  for (Kind& kind : kinds_) {
    if (kind.acquired.Own() == 0 && kind.refused.Own() == 0) continue;
    kind.acquired.Store(0);
    kind.released.Store(0);
    kind.refused.Store(0);
    kind.hold.Clear();
    kind.wait.Clear();
  }
}

}  // namespace lockscope::ledger
