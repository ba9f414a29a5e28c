// What it costs to look at a database that many processes use, all of which publish their
// connections: how long a look takes, and what the others lose by it.
//
//   registry_bench [--processes N] [--connections N] [--looks N] [--slices N] [--dir FOLDER]
//
// Each process has its connections work in turn, reading a row by its key, one time in twenty
// writing one. Loads:
//   paced   with a pause of 20 ms between two transactions of a process: the machine has time left
//   hot     without a pause: whoever looks waits for a processor like everybody
// A look includes one reading of /proc/locks. Both are measured in turn, and the difference told.
#include <fcntl.h>
#include <lockscope.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/comparison.h"
#include "kernel/proc_locks.h"
#include "support/temp_dir.h"

namespace lockscope::bench {
namespace {

struct Options {
  int processes = 50;
  int connections = 20;  // of each
  int looks = 200;       // of each kind; under the hot load an eighth
  int slices = 20;       // pairs of slices, with and without looks
  std::string folder;
};

constexpr int kProcessesMax = 1000;
constexpr int kRows = 1000;

// What the processes share. One cache line each.
struct Shared {
  struct alignas(64) Worker {
    std::atomic<std::int64_t> transactions{0};
  };
  std::atomic<bool> stop{false};
  std::atomic<int> ready{0};
  std::array<Worker, kProcessesMax> workers;
};

void Must(int code, sqlite3* db) {
  if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
  std::fprintf(stderr, "SQLite: %s\n", sqlite3_errmsg(db));
  _exit(1);
}

class Database {
 public:
  explicit Database(const std::string& file) {
    Must(sqlite3_open(file.c_str(), &db_), db_);
    sqlite3_busy_timeout(db_, 60'000);
  }
  ~Database() { sqlite3_close_v2(db_); }
  Database(Database&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  Database& operator=(Database&&) = delete;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* get() const { return db_; }
  void Run(const std::string& sql) const {
    Must(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr), db_);
  }

 private:
  sqlite3* db_ = nullptr;
};

class Prepared {
 public:
  Prepared(const Database& database, const char* sql) : db_(database.get()) {
    Must(sqlite3_prepare_v2(db_, sql, -1, &statement_, nullptr), db_);
  }
  ~Prepared() { sqlite3_finalize(statement_); }
  Prepared(Prepared&& other) noexcept
      : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)) {}
  Prepared& operator=(Prepared&&) = delete;
  Prepared(const Prepared&) = delete;
  Prepared& operator=(const Prepared&) = delete;

  // Runs it to its end; the last row's first column.
  std::int64_t Run(std::int64_t argument) {
    sqlite3_bind_int64(statement_, 1, argument);
    return Step();
  }
  std::int64_t Run(const std::string& argument) {
    sqlite3_bind_text(statement_, 1, argument.c_str(), -1, SQLITE_TRANSIENT);
    return Step();
  }

 private:
  std::int64_t Step() {
    std::int64_t first = 0;
    int code = SQLITE_OK;
    while ((code = sqlite3_step(statement_)) == SQLITE_ROW) {
      first = sqlite3_column_int64(statement_, 0);
    }
    Must(code, db_);
    sqlite3_reset(statement_);
    return first;
  }

  sqlite3* db_;
  sqlite3_stmt* statement_ = nullptr;
};

void Work(const std::string& file, int number, int connections, useconds_t pause_us,
          Shared& shared) {
  if (lockscope_register(nullptr, nullptr, 1) != SQLITE_OK) _exit(1);
  std::vector<Database> databases;
  std::vector<Prepared> reads;
  std::vector<Prepared> writes;
  for (int i = 0; i < connections; ++i) {
    const Database& database = databases.emplace_back(file);
    database.Run("pragma synchronous = off");
    reads.emplace_back(database, "select v from t where id = ?1");
    writes.emplace_back(database, "update t set v = v + 1 where id = ?1");
    reads.back().Run(1);
  }
  ++shared.ready;
  auto& transactions = shared.workers[static_cast<std::size_t>(number)].transactions;
  for (int i = 0; !shared.stop; ++i) {
    const auto connection = static_cast<std::size_t>(i % connections);
    const std::int64_t row = 1 + (number * 31 + i * 7) % kRows;
    (i % 20 == 7 ? writes : reads)[connection].Run(row);
    transactions.fetch_add(1, std::memory_order_relaxed);
    if (pause_us > 0) usleep(pause_us);
  }
}

// The processes of a load, at work while it lives. REQUIRES: this process has never used the shim.
class Workers {
 public:
  Workers(const std::string& file, const Options& options, useconds_t pause_us)
      : shared_(new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared()) {
    for (int i = 0; i < options.processes; ++i) {
      const pid_t pid = fork();
      if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        Work(file, i, options.connections, pause_us, *shared_);
        _exit(0);
      }
      pids_.push_back(pid);
    }
    while (shared_->ready < options.processes) usleep(10'000);
  }
  ~Workers() {
    shared_->stop = true;
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  std::int64_t Transactions() const {
    std::int64_t all = 0;
    for (const auto& worker : shared_->workers) all += worker.transactions;
    return all;
  }

 private:
  Shared* shared_;
  std::vector<pid_t> pids_;
};

// ---- how long a look takes ----

struct Times {
  std::vector<double> wall_ms;
  std::vector<double> cpu_ms;  // of the thread that looks

  void Measure(const std::function<void()>& action) {
    const double cpu = ThreadCpuNs();
    const double wall = WallNs();
    action();
    wall_ms.push_back((WallNs() - wall) / 1e6);
    cpu_ms.push_back((ThreadCpuNs() - cpu) / 1e6);
  }
};

void Print(const std::string& what, const Times& times, const Times* base) {
  const auto at = [](const std::vector<double>& values, double q) { return Quantile(values, q); };
  std::printf("%-28s %8.2f %8.2f %8.2f %10.2f", what.c_str(), at(times.wall_ms, 0.5),
              at(times.wall_ms, 0.9), at(times.wall_ms, 1), at(times.cpu_ms, 0.5));
  if (base != nullptr) {
    std::printf(" %12.2f %10.2f", at(times.wall_ms, 0.5) - at(base->wall_ms, 0.5),
                at(times.cpu_ms, 0.5) - at(base->cpu_ms, 0.5));
  }
  std::printf("\n");
  std::fflush(stdout);
}

void MeasureLooks(const std::string& file, const Options& options, const char* load,
                  useconds_t pause_us) {
  const Workers workers(file, options, pause_us);
  const Database looker(":memory:");
  Must(lockscope_init(looker.get()), looker.get());
  Prepared locks(looker, "select count(*) from lockscope_locks(?1)");
  Prepared snapshots(looker, "select count(*) from lockscope_snapshots(?1)");
  Prepared connections(looker, "select count(*) from lockscope_connections(?1)");
  const std::int64_t seen = connections.Run(file);
  Times proc_locks;
  Times of_locks;
  Times of_snapshots;
  std::size_t lines = 0;
  std::int64_t rows = 0;
  for (int i = 0; i < options.looks; ++i) {
    proc_locks.Measure([&] {
      const auto all = kernel::ReadProcLocks();
      lines += all ? all->size() : 0;
    });
    of_locks.Measure([&] { rows += locks.Run(file); });
    of_snapshots.Measure([&] { snapshots.Run(file); });
    usleep(20'000);
  }
  const auto looks = static_cast<std::size_t>(std::max(1, options.looks));
  std::printf("%s: %lld connections, %zu lines in /proc/locks, %lld rows in lockscope_locks\n",
              load, static_cast<long long>(seen), lines / looks,
              static_cast<long long>(rows) / static_cast<long long>(looks));
  Print("  /proc/locks", proc_locks, nullptr);
  Print("  lockscope_locks", of_locks, &proc_locks);
  Print("  lockscope_snapshots", of_snapshots, &proc_locks);
}

// ---- what the others lose ----

void MeasureThroughput(const std::string& file, const Options& options) {
  const Workers workers(file, options, 0);
  const Database looker(":memory:");
  Must(lockscope_init(looker.get()), looker.get());
  Prepared locks(looker, "select count(*) from lockscope_locks(?1)");
  constexpr int kLooksPerSlice = 2;
  const auto slice = [&](bool looking) {
    const double begun = WallNs();
    const std::int64_t before = workers.Transactions();
    for (int i = 0; i < kLooksPerSlice; ++i) {
      const double next = begun + (i + 1) * 1e9;
      if (looking) locks.Run(file);
      const double left_us = (next - WallNs()) / 1e3;
      if (left_us > 0) usleep(static_cast<useconds_t>(left_us));
    }
    return static_cast<double>(workers.Transactions() - before) / ((WallNs() - begun) / 1e9);
  };
  slice(true);
  std::vector<double> with;
  std::vector<double> without;
  std::vector<double> ratios;
  for (int i = 0; i < options.slices; ++i) {
    for (const bool looking : {i % 2 == 0, i % 2 != 0}) {
      (looking ? with : without).push_back(slice(looking));
    }
    ratios.push_back(with.back() / without.back());
  }
  double mean = 0;
  double variance = 0;
  const auto n = static_cast<double>(ratios.size());
  for (const double ratio : ratios) mean += ratio / n;
  for (const double ratio : ratios) variance += std::pow(ratio - mean, 2) / std::max(1.0, n - 1);
  std::printf("%.0f transactions/s without looks, %.0f with one a second\n", Quantile(without, 0.5),
              Quantile(with, 0.5));
  std::printf("ratio %.4f +- %.4f, median %.4f, p10 - p90 %.3f - %.3f, %zu pairs of 2 s\n", mean,
              1.96 * std::sqrt(variance / n), Quantile(ratios, 0.5), Quantile(ratios, 0.1),
              Quantile(ratios, 0.9), ratios.size());
}

// ---- the program ----

bool Parse(int argc, char** argv, Options& options) {
  const std::map<std::string_view, int*> numbers = {{"--processes", &options.processes},
                                                    {"--connections", &options.connections},
                                                    {"--looks", &options.looks},
                                                    {"--slices", &options.slices}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view value = argv[i + 1];
    if (const auto number = numbers.find(argv[i]); number != numbers.end()) {
      const char* end = value.data() + value.size();
      if (std::from_chars(value.data(), end, *number->second).ptr != end) return false;
    } else if (std::string_view(argv[i]) == "--dir") {
      options.folder = value;
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && options.processes > 0 && options.processes <= kProcessesMax &&
         options.connections > 0 && options.looks >= 0 && options.slices >= 0;
}

// Each part in a process of its own: whoever looks has nothing in a registry.
void InChild(const std::function<void()>& part) {
  std::fflush(stdout);  // or both would have it to write
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    part();
    std::fflush(stdout);
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0) {
    std::fprintf(stderr, "a part of the benchmark has failed\n");
    std::exit(1);
  }
}

void Run(Options options) {
  if (options.folder.empty() && access("/dev/shm", W_OK) == 0) options.folder = "/dev/shm";
  if (!options.folder.empty()) setenv("LOCKSCOPE_TEST_DIR", options.folder.c_str(), 1);
  const testing::TempDir folder;
  const std::string file = folder / "a.db";
  InChild([&] {
    const Database database(file);
    database.Run(
        "pragma journal_mode = wal; create table t(id integer primary key, v int);"
        "with recursive n(i) as (values (1) union all select i + 1 from n where i < " +
        std::to_string(kRows) + ") insert into t select i, 0 from n");
  });
  std::printf("SQLite %s, %d processes with %d connections each, database in %s\n\n",
              sqlite3_libversion(), options.processes, options.connections, folder.path().c_str());
  if (options.looks > 0) {
    std::printf("%-28s %8s %8s %8s %10s %12s %10s\n", "a look, ms", "p50", "p90", "most", "cpu p50",
                "less the list", "its cpu");
    std::fflush(stdout);
    constexpr useconds_t kPauseUs = 20'000;
    InChild([&] { MeasureLooks(file, options, "paced", kPauseUs); });
    options.looks = (options.looks + 7) / 8;  // each takes its turn behind 50 others
    InChild([&] { MeasureLooks(file, options, "hot", 0); });
  }
  if (options.slices > 0) InChild([&] { MeasureThroughput(file, options); });
}

}  // namespace
}  // namespace lockscope::bench

int main(int argc, char** argv) {
  lockscope::bench::Options options;
  if (!lockscope::bench::Parse(argc, argv, options)) {
    std::fputs(
        "usage: registry_bench [--processes N] [--connections N] [--looks N] [--slices N] "
        "[--dir FOLDER]\n",
        stderr);
    return 2;
  }
  lockscope::bench::Run(std::move(options));
  return 0;
}
