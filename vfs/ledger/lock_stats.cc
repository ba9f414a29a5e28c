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
  const Counters& counters = counters_.at(kind);
  StatCounts counts;
  // Releases first: a reader may find more acquired than released and held, never fewer.
  counts.released = counters.released.Load();
  counts.acquired = counters.acquired.Load();
  counts.refused = counters.refused.Load();
  if (counts.Empty()) return counts;
  counts.hold = histograms_.at(kind).hold.Copy();
  counts.wait = histograms_.at(kind).wait.Copy();
  return counts;
}

void LockStats::Clear() {
  for (std::size_t kind = 0; kind < kStatKinds; ++kind) {
    Counters& counters = counters_.at(kind);
    if (counters.acquired.Own() == 0 && counters.refused.Own() == 0) continue;
    counters.acquired.Store(0);
    counters.released.Store(0);
    counters.refused.Store(0);
    histograms_.at(kind).hold.Clear();
    histograms_.at(kind).wait.Clear();
  }
}

}  // namespace lockscope::ledger
