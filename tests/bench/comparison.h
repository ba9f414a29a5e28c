// Comparison: stock SQLite against the shim, interleaved so finely that the machine's moods cancel.
//
// A round is four blocks of a few milliseconds, ABBA or BAAB in turn, and gives one ratio. Rounds
// come in epochs; every epoch opens both connections anew, in the other order and on a shuffled
// heap, since where a connection's memory happens to lie is worth a per cent or two for as long as
// it is open. Single-threaded work is timed by the thread's own CPU clock, which does not count
// what other processes take; work of several threads or processes by the wall clock.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace lockscope::bench {

enum class Side : std::uint8_t { kStock, kShim };
inline constexpr int kSides = 2;
constexpr std::size_t Index(Side side) { return static_cast<std::size_t>(side); }

struct Sample {
  double ns = 0;
  double operations = 0;
};

// One epoch of one comparison: its construction opens, its destruction closes.
class Case {
 public:
  Case() = default;
  virtual ~Case() = default;
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;

  // Before each block, not timed: puts everything back to where every block begins, and warms up.
  virtual void Prepare(Side) {}
  virtual Sample Run(Side side, long operations) = 0;
  // The database whose lock calls can be counted in this process; empty where they cannot.
  virtual std::string CountedDatabase() const { return {}; }
  // Not 0: the operations of every block, instead of as many as fill the block's time.
  virtual long FixedOperations() const { return 0; }
};

struct EpochOptions {
  std::string folder;
  bool shim_first = false;  // opens first
  bool calibrate = false;   // both sides are stock
};

struct Comparison {
  std::string name;
  std::function<std::unique_ptr<Case>(const EpochOptions&)> epoch;
  double block_ms = 2.5;
  double share_of_rounds = 1;  // slow ones make do with fewer
  bool pinned = true;          // to one CPU
};

struct RunOptions {
  std::string folder;
  int rounds = 400;
  int epochs = 10;
  bool calibrate = false;
};

struct Result {
  std::string name;
  int rounds = 0;
  double stock_ns = 0;  // medians, per operation
  double shim_ns = 0;
  double ratio = 0;      // the median round
  double error = 0;      // 95 % confidence, from how the epochs' medians differ
  double ratio_p10 = 0;  // of the rounds
  double ratio_p90 = 0;
  double extra_ns = 0;    // the median of the rounds' differences, per operation
  double lock_calls = 0;  // per operation; 0: not counted
  std::vector<double> epoch_ratios = {};
};

Result Compare(const Comparison& comparison, const RunOptions& options);

// The q-quantile, 0 … 1, by linear interpolation. REQUIRES: `values` is not empty.
double Quantile(std::vector<double> values, double q);

double ThreadCpuNs();
double WallNs();

// Calls `operation` so many times and times it by the thread's CPU clock.
template <class Operation>
Sample TimeLoop(long operations, Operation&& operation) {
  const double begun = ThreadCpuNs();
  for (long i = 0; i < operations; ++i) operation();
  return {ThreadCpuNs() - begun, static_cast<double>(operations)};
}

}  // namespace lockscope::bench
