// Histogram: durations in logarithmic buckets, four to an octave, written by one thread.
//
// Bucket 0 holds everything below 2^kFirstOctave ticks, the last one everything from
// 2^(kFirstOctave + kOctaves) ticks on (hours). A percentile is therefore right to about 12 %.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "ledger/clock.h"
#include "ledger/word.h"

namespace lockscope::ledger {

inline constexpr int kFirstOctave = 8;
inline constexpr int kOctaves = 38;
inline constexpr std::size_t kBuckets = 2 + kOctaves * 4;

constexpr std::size_t BucketOf(Ticks ticks) noexcept {
  if (ticks < (Ticks{1} << kFirstOctave)) return 0;
  if (ticks >= (Ticks{1} << (kFirstOctave + kOctaves))) return kBuckets - 1;
  const int octave = 63 ^ std::countl_zero(ticks);
  // The leading one and the two bits behind it, 4 … 7: the quarter is what is above 4.
  const auto leading = static_cast<std::size_t>(ticks >> (octave - 2));
  constexpr std::size_t kBelow = std::size_t{kFirstOctave + 1} * 4 - 1;
  return leading + static_cast<std::size_t>(octave) * 4 - kBelow;
}

// The first duration that belongs to the bucket.
constexpr Ticks BucketStart(std::size_t bucket) noexcept {
  if (bucket == 0) return 0;
  if (bucket >= kBuckets - 1) return Ticks{1} << (kFirstOctave + kOctaves);
  const int octave = kFirstOctave + static_cast<int>((bucket - 1) / 4);
  const Ticks quarter = (bucket - 1) % 4;
  return (Ticks{1} << octave) + (quarter << (octave - 2));
}

// A histogram at rest: what a reader has copied, or what closed connections have left behind.
struct HistogramCounts {
  std::array<std::uint64_t, kBuckets> counts{};
  std::uint64_t total = 0;
  Ticks max = 0;

  void Merge(const HistogramCounts& other);
  // The duration below which the share `fraction` (0 … 1) of all lies, never more than max.
  // REQUIRES: total > 0.
  Ticks Percentile(double fraction) const;
};

// The live histogram. Above the bucket of the longest duration nothing is counted, so nobody looks
// there: most histograms of a connection are empty, and the others' durations short.
class Histogram {
 public:
  void Record(Ticks duration) noexcept {
    if (duration > max_.Own()) max_.Store(duration);
    auto& bucket = counts_[BucketOf(duration)];
    bucket.store(bucket.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  // Counts that another has counted. REQUIRES: called by the writer.
  void Add(const HistogramCounts& counts) noexcept;
  void AddTo(HistogramCounts& counts) const;
  HistogramCounts Copy() const {
    HistogramCounts counts;
    AddTo(counts);
    return counts;
  }
  void Clear();

 private:
  Word max_;  // in the cache line of the buckets that are used most
  std::array<std::atomic<std::uint32_t>, kBuckets> counts_{};
};

}  // namespace lockscope::ledger
