// How long RecoveryPatience waits for whoever rolls a hot journal back:
//   time    of a statement, of the next one, of statements that are not heard
//   over    rolled back: nothing is waited for, nothing is kept open

#include "shim/recovery_patience.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "kernel/descriptors.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::shim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kNotHeard = 0;
constexpr milliseconds kMost{100};
// A sleep may overshoot the time by its own length.
constexpr milliseconds kMostAndASleep{kMost + milliseconds(30)};

class RecoveryPatienceTest : public ::testing::Test {
 protected:
  RecoveryPatienceTest() {
    testing::CreateDatabase(path_, {.journal_mode = "delete"});
    testing::LeaveHotJournal(path_);
    vfs_.pAppData = this;
    vfs_.xSleep = [](sqlite3_vfs* vfs, int us) {
      auto& self = *static_cast<RecoveryPatienceTest*>(vfs->pAppData);
      std::this_thread::sleep_for(microseconds(us));
      self.slept_ += microseconds(us);
      if (self.in_sleep_) self.in_sleep_();
      return us;
    };
  }

  // What it sleeps while it is asked every 20 ms for so long, as by SQLite's busy handler.
  microseconds SleptWhileAsked(std::uint64_t statement, milliseconds for_so_long) {
    slept_ = microseconds(0);
    const auto until = std::chrono::steady_clock::now() + for_so_long;
    while (std::chrono::steady_clock::now() < until) {
      patience_.Await(vfs_, statement, kMost);
      std::this_thread::sleep_for(milliseconds(20));
    }
    return slept_;
  }

  testing::TempDir dir_;
  const std::string path_ = dir_ / "a.db";
  sqlite3_vfs vfs_{};
  microseconds slept_{0};
  std::function<void()> in_sleep_;
  RecoveryPatience patience_{path_.c_str(), true};
};

// ---- time ----

TEST_F(RecoveryPatienceTest, AStatementHasItsTimeOnceAndTheNextOneAgain) {
  for (const std::uint64_t statement : {7U, 8U}) {
    const microseconds slept = SleptWhileAsked(statement, milliseconds(400));
    EXPECT_GT(slept, kMost / 2) << statement;
    EXPECT_LT(slept, kMostAndASleep) << statement;
  }
}

TEST_F(RecoveryPatienceTest, AttemptsThatAreNotHeardShareTheTimeHoweverLongTheyGoOn) {
  const microseconds slept = SleptWhileAsked(kNotHeard, 2 * kMost + milliseconds(2200));
  EXPECT_GT(slept, kMost / 2);
  EXPECT_LT(slept, kMostAndASleep);
}

TEST_F(RecoveryPatienceTest, AfterAPauseAStatementThatIsNotHeardHasItsTime) {
  SleptWhileAsked(kNotHeard, milliseconds(200));
  std::this_thread::sleep_for(milliseconds(1100));
  EXPECT_GT(SleptWhileAsked(kNotHeard, milliseconds(200)), kMost / 2);
}

// ---- over ----

TEST_F(RecoveryPatienceTest, WhatWasAskedForWithoutAHotJournalTakesNoTimeAway) {
  EXPECT_EQ(testing::IntegrityCheck(path_), "ok");
  EXPECT_EQ(SleptWhileAsked(kNotHeard, milliseconds(200)).count(), 0);
  testing::LeaveHotJournal(path_);
  EXPECT_GT(SleptWhileAsked(kNotHeard, milliseconds(200)), kMost / 2);
}

TEST_F(RecoveryPatienceTest, OnceItIsRolledBackTheJournalIsNotKeptOpen) {
  const FileId journal = kernel::StatPath(path_ + "-journal").value().id;
  in_sleep_ = [&] {
    EXPECT_EQ(kernel::OpenFiles::Scan().Find(journal).size(), 1U);
    EXPECT_EQ(testing::IntegrityCheck(path_), "ok");
  };
  patience_.Await(vfs_, 1, milliseconds(20'000));
  EXPECT_LT(slept_, milliseconds(100));
  EXPECT_TRUE(kernel::OpenFiles::Scan().Find(journal).empty());
}

}  // namespace
}  // namespace lockscope::shim
