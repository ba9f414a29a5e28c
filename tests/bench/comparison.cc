#include "bench/comparison.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>

#include "bench/connection.h"

namespace lockscope::bench {
namespace {

double ReadClock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// While it lives, this thread stays on the CPU on which it was made.
class Pinned {
 public:
  explicit Pinned(bool wanted) {
    sched_getaffinity(0, sizeof before_, &before_);
    if (!wanted) return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<unsigned>(sched_getcpu()), &one);
    sched_setaffinity(0, sizeof one, &one);
  }
  ~Pinned() { sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_{};
};

// Blocks of random size that stay allocated for an epoch.
std::vector<std::vector<char>> ShuffleHeap(std::mt19937& random) {
  std::vector<std::vector<char>> blocks;
  blocks.reserve(40);
  for (int i = 0; i < 40; ++i) blocks.emplace_back(16 + random() % 9000);
  // Every other one is freed again: the holes are what the connections' memory falls into.
  for (std::size_t i = 0; i < blocks.size(); i += 2) std::vector<char>().swap(blocks[i]);
  return blocks;
}

long OperationsPerBlock(Case& epoch, double block_ms) {
  if (epoch.FixedOperations() != 0) return epoch.FixedOperations();
  long operations = 4;
  for (;;) {
    epoch.Prepare(Side::kStock);
    const Sample sample = epoch.Run(Side::kStock, operations);
    const double wanted = block_ms * 1e6;
    if (sample.ns > wanted / 4) {
      const double fit = static_cast<double>(operations) * wanted / sample.ns;
      return std::max(1L, std::lround(fit));
    }
    operations *= 4;
  }
}

double CountLockCalls(Case& epoch) {
  const std::string database = epoch.CountedDatabase();
  if (database.empty()) return 0;
  constexpr long kOperations = 100;
  epoch.Prepare(Side::kShim);
  const std::int64_t before = RecordedLockCalls(database);
  epoch.Run(Side::kShim, kOperations);
  return static_cast<double>(RecordedLockCalls(database) - before) / kOperations;
}

using RoundSums = std::array<Sample, kSides>;

RoundSums RunRound(Case& epoch, long operations, bool shim_first) {
  const Side outer = shim_first ? Side::kShim : Side::kStock;
  const Side inner = shim_first ? Side::kStock : Side::kShim;
  RoundSums sums{};
  for (const Side side : {outer, inner, inner, outer}) {
    epoch.Prepare(side);
    const Sample sample = epoch.Run(side, operations);
    sums[Index(side)].ns += sample.ns;
    sums[Index(side)].operations += sample.operations;
  }
  return sums;
}

double StandardError(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  if (values.size() < 2) return 0;
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / (n - 1) / n);
}

}  // namespace

double ThreadCpuNs() { return ReadClock(CLOCK_THREAD_CPUTIME_ID); }
double WallNs() { return ReadClock(CLOCK_MONOTONIC); }

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double place = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], place - std::floor(place));
}

Result Compare(const Comparison& comparison, const RunOptions& options) {
  const Pinned pinned(comparison.pinned);
  const int wanted =
      std::max(1, static_cast<int>(std::lround(options.rounds * comparison.share_of_rounds)));
  const int epochs = std::min(options.epochs, wanted);
  const int rounds_per_epoch = (wanted + epochs - 1) / epochs;
  std::mt19937 random(1);  // NOLINT: the same heaps in every run

  Result result{.name = comparison.name};
  std::vector<double> stock;
  std::vector<double> shim;
  std::vector<double> ratios;
  std::vector<double> extra;
  for (int e = 0; e < epochs; ++e) {
    const auto heap = ShuffleHeap(random);
    const auto epoch = comparison.epoch(
        {.folder = options.folder, .shim_first = e % 2 != 0, .calibrate = options.calibrate});
    const long operations = OperationsPerBlock(*epoch, comparison.block_ms);
    RunRound(*epoch, operations, false);  // warms up
    std::vector<double> of_epoch;
    for (int i = 0; i < rounds_per_epoch; ++i) {
      const RoundSums sums = RunRound(*epoch, operations, i % 2 != 0);
      const Sample& a = sums[Index(Side::kStock)];
      const Sample& b = sums[Index(Side::kShim)];
      if (a.operations == 0 || b.operations == 0) continue;
      stock.push_back(a.ns / a.operations);
      shim.push_back(b.ns / b.operations);
      extra.push_back(shim.back() - stock.back());
      of_epoch.push_back(shim.back() / stock.back());
    }
    if (of_epoch.empty()) continue;
    ratios.insert(ratios.end(), of_epoch.begin(), of_epoch.end());
    result.epoch_ratios.push_back(Quantile(of_epoch, 0.5));
    if (e == 0 && !options.calibrate) result.lock_calls = CountLockCalls(*epoch);
  }
  if (ratios.empty()) return result;
  result.rounds = static_cast<int>(ratios.size());
  result.stock_ns = Quantile(stock, 0.5);
  result.shim_ns = Quantile(shim, 0.5);
  result.ratio = Quantile(ratios, 0.5);
  result.error = 1.96 * StandardError(result.epoch_ratios);
  result.ratio_p10 = Quantile(ratios, 0.1);
  result.ratio_p90 = Quantile(ratios, 0.9);
  result.extra_ns = Quantile(extra, 0.5);
  return result;
}

}  // namespace lockscope::bench
