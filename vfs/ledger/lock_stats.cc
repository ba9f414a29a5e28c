#include "ledger/lock_stats.h"

namespace lockscope::ledger {

void StatCounts::Merge(const StatCounts& other) {
  acquired += other.acquired;
  released += other.released;
  refused += other.refused;
  hold.Merge(other.hold);
  wait.Merge(other.wait);
}

StatCounts LockStats::Copy(std::size_t kind) const {
  const Kind& of_kind = kinds_.at(kind);
  const Counters& counters = of_kind.counters;
  StatCounts counts;
  // Releases first: a reader may find more acquired than released and held, never fewer.
  counts.released = counters.released.Load();
  counts.acquired = counters.acquired.Load();
  counts.refused = counters.refused.Load();
  if (counts.Empty()) return counts;
  counts.hold = of_kind.hold.Copy();
  counts.wait = of_kind.wait.Copy();
  return counts;
}

void LockStats::Clear() {
  for (Kind& kind : kinds_) {
    Counters& counters = kind.counters;
    if (counters.acquired.Own() == 0 && counters.refused.Own() == 0) continue;
    counters.acquired.Store(0);
    counters.released.Store(0);
    counters.refused.Store(0);
    kind.hold.Clear();
    kind.wait.Clear();
  }
}

}  // namespace lockscope::ledger
