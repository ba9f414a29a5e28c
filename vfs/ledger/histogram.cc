#include "ledger/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lockscope::ledger {

void HistogramCounts::Merge(const HistogramCounts& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) counts.at(i) += other.counts.at(i);
  total += other.total;
  max = std::max(max, other.max);
}

Ticks HistogramCounts::Percentile(double fraction) const {
  const auto wanted = static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(total)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    const std::uint64_t here = counts.at(i);
    if (here == 0 || seen + here < wanted) {
      seen += here;
      continue;
    }
    // Inside the bucket the durations are taken to be spread evenly.
    const Ticks start = BucketStart(i);
    const Ticks end = i + 1 < kBuckets ? BucketStart(i + 1) : std::max(max, start);
    const double part = static_cast<double>(wanted - seen) / static_cast<double>(here);
    const double within = static_cast<double>(end - start) * part;
    // Rounding may have made of the longest duration there can be one that is no number of ticks.
    if (within >= static_cast<double>(max - start)) return max;
    return std::min(start + static_cast<Ticks>(within), max);
  }
  return max;
}

void Histogram::AddTo(HistogramCounts& counts) const {
  const Ticks max = max_.Load();
  const std::size_t last = BucketOf(max);
  for (std::size_t i = 0; i <= last; ++i) {
    const std::uint64_t here = counts_.at(i).load(std::memory_order_relaxed);
    counts.counts.at(i) += here;
    counts.total += here;
  }
  counts.max = std::max(counts.max, max);
}

void Histogram::Add(const HistogramCounts& counts) noexcept {
  if (counts.total == 0) return;
  // Nobody looks above the bucket of the longest duration.
  const std::size_t last = BucketOf(counts.max);
  for (std::size_t i = 0; i <= last; ++i) {
    const std::uint64_t sum = counts_[i].load(std::memory_order_relaxed) + counts.counts[i];
    const std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
    counts_[i].store(static_cast<std::uint32_t>(std::min(sum, most)), std::memory_order_relaxed);
  }
  if (counts.max > max_.Own()) max_.Store(counts.max);
}

void Histogram::Clear() {
  const std::size_t last = BucketOf(max_.Own());
  for (std::size_t i = 0; i <= last; ++i) counts_.at(i).store(0, std::memory_order_relaxed);
  max_.Store(0);
}

}  // namespace lockscope::ledger
