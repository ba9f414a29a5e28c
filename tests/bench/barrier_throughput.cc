#include "bench/barrier_throughput.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "torture/run.h"

namespace lockscope::bench {
namespace {

using torture::NowNs;

constexpr BarrierCase kSnapshot = {"snapshot", "main,other", 2};

enum class Held : std::size_t { kNothing, kReader, kBarrier };
constexpr std::size_t kHeldKinds = 3;

// The -wal beside a database. No lock is ever taken on it: it may be opened and closed.
class WalFile {
 public:
  explicit WalFile(const std::string& database)
      : fd_(open((database + "-wal").c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw std::runtime_error("cannot open the WAL of " + database);
  }
  ~WalFile() { close(fd_); }
  WalFile(const WalFile&) = delete;
  WalFile& operator=(const WalFile&) = delete;

  // Its first salt, another one whenever it starts over; 0 while it is empty.
  std::uint32_t Salt() const {
    constexpr off_t kSaltOffset = 16;
    std::uint32_t salt = 0;
    return pread(fd_, &salt, sizeof salt, kSaltOffset) == sizeof salt ? salt : 0;
  }

 private:
  const int fd_;
};

// A plain read transaction on both databases. The connection stays open: closing it would let go of
// what others of this process hold.
class Reader {
 public:
  explicit Reader(const torture::BankFiles& files) : db_(files.a, "unix") {
    torture::Prepared(db_.get(), "attach ?1 as other").Bind(1, files.b).Run();
  }
  void Begin() {
    db_.Exec("begin");
    db_.Int("select count(*) from main.book");
    db_.Int("select count(*) from other.book");
  }
  void End() { db_.Exec("commit"); }

 private:
  torture::Sql db_;
};

struct Rates {
  double held = 0;
  double whole = 0;
};

class Stretches {
 public:
  Stretches(Scene& scene, int hold_ms)
      : scene_(scene),
        hold_ms_(hold_ms),
        wals_{WalFile(scene.files().a), WalFile(scene.files().b)},
        reader_(scene.files()) {}

  Rates Run(Held kind) {
    AwaitRestart();
    const Mark begun = Now();
    std::string token;
    if (kind == Held::kReader) reader_.Begin();
    if (kind == Held::kBarrier) token = scene_.Acquire(kSnapshot);
    constexpr useconds_t kUsPerMs = 1000;
    usleep(static_cast<useconds_t>(hold_ms_) * kUsPerMs);
    const Mark held = Now();
    if (kind == Held::kReader) reader_.End();
    if (kind == Held::kBarrier) scene_.Release(token);
    AwaitRestart();
    return {.held = Rate(begun, held), .whole = Rate(begun, Now())};
  }

 private:
  struct Mark {
    std::int64_t ns;
    std::int64_t commits;
  };
  Mark Now() { return {NowNs(), scene_.Commits()}; }
  static double Rate(const Mark& from, const Mark& to) {
    return static_cast<double>(to.commits - from.commits) * 1e9 /
           static_cast<double>(to.ns - from.ns);
  }

  void AwaitRestart() const {
    constexpr std::int64_t kAtMostNs = 10'000'000'000;
    constexpr useconds_t kPauseUs = 200;
    const std::array<std::uint32_t, 2> salts = {wals_[0].Salt(), wals_[1].Salt()};
    const std::int64_t end = NowNs() + kAtMostNs;
    while (wals_[0].Salt() == salts[0] || wals_[1].Salt() == salts[1]) {
      if (NowNs() > end) throw std::runtime_error("a WAL does not start over");
      usleep(kPauseUs);
    }
  }

  Scene& scene_;
  const int hold_ms_;
  const std::array<WalFile, 2> wals_;
  Reader reader_;
};

struct Ratio {
  double ratio = 0;
  double error = 0;  // 1.96 standard errors
};

// Of the sums; the error is that of the turns' own ratios about it.
Ratio RatioOf(const std::vector<double>& with, const std::vector<double>& without) {
  double sum_with = 0;
  double sum_without = 0;
  for (const double rate : with) sum_with += rate;
  for (const double rate : without) sum_without += rate;
  Ratio result{.ratio = sum_with / sum_without};
  double squares = 0;
  for (std::size_t i = 0; i < with.size(); ++i) {
    squares += std::pow(with[i] / without[i] - result.ratio, 2);
  }
  const auto n = static_cast<double>(with.size());
  result.error = 1.96 * std::sqrt(squares / n / std::max(1.0, n - 1));
  return result;
}

void Print(const Ratio& ratio) { std::printf("   %.3f +- %.3f", ratio.ratio, ratio.error); }

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(std::max<std::size_t>(values.size(), 1));
}

}  // namespace

void PrintThroughputHead() {
  std::printf("\n%-8s %9s   %-31s   %-31s\n%-8s %9s   %-14s   %-14s   %-14s   %-14s   turns\n", "",
              "commits/s", "barrier", "read transaction", "", "nothing", "while held", "with after",
              "while held", "with after");
}

void MeasureThroughput(const Load& load, int turns, int hold_ms, int seed) {
  Scene scene(load, seed);
  torture::Random random(static_cast<unsigned>(seed));
  Stretches stretches(scene, hold_ms);
  std::array<std::vector<double>, kHeldKinds> held;
  std::array<std::vector<double>, kHeldKinds> whole;
  std::array<Held, kHeldKinds> order = {Held::kNothing, Held::kReader, Held::kBarrier};
  // The WALs grow to the length that they keep.
  for (const Held kind : order) stretches.Run(kind);
  for (int i = 0; i < turns; ++i) {
    std::shuffle(order.begin(), order.end(), random);
    for (const Held kind : order) {
      const Rates rates = stretches.Run(kind);
      held.at(static_cast<std::size_t>(kind)).push_back(rates.held);
      whole.at(static_cast<std::size_t>(kind)).push_back(rates.whole);
    }
  }
  const auto of = [](const auto& rates, Held kind) -> const std::vector<double>& {
    return rates.at(static_cast<std::size_t>(kind));
  };
  std::printf("%-8s %9.0f", load.name, Mean(of(held, Held::kNothing)));
  for (const Held kind : {Held::kBarrier, Held::kReader}) {
    Print(RatioOf(of(held, kind), of(held, Held::kNothing)));
    Print(RatioOf(of(whole, kind), of(whole, Held::kNothing)));
  }
  std::printf("   %d\n", turns);
  std::fflush(stdout);
}

}  // namespace lockscope::bench
