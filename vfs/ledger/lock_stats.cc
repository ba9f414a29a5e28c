#include "ledger/lock_stats.h"

namespace lockscope::ledger {

void StatCounts::Merge(const StatCounts& other) {
  acquired += other.acquired;
  released += other.released;
  refused += other.refused;
  hold.Merge(other.hold);
  wait.Merge(other.wait);
}

void LockStats::AddTo(StatCounts& counts, std::size_t kind) const {
  const Kind& of_kind = kinds_.at(kind);
  const Counters& counters = of_kind.counters;
  // Releases first: a reader may find more acquired than released and held, never fewer.
  counts.released += counters.released.Load();
  counts.acquired += counters.acquired.Load();
  counts.refused += counters.refused.Load();
  of_kind.hold.AddTo(counts.hold);
  of_kind.wait.AddTo(counts.wait);
}

void LockStats::Add(std::size_t kind, const StatCounts& counts) {
  Kind& of_kind = kinds_.at(kind);
  of_kind.counters.acquired.Add(counts.acquired);
  of_kind.counters.released.Add(counts.released);
  of_kind.counters.refused.Add(counts.refused);
  of_kind.hold.Add(counts.hold);
  of_kind.wait.Add(counts.wait);
}

void LockStats::Clear() {
  for (std::size_t i = 0; i < kStatKinds; ++i) {
    if (Empty(i)) continue;
    Kind& kind = kinds_.at(i);
    kind.counters.acquired.Store(0);
    kind.counters.released.Store(0);
    kind.counters.refused.Store(0);
    kind.hold.Clear();
    kind.wait.Clear();
  }
}

}  // namespace lockscope::ledger
