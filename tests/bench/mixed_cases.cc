// A mixed load: four connections, each in a thread or a process of its own, four point SELECTs to
// one small write transaction, automatic checkpoints included. What they get done in a fixed time
// counts.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <new>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "bench/cases.h"
#include "bench/connection.h"

namespace lockscope::bench {
namespace {

constexpr std::size_t kWorkers = 4;
constexpr auto kBlock = std::chrono::milliseconds(40);

// Shared with the workers, whether they are threads or processes.
struct Board {
  pthread_barrier_t turn;  // all workers and the conductor
  std::atomic<bool> stop{false};
  std::atomic<bool> quit{false};
  std::atomic<bool> failed{false};
  std::atomic<Side> side{Side::kStock};
  std::array<std::atomic<long>, kWorkers> done{};
  std::array<std::atomic<double>, kWorkers> cpu_ns{};

  Board() {
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&turn, &shared, kWorkers + 1);
    pthread_barrierattr_destroy(&shared);
  }
  void Wait() { pthread_barrier_wait(&turn); }
};

class Worker {
 public:
  Worker(const std::string& path, const std::string& journal_mode, const EpochOptions& options,
         std::size_t number)
      : random_(number + 1) {
    const std::array<Side, 2> order = options.shim_first ? std::array{Side::kShim, Side::kStock}
                                                         : std::array{Side::kStock, Side::kShim};
    for (const Side side : order) {
      Opened& opened = sides_[Index(side)];
      opened.connection = std::make_unique<Connection>(path, VfsOf(side, options.calibrate));
      sqlite3_busy_timeout(opened.connection->get(), 10'000);
      opened.connection->Exec("pragma synchronous = off; pragma journal_mode = " + journal_mode);
      opened.read = std::make_unique<Statement>(opened.connection->get(),
                                                "select v, pad from t where id = ?1");
      opened.write = std::make_unique<Statement>(opened.connection->get(),
                                                 "update t set v = v + 1 where id = ?1");
    }
  }

  // Operations that were over before the stop.
  long RunUntilStopped(const Board& board) {
    Opened& opened = sides_[Index(board.side.load())];
    long done = 0;
    for (;;) {
      random_ = random_ * 6364136223846793005ULL + 1442695040888963407ULL;
      const std::uint64_t drawn = random_ >> 33;
      const auto row = static_cast<std::int64_t>(drawn % kRows) + 1;
      Statement& statement = drawn / kRows % 5 == 0 ? *opened.write : *opened.read;
      const bool succeeded = statement.TryRun(row);
      if (board.stop.load()) return done;
      if (succeeded) ++done;
    }
  }

 private:
  struct Opened {
    std::unique_ptr<Connection> connection;
    std::unique_ptr<Statement> read;
    std::unique_ptr<Statement> write;
  };
  std::array<Opened, kSides> sides_;
  std::uint64_t random_;
};

// A worker that fails keeps its turns, so that nobody waits for it.
void Work(Board& board, const std::string& path, const std::string& journal_mode,
          const EpochOptions& options, std::size_t number) {
  std::unique_ptr<Worker> worker;
  const auto attempt = [&board](const auto& action) {
    try {
      action();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "overhead_bench: a worker: %s\n", e.what());
      board.failed = true;
    }
  };
  attempt([&] { worker = std::make_unique<Worker>(path, journal_mode, options, number); });
  for (;;) {
    board.Wait();
    if (board.quit) return;
    attempt([&] {
      if (worker == nullptr) return;
      const double begun = ThreadCpuNs();
      board.done.at(number) = worker->RunUntilStopped(board);
      board.cpu_ns.at(number) = ThreadCpuNs() - begun;
    });
    board.Wait();
  }
}

enum class Measure : std::uint8_t { kThroughput, kCpuTime };

struct Load {
  std::string journal_mode;
  bool processes = false;
  Measure measure = Measure::kThroughput;
};

class MixedCase : public Case {
 public:
  MixedCase(const Load& load, const EpochOptions& options)
      : measure_(load.measure), path_(options.folder + "/mixed.db") {
    CreateDatabase(path_, load.journal_mode);
    void* memory =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    board_ = new (memory) Board();
    for (std::size_t number = 0; number < kWorkers; ++number) {
      if (load.processes) {
        StartProcess(load.journal_mode, options, number);
      } else {
        threads_.at(number) =
            std::thread([this, journal_mode = load.journal_mode, options, number] {
              Work(*board_, path_, journal_mode, options, number);
            });
      }
    }
  }

  ~MixedCase() override {
    board_->quit = true;
    board_->Wait();
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
    for (const pid_t pid : children_) {
      if (pid > 0) waitpid(pid, nullptr, 0);
    }
    munmap(board_, sizeof(Board));
  }

  long FixedOperations() const override { return 1; }

  Sample Run(Side side, long) override {
    board_->side = side;
    board_->stop = false;
    for (auto& done : board_->done) done = 0;
    board_->Wait();
    const double begun = WallNs();
    std::this_thread::sleep_for(kBlock);
    board_->stop = true;
    const double ns = WallNs() - begun;
    board_->Wait();
    if (board_->failed) throw std::runtime_error("a worker failed");
    long done = 0;
    for (const auto& one : board_->done) done += one;
    double cpu_ns = 0;
    for (const auto& one : board_->cpu_ns) cpu_ns += one;
    return {measure_ == Measure::kCpuTime ? cpu_ns : ns, static_cast<double>(done)};
  }

 private:
  void StartProcess(const std::string& journal_mode, const EpochOptions& options,
                    std::size_t number) {
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() == parent) Work(*board_, path_, journal_mode, options, number);
      _exit(0);
    }
    children_.at(number) = pid;
  }

  const Measure measure_;
  const std::string path_;
  Board* board_ = nullptr;
  std::array<std::thread, kWorkers> threads_;
  std::array<pid_t, kWorkers> children_{};
};

Comparison Mixed(const std::string& name, const Load& load) {
  return {.name = name,
          .epoch =
              [load](const EpochOptions& options) {
                return std::make_unique<MixedCase>(load, options);
              },
          .share_of_rounds = 0.2,
          .pinned = false};
}

}  // namespace

std::vector<Comparison> MixedLoadCases() {
  const auto cpu = Measure::kCpuTime;
  return {
      Mixed("mixed wal, 4 threads", {.journal_mode = "wal"}),
      Mixed("mixed wal, 4 threads, CPU time", {.journal_mode = "wal", .measure = cpu}),
      Mixed("mixed wal, 4 processes", {.journal_mode = "wal", .processes = true}),
      Mixed("mixed wal, 4 processes, CPU time",
            {.journal_mode = "wal", .processes = true, .measure = cpu}),
      Mixed("mixed delete, 4 processes, CPU time",
            {.journal_mode = "delete", .processes = true, .measure = cpu}),
  };
}

}  // namespace lockscope::bench
