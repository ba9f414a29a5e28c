// Ten processes at work on one database, some of which are killed and some of which fork, with a
// connection or without, while this one looks:
//   no row of a process that was dead before the look began
//   no row missing of one that had it open all the while
//   no block left behind: a new owner gets the first, the sidecar is no larger than what was needed
//     at once, and is gone when the last one has closed in order
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "core/session.h"
#include "ledger/ledger.h"
#include "ledger/registry_layout.h"
#include "registry/seen.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr int kRounds = 2;  // a fork takes its time there
#else
constexpr int kRounds = 10;
#endif
constexpr int kProcesses = 10;  // at once, and
constexpr int kForks = 4;       // in a round
constexpr int kKills = 20;      // each time another process is started
constexpr std::size_t kPlaces = kProcesses + kForks + kKills;

// What the processes of a round tell; every one has a place of its own.
struct Board {
  struct Place {
    std::atomic<pid_t> pid{0};
    std::atomic<unsigned> stays{0};  // odd: it has a published connection, and keeps it till it
                                     // counts on
  };
  std::array<Place, kPlaces> places{};
  std::atomic<std::size_t> used{0};
  std::atomic<int> forks_left{kForks};
  std::atomic<bool> stop{false};
};

void Nap(std::mt19937_64& random, unsigned microseconds_max) {
  usleep(static_cast<useconds_t>(random() % microseconds_max));
}

// ---- a process at work ----

class Worker {
 public:
  Worker(const std::string& db, Board& board, std::size_t place, std::uint64_t seed)
      : db_(db), board_(board), place_(board.places.at(place)), random_(seed + place) {
    alarm(120);  // whatever becomes of the test
    place_.pid = getpid();
  }

  // Until it is told to stop, then in order.
  void Run() {
    while (!board_.stop) {
      connection_ = std::make_unique<Db>(db_);
      const auto views = ledger::Ledger::Process().Connections({});
      const bool published = views.size() == 1 && views.front().info.private_because.empty();
      if (published) ++place_.stays;
      const auto turns = random_() % 6;
      for (std::uint64_t turn = 0; turn < turns && !board_.stop; ++turn) Work();
      if (random_() % 8 == 0) Fork();
      if (published) ++place_.stays;
      connection_.reset();
      if (random_() % 8 == 0) Fork();
      if (random_() % 2 == 0) Nap(random_, 2000);
    }
  }

 private:
  void Work() {
    static constexpr std::array<const char*, 4> kSql = {
        "begin; select count(*) from t", "select sum(v) from t where id < 9", "commit",
        "update t set v = v + 1 where id = 7"};
    connection_->Try(kSql.at(random_() % kSql.size()));
    if (random_() % 3 == 0) Nap(random_, 3000);
  }

  // A child goes on with connections of its own. One that has inherited a connection must not use
  // that database: its SQLite believes to have its parent's locks. It does nothing.
  void Fork() {
    if (board_.forks_left.fetch_sub(1) <= 0) return;
    const std::size_t place = board_.used.fetch_add(1);
    const std::uint64_t seed = random_();
    if (fork() != 0) return;
    Worker child(db_, board_, place, seed);
    if (connection_ == nullptr) child.Run();
    while (!board_.stop) Nap(random_, 2000);
    _exit(0);
  }

  std::string db_;
  Board& board_;
  Board::Place& place_;
  std::mt19937_64 random_;
  std::unique_ptr<Db> connection_;
};

// ---- a round ----

class RegistryRoundsTest : public ::testing::Test {
 protected:
  RegistryRoundsTest() {
    RegisterShim();
    prctl(PR_SET_CHILD_SUBREAPER, 1);  // the children of those who are killed
    void* memory =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board_ = new (memory) Board();
  }
  ~RegistryRoundsTest() override {
    KillAll();
    munmap(board_, sizeof(Board));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
  }

  void StartOne(const std::string& db, std::uint64_t seed) {
    const std::size_t place = board_->used.fetch_add(1);
    if (fork() != 0) return;
    try {
      Worker(db, *board_, place, seed).Run();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "worker: %s\n", e.what());
      _exit(1);
    }
    _exit(0);
  }

  std::vector<pid_t> Living() const {
    std::vector<pid_t> living;
    for (const Board::Place& place : board_->places) {
      const pid_t pid = place.pid;
      if (pid > 0 && !IsDead(pid)) living.push_back(pid);
    }
    return living;
  }

  // Whoever has it as a child yet, it is dead then.
  void KillOne(std::mt19937_64& random) {
    const std::vector<pid_t> living = Living();
    if (living.empty()) return;
    const pid_t pid = living.at(random() % living.size());
    kill(pid, SIGKILL);
    while (!IsDead(pid)) sched_yield();
    int status = 0;
    while (waitpid(-1, &status, WNOHANG) > 0) Judge(status);
  }

  // They end when they are told to, or are killed, and in no other way.
  static void Judge(int status) {
    const bool as_told = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    EXPECT_TRUE(as_told || killed) << "a process ended with " << status;
  }

  void KillAll() {
    for (int i = 0; i < 1000; ++i) {
      for (const pid_t pid : Living()) kill(pid, SIGKILL);
      if (waitpid(-1, nullptr, WNOHANG) < 0) return;  // there is none
      usleep(1000);
    }
  }

  void Look(const std::string& db) {
    std::vector<pid_t> dead;
    std::array<unsigned, kPlaces> stays{};
    for (std::size_t i = 0; i < kPlaces; ++i) {
      const Board::Place& place = board_->places.at(i);
      stays.at(i) = place.stays;
      if (place.pid > 0 && IsDead(place.pid)) dead.push_back(place.pid);
    }
    const Json rows = FromShim(SeenHere("connections", db));
    for (const Json& row : rows) {
      const auto found = std::find(dead.begin(), dead.end(), row.at("pid").get<pid_t>());
      EXPECT_EQ(found, dead.end()) << "a dead process is shown: " << row.dump();
    }
    for (std::size_t i = 0; i < kPlaces; ++i) {
      const Board::Place& place = board_->places.at(i);
      if (stays.at(i) % 2 == 0 || place.stays != stays.at(i) || IsDead(place.pid)) continue;
      ++expected_rows_;
      EXPECT_EQ(OfPid(rows, place.pid).size(), 1U)
          << "a living process is not shown, place " << i << ", "
          << (place.stays == stays.at(i)
                  ? OfPid(SeenHere("connections", db), place.pid).dump() + " a moment later"
                  : "and does not stay");
    }
    largest_ = std::max(largest_, FileSize(Sidecar(db)));
  }

  void Round(const std::string& db, std::mt19937_64& random, bool in_order) {
    board_ = new (board_) Board();
    for (int i = 0; i < kProcesses; ++i) StartOne(db, random());
    for (int i = 0; i < kKills; ++i) {
      Nap(random, 4000);
      KillOne(random);
      Look(db);
      StartOne(db, random());
      if (HasFailure()) return;
    }
    if (in_order) {
      board_->stop = true;
      int status = 0;
      while (waitpid(-1, &status, 0) > 0) Judge(status);
      EXPECT_EQ(FileSize(Sidecar(db)), -1) << "the last one has left it behind";
    } else {
      KillAll();
    }
    EXPECT_EQ(BlocksHeld(db), std::vector<std::uint32_t>());
    EXPECT_EQ(SeenHere("connections", db).size(), 0U);
    // A child that has not got to its fork handler yet holds the block of a parent that was killed.
    constexpr auto kMost = static_cast<std::int64_t>(ledger::BlockOffset(kProcesses + 2 * kForks));
    EXPECT_LE(largest_, kMost);
    EXPECT_LE(FileSize(Sidecar(db)), kMost);
    {
      Db fresh(db);
      EXPECT_EQ(BlocksHeld(db), std::vector<std::uint32_t>{0});
      fresh.Exec("select count(*) from t");
    }
    EXPECT_EQ(FileSize(Sidecar(db)), -1);
  }

  TempDir dir_;
  Board* board_ = nullptr;
  std::int64_t largest_ = 0;
  int expected_rows_ = 0;
};

TEST_F(RegistryRoundsTest, NothingIsStaleOrLeftBehind) {
  const std::uint64_t seed = Seed();
  std::mt19937_64 random(seed);
  const std::string db = dir_ / "a.db";
  CreateDatabase(db);
  for (int round = 1; round <= RoundsOr(kRounds); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Round(db, random, round % 2 == 0);
    if (HasFailure()) return;
  }
  // Or nothing was shown.
  if (RoundsOr(kRounds) >= 10) {
    EXPECT_GT(expected_rows_, 10);
  }
  EXPECT_GT(largest_, static_cast<std::int64_t>(ledger::BlockOffset(2)));
}

}  // namespace
}  // namespace lockscope::testing
