// LockStats: counters and histograms of one connection, by resource and mode.
#pragma once

#include <array>
#include <cstdint>

#include "ledger/histogram.h"
#include "ledger/word.h"
#include "model/resource.h"

namespace lockscope::ledger {

// The pairs of resource and mode that SQLite uses:
//   0- 3  database SHARED, RESERVED, PENDING, EXCLUSIVE
//   4- 6  wal-write, wal-checkpoint, wal-recover EXCLUSIVE
//   7-11  wal-read-N SHARED      12-16  wal-read-N EXCLUSIVE
//  17     wal-open SHARED
inline constexpr std::size_t kStatKinds = 18;

struct StatKind {
  Resource resource = Resource::kDatabase;
  LockMode mode = LockMode::kNone;
};

constexpr std::size_t StatIndex(Resource resource, LockMode mode) {
  if (resource == Resource::kDatabase) return static_cast<std::size_t>(mode) - 1;
  if (resource == Resource::kWalOpen) return 17;
  if (!IsReadSlot(resource)) return 4 + static_cast<std::size_t>(ShmOffset(resource));
  const auto slot = static_cast<std::size_t>(ReadSlot(resource));
  return (mode == LockMode::kShared ? 7 : 12) + slot;
}

constexpr StatKind StatKindOf(std::size_t index) {
  if (index < 4) return {Resource::kDatabase, static_cast<LockMode>(index + 1)};
  if (index < 7) return {ShmResource(static_cast<int>(index) - 4), LockMode::kExclusive};
  if (index < 12) return {ShmResource(static_cast<int>(index) - 4), LockMode::kShared};
  if (index < 17) return {ShmResource(static_cast<int>(index) - 9), LockMode::kExclusive};
  return {Resource::kWalOpen, LockMode::kShared};
}

struct StatCounts {
  std::uint64_t acquired = 0;
  std::uint64_t released = 0;
  std::uint64_t refused = 0;
  HistogramCounts hold;
  HistogramCounts wait;

  bool Empty() const { return acquired == 0 && refused == 0; }
  void Merge(const StatCounts& other);
};

// What one kind of lock touches lies together: its counters and the beginning of the histogram of
// hold times, where the short ones are counted, are two cache lines.
class LockStats {
 public:
  struct Counters {
    Word acquired;
    Word released;
    Word refused;
  };
  Counters& counters(std::size_t kind) noexcept { return kinds_[kind].counters; }
  const Counters& counters(std::size_t kind) const noexcept { return kinds_[kind].counters; }
  Histogram& hold(std::size_t kind) noexcept { return kinds_[kind].hold; }
  Histogram& wait(std::size_t kind) noexcept { return kinds_[kind].wait; }
  bool Empty(std::size_t kind) const noexcept {
    const Counters& of_kind = counters(kind);
    return of_kind.acquired.Load() == 0 && of_kind.refused.Load() == 0;
  }
  void AddTo(StatCounts& counts, std::size_t kind) const;
  StatCounts Copy(std::size_t kind) const {
    StatCounts counts;
    AddTo(counts, kind);
    return counts;
  }
  // Counts that another has counted. REQUIRES: called by the writer.
  void Add(std::size_t kind, const StatCounts& counts);
  void Clear();

 private:
  struct alignas(64) Kind {
    Counters counters;
    Histogram hold;
    Histogram wait;
  };

  std::array<Kind, kStatKinds> kinds_;
};

}  // namespace lockscope::ledger
