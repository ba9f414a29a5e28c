// Processes that come and go at the same moment. Each of them publishes in the one sidecar that is
// in use then, or they do not see each other; and it must be the one of that name.
//
// Three processes, held together by a barrier in shared memory, take turns in these parts:
//   1  the last owner leaves while two others enter
//   2  the last two owners leave while another enters
//   3  the last owner leaves and enters again while two others enter
#include <gtest/gtest.h>

#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <new>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/session.h"
#include "ledger/ledger.h"
#include "ledger/registry.h"
#include "ledger/registry_reader.h"
#include "registry/forked.h"
#include "registry/seen.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

constexpr int kRacers = 3;

struct Shared {
  std::atomic<unsigned> arrived{0};
  std::array<std::atomic<std::uint64_t>, kRacers> instance{};
  std::atomic<bool> failed{false};
  std::array<char, 1000> failure{};

  void Fail(const std::string& what) {
    if (!failed.exchange(true)) std::snprintf(failure.data(), failure.size(), "%s", what.c_str());
  }
};

// What every racer knows beforehand, from the seed alone.
struct Round {
  std::array<bool, kRacers> before{};  // has it open when the race begins
  std::array<bool, kRacers> leaves{};
  std::array<bool, kRacers> enters{};

  bool After(int racer) const {
    const auto i = static_cast<std::size_t>(racer);
    return enters.at(i) || (before.at(i) && !leaves.at(i));
  }
};

Round Draw(std::mt19937_64& random) {
  Round round;
  const std::size_t one = random() % kRacers;
  switch (random() % 3) {
    case 0:
      round.enters.fill(true);
      round.enters.at(one) = false;
      round.before.at(one) = round.leaves.at(one) = true;
      break;
    case 1:
      round.before.fill(true);
      round.before.at(one) = false;
      round.leaves = round.before;
      round.enters.at(one) = true;
      break;
    default:
      round.enters.fill(true);
      round.before.at(one) = round.leaves.at(one) = true;
  }
  return round;
}

class Racer {
 public:
  Racer(int number, std::string path, Shared& shared, std::uint64_t seed)
      : number_(number),
        path_(std::move(path)),
        shared_(shared),
        common_(seed),
        own_(seed + 1 + static_cast<std::uint64_t>(number)) {
    struct stat facts = {};
    stat(path_.c_str(), &facts);
    database_ = {.device = facts.st_dev, .inode = facts.st_ino};
  }

  void Run(int rounds) {
    for (int i = 0; i < rounds && !shared_.failed; ++i) {
      const Round round = Draw(common_);
      trace_ = "round " + std::to_string(i) + ", racer " + std::to_string(number_) + ": ";
      const auto mine = static_cast<std::size_t>(number_);
      // Those who are to be out leave first, so that nobody else does in the race.
      if (!round.before.at(mine)) Leave();
      Meet();
      if (round.before.at(mine)) Enter();
      Meet();
      Dawdle();
      if (round.leaves.at(mine)) Leave();
      if (round.enters.at(mine)) Enter();
      Meet();
      Check(round);
      Meet();
    }
    Leave();
  }

 private:
  void Enter() {
    if (connection_ != nullptr) return;
    connection_ = ledger::Ledger::Process().Open();
    ledger::ConnectionInfo info;
    info.path = path_;
    info.database = database_;
    info.publish = true;
    ledger::Ledger::Process().Opened(*connection_, std::move(info));
    shared_.instance.at(static_cast<std::size_t>(number_)) = ledger::Registry::Process().instance();
  }

  void Leave() {
    if (connection_ == nullptr) return;
    ledger::Ledger::Process().Close(*connection_);
    connection_ = nullptr;
  }

  void Meet() {
    const unsigned target = (shared_.arrived.fetch_add(1) / kRacers + 1) * kRacers;
    while (shared_.arrived.load() < target) sched_yield();
  }

  // Up to as long as entering takes.
  void Dawdle() {
    const auto until = NowNs() + own_() % 200'000;
    while (NowNs() < until) {
    }
  }
  static std::uint64_t NowNs() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
           static_cast<std::uint64_t>(now.tv_nsec);
  }

  void Fail(const std::string& what) { shared_.Fail(trace_ + what); }

  void Check(const Round& round) {
    const std::vector<int> descriptors = SidecarDescriptors(path_);
    if (!round.After(number_)) {
      if (!descriptors.empty()) Fail("is out, and still has the sidecar open");
      return;
    }
    if (descriptors.size() != 1) {
      Fail(std::to_string(descriptors.size()) + " descriptors: " + Refusal());
      return;
    }
    struct stat owned = {};
    struct stat named = {};
    if (fstat(descriptors.front(), &owned) != 0 || owned.st_nlink != 1) {
      Fail("has been unlinked under its owner");
    } else if (lstat(Sidecar(path_).c_str(), &named) != 0 || named.st_ino != owned.st_ino) {
      Fail("another one is of that name");
    }
    std::set<std::uint64_t> wanted;
    for (int other = 0; other < kRacers; ++other) {
      if (other != number_ && round.After(other)) {
        wanted.insert(shared_.instance.at(static_cast<std::size_t>(other)));
      }
    }
    std::set<std::uint64_t> seen;
    ledger::RegistryReader reader(path_, database_);
    for (const auto& view : reader.Connections()) seen.insert(view.process->instance);
    if (seen != wanted) {
      Fail("sees " + std::to_string(seen.size()) + " others, not the " +
           std::to_string(wanted.size()) + " that are in; " + reader.unavailable());
    }
  }

  std::string Refusal() const {
    const auto own = ledger::Ledger::Process().Connections({});
    return own.empty() ? "" : own.front().info.private_because;
  }

  int number_;
  std::string path_;
  FileId database_;
  Shared& shared_;
  std::mt19937_64 common_;  // the same in all racers
  std::mt19937_64 own_;
  ledger::Connection* connection_ = nullptr;
  std::string trace_;
};

TEST(RegistryRaceTest, WhoComesWhileTheLastOneGoesMeetsTheOthers) {
  const TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  RegisterShim();
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  Shared& shared = *new (memory) Shared();
  const std::uint64_t seed = Seed();
  const int rounds = RoundsOr(500);
  {
    std::vector<std::unique_ptr<Forked>> racers;
    for (int i = 0; i < kRacers; ++i) {
      racers.push_back(std::make_unique<Forked>(
          [&, i](Forked::Turns&) { Racer(i, db, shared, seed).Run(rounds); }));
    }
    // A racer that failed has the others end too, after the next meeting.
    for (const auto& racer : racers) EXPECT_EQ(racer->ExitCode(), 0);
  }
  EXPECT_FALSE(shared.failed) << shared.failure.data();
  EXPECT_EQ(FileSize(Sidecar(db)), -1);
  munmap(memory, sizeof(Shared));
}

}  // namespace
}  // namespace lockscope::testing
