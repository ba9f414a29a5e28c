// The record that a connection writes of itself:
//   database   levels, one by one; PENDING that stayed behind; what a release ends
//   wal-index  slots, ranges, what an unmapping lets go of; the snapshot's facts
//   SQL        the text of each lock's own statement
//   waits      first refusal, repeats, grant; given up; another slot will do
//   balance    acquired = released + held, always

#include "ledger/connection.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "recorded.h"

namespace lockscope::ledger {
namespace {

constexpr int kBusy = 5;
constexpr int kWrite = 0;
constexpr int kCheckpoint = 1;
constexpr int kRecover = 2;
constexpr int kRead0 = 3;
constexpr int kRead1 = 4;
constexpr LockMode kShared = LockMode::kShared;
constexpr LockMode kExclusive = LockMode::kExclusive;

CallContext Statement(std::uint64_t number) { return {.statement_number = number}; }

std::string SqlOf(const ConnectionView& view, SqlSlot slot) {
  return view.sql.at(static_cast<std::size_t>(slot));
}

class ConnectionTest : public ::testing::Test {
 protected:
  // What the counters say is held.
  std::int64_t Balance(Resource resource, LockMode mode) const {
    const StatCounts counts = c_.Stats(resource, mode);
    return static_cast<std::int64_t>(counts.acquired) - static_cast<std::int64_t>(counts.released);
  }
  // Another has committed since the snapshot.
  void WriteLockIsHadInVain(Ticks now = 2'000, std::uint64_t statement = 1) {
    c_->ShmLockedInVain(kWrite, now, Statement(statement));
    c_->WriteLockOvertaken(now, Statement(statement), false);
    c_->ShmUnlocked(kWrite, 1, kExclusive, 0, now + 100, Statement(statement));
  }

  Recorded c_;
};

// ---- database ----

TEST_F(ConnectionTest, EachLevelHasTheMomentOfItsOwnGrant) {
  c_->DatabaseLocked(kShared, 100, {});
  c_->DatabaseLocked(LockMode::kReserved, 200, {});
  c_->DatabaseLocked(kExclusive, 300, {});
  const ConnectionView view = c_.View();
  EXPECT_EQ(view.held.database, kExclusive);
  EXPECT_EQ(view.slot.database_since.at(LevelIndex(kShared)), 100U);
  EXPECT_EQ(view.slot.database_since.at(LevelIndex(LockMode::kReserved)), 200U);
  EXPECT_EQ(view.slot.database_since.at(LevelIndex(kExclusive)), 300U);
  EXPECT_TRUE(view.held.Holds(LockMode::kReserved));
  EXPECT_FALSE(view.held.Holds(LockMode::kPending));
  EXPECT_EQ(view.slot.last_call, 300U);
  EXPECT_EQ(c_.Story(), (std::vector<std::string>{"lock database NONE SHARED 0",
                                                  "lock database SHARED RESERVED 0",
                                                  "lock database RESERVED EXCLUSIVE 0"}));
}

TEST_F(ConnectionTest, ADowngradeEndsTheHigherLevelsOnly) {
  c_->DatabaseLocked(kShared, 100, {});
  c_->DatabaseLocked(LockMode::kReserved, 200, {});
  c_->DatabaseLocked(kExclusive, 300, {});
  c_->DatabaseUnlocked(kShared, 0, 400, {});
  EXPECT_EQ(c_.View().held.database, kShared);
  EXPECT_EQ(Balance(Resource::kDatabase, kShared), 1);
  EXPECT_EQ(Balance(Resource::kDatabase, LockMode::kReserved), 0);
  EXPECT_EQ(Balance(Resource::kDatabase, kExclusive), 0);
  EXPECT_EQ(c_.Stats(Resource::kDatabase, LockMode::kReserved).hold.max, 200U);
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kExclusive).hold.max, 100U);
  c_->DatabaseUnlocked(LockMode::kNone, 0, 500, {});
  EXPECT_EQ(Balance(Resource::kDatabase, kShared), 0);
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kShared).hold.max, 400U);
  EXPECT_EQ(c_.View().held.database, LockMode::kNone);
}

TEST_F(ConnectionTest, AskingForALevelThatIsHeldIsAnEventButNoNewLock) {
  c_->DatabaseLocked(kShared, 100, {});
  c_->DatabaseLocked(kShared, 200, {});
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kShared).acquired, 1U);
  EXPECT_EQ(c_.View().slot.database_since.at(0), 100U);
  EXPECT_EQ(c_.Story().size(), 2U);
}

TEST_F(ConnectionTest, PendingThatStaysAfterARefusalIsALock) {
  c_->DatabaseLocked(kShared, 100, {});
  c_->DatabaseLocked(LockMode::kReserved, 200, {});
  c_->DatabaseRefused(kExclusive, LockMode::kPending, kBusy, kNotMeasured, 300, {});
  EXPECT_EQ(c_.View().held.database, LockMode::kPending);
  EXPECT_EQ(Balance(Resource::kDatabase, LockMode::kPending), 1);
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kExclusive).refused, 1U);
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kExclusive).acquired, 0U);
  EXPECT_EQ(c_.Story().back(), "lock database RESERVED EXCLUSIVE 5");

  c_->DatabaseLocked(kExclusive, 400, {});
  c_->DatabaseUnlocked(LockMode::kNone, 0, 500, {});
  for (const LockMode mode : {kShared, LockMode::kReserved, LockMode::kPending, kExclusive}) {
    EXPECT_EQ(Balance(Resource::kDatabase, mode), 0) << Name(mode);
  }
  EXPECT_EQ(c_.Stats(Resource::kDatabase, LockMode::kPending).hold.max, 200U);
}

TEST_F(ConnectionTest, CheckingForReservedIsAnEventWithItsAnswer) {
  c_->ReservedChecked(true, 0, 10);
  c_->ReservedChecked(false, 0, 20);
  EXPECT_EQ(c_.Story(), (std::vector<std::string>{"check-reserved database NONE RESERVED 0",
                                                  "check-reserved database NONE NONE 0"}));
}

// ---- wal-index ----

TEST_F(ConnectionTest, AReadLockKeepsWhatTheSnapshotSaw) {
  c_->ShmMapped(10);
  c_->ShmLocked(kRead1, 1, kShared, 20, {.autocommit = Autocommit::kOff},
                {.max_frame = 77, .salts = 0xabcd});
  const ConnectionView view = c_.View();
  EXPECT_TRUE(view.held.wal_open);
  EXPECT_EQ(view.held.Shm(kRead1), kShared);
  EXPECT_EQ(view.held.autocommit, Autocommit::kOff);
  EXPECT_EQ(view.slot.snapshot_frame, 77U);
  EXPECT_EQ(view.slot.snapshot_salts, 0xabcdU);
  EXPECT_EQ(view.slot.shm_since.at(kRead1), 20U);
  EXPECT_EQ(view.slot.open_since, 10U);
}

TEST_F(ConnectionTest, ARangeIsCountedSlotBySlotAndIsOneEvent) {
  c_->ShmMapped(10);
  c_->ShmLocked(kRead1, 4, kExclusive, 20, {}, {});
  EXPECT_EQ(c_.View().held.Shm(kRead0), LockMode::kNone);
  for (int slot = 1; slot <= 4; ++slot) {
    EXPECT_EQ(c_.View().held.Shm(kRead0 + slot), kExclusive) << slot;
    EXPECT_EQ(Balance(ShmResource(kRead0 + slot), kExclusive), 1) << slot;
  }
  c_->ShmUnlocked(kRead1, 4, kExclusive, 0, 50, {});
  for (int slot = 1; slot <= 4; ++slot) {
    EXPECT_EQ(Balance(ShmResource(kRead0 + slot), kExclusive), 0) << slot;
    EXPECT_EQ(c_.Stats(ShmResource(kRead0 + slot), kExclusive).hold.max, 30U) << slot;
  }
  const std::string all = "wal-read-1,wal-read-2,wal-read-3,wal-read-4";
  EXPECT_EQ(c_.Story(), (std::vector<std::string>{"shm-map wal-open NONE SHARED 0",
                                                  "shm-lock " + all + " NONE EXCLUSIVE 0",
                                                  "shm-unlock " + all + " EXCLUSIVE NONE 0"}));
}

TEST_F(ConnectionTest, UnlockingWhatIsNotHeldIsOnlyAnEvent) {
  c_->ShmUnlocked(kWrite, 1, kExclusive, 0, 10, {});
  EXPECT_TRUE(c_.Stats(Resource::kWalWrite, kExclusive).Empty());
  EXPECT_EQ(c_.Story(), (std::vector<std::string>{"shm-unlock wal-write NONE NONE 0"}));
}

TEST_F(ConnectionTest, AnUnlockThatFailedReleasesNothing) {
  c_->ShmLocked(kWrite, 1, kExclusive, 10, {}, {});
  c_->ShmUnlocked(kWrite, 1, kExclusive, 10, 20, {});
  EXPECT_EQ(c_.View().held.Shm(kWrite), kExclusive);
  EXPECT_EQ(Balance(Resource::kWalWrite, kExclusive), 1);
}

TEST_F(ConnectionTest, UnmappingLetsGoOfEverySlot) {
  c_->ShmMapped(10);
  c_->ShmLocked(kRead0, 1, kShared, 20, {}, {});
  c_->ShmLocked(kCheckpoint, 1, kExclusive, 30, {}, {});
  c_->ShmUnmapped(40);
  EXPECT_FALSE(c_.View().held.wal_open);
  EXPECT_EQ(Balance(Resource::kWalRead0, kShared), 0);
  EXPECT_EQ(Balance(Resource::kWalCheckpoint, kExclusive), 0);
  EXPECT_EQ(Balance(Resource::kWalOpen, kShared), 0);
  c_->ShmUnmapped(50);  // a second time: nothing to let go of
  EXPECT_EQ(c_.Stats(Resource::kWalOpen, kShared).released, 1U);
}

TEST_F(ConnectionTest, IdleIsToHoldNothingButSharedInWalMode) {
  EXPECT_TRUE(c_->Idle());
  c_->DatabaseLocked(kShared, 10, {});
  EXPECT_FALSE(c_->Idle());
  c_->ShmMapped(20);
  EXPECT_TRUE(c_->Idle());
  c_->ShmLocked(kRead0, 1, kShared, 30, {}, {});
  EXPECT_FALSE(c_->Idle());
  c_->ShmUnlocked(kRead0, 1, kShared, 0, 40, {});
  EXPECT_TRUE(c_->Idle());
  c_->ShmLocked(kRecover, 1, kExclusive, 50, {}, {});
  EXPECT_FALSE(c_->Idle());
}

// ---- SQL ----

TEST_F(ConnectionTest, EveryKindOfLockKeepsTheStatementThatTookIt) {
  const auto text = std::make_unique<StatementText>();
  const auto as = [&text](const char* sql) {
    text->Assign(sql);
    return CallContext{.statement = text.get()};
  };
  c_->DatabaseLocked(kShared, 10, as("first"));
  c_->ShmLocked(kRead1, 1, kShared, 20, as("second"), {});
  c_->ShmLocked(kWrite, 1, kExclusive, 30, as("third"), {});
  c_->ShmLocked(kCheckpoint, 1, kExclusive, 40, as("fourth, with a longer text"), {});
  c_->ShmRefused(kRecover, 1, kExclusive, kBusy, kNotMeasured, 50, as("fifth"));
  const ConnectionView view = c_.View();
  EXPECT_EQ(SqlOf(view, SqlSlot::kDatabase), "first");
  EXPECT_EQ(SqlOf(view, SqlSlot::kRead), "second");
  EXPECT_EQ(SqlOf(view, SqlSlot::kWrite), "third");
  EXPECT_EQ(SqlOf(view, SqlSlot::kCheckpoint), "fourth, with a longer text");
  EXPECT_EQ(SqlOf(view, SqlSlot::kWant), "fifth");
}

TEST_F(ConnectionTest, AnUnknownStatementTakesTheOldTextAway) {
  const auto text = std::make_unique<StatementText>();
  text->Assign("select 1");
  c_->ShmLocked(kRead1, 1, kShared, 10, {.statement = text.get()}, {});
  c_->ShmUnlocked(kRead1, 1, kShared, 0, 20, {});
  c_->ShmLocked(kRead1, 1, kShared, 30, {}, {});
  EXPECT_EQ(SqlOf(c_.View(), SqlSlot::kRead), "");
  c_->ShmUnlocked(kRead1, 1, kShared, 0, 40, {});
  text->Assign("pragma key = 'hush'");
  c_->ShmLocked(kRead1, 1, kShared, 50, {.statement = text.get()}, {});
  EXPECT_EQ(SqlOf(c_.View(), SqlSlot::kRead), "");
  c_->ShmUnlocked(kRead1, 1, kShared, 0, 60, {});
  text->Assign("select 1");
  c_->ShmLocked(kRead1, 1, kShared, 70, {.statement = text.get()}, {});
  EXPECT_EQ(SqlOf(c_.View(), SqlSlot::kRead), "select 1");
}

// ---- waits ----

TEST_F(ConnectionTest, AWaitLastsFromTheFirstRefusalToTheGrant) {
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, 40, 3'000, Statement(1));
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, 40, 6'000, Statement(1));
  ConnectionView view = c_.View();
  EXPECT_NE(view.slot.want, 0U);
  EXPECT_EQ(view.slot.want_since, 1'000U);
  EXPECT_EQ(view.slot.want_last, 6'000U);
  EXPECT_EQ(view.slot.want_gap, 3'000U);
  EXPECT_EQ(view.slot.want_refusals, 3U);
  EXPECT_EQ(view.slot.busy_count, 3U);
  EXPECT_EQ(view.slot.last_busy, 6'000U);

  c_->ShmLocked(kWrite, 1, kExclusive, 9'000, Statement(1), {});
  view = c_.View();
  EXPECT_EQ(view.slot.want, 0U);
  EXPECT_EQ(view.slot.busy_count, 3U);
  const StatCounts counts = c_.Stats(Resource::kWalWrite, kExclusive);
  EXPECT_EQ(counts.refused, 3U);
  EXPECT_EQ(counts.wait.total, 1U);
  EXPECT_EQ(counts.wait.max, 8'000U);
  const auto events = c_.Events().events;
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events.at(0).duration_ticks, kNotMeasured);
  EXPECT_EQ(events.at(1).duration_ticks, 40U);
}

TEST_F(ConnectionTest, AWaitForTheDatabaseEndsAtTheLevelOrAbove) {
  c_->DatabaseRefused(kShared, LockMode::kNone, kBusy, kNotMeasured, 1'000, Statement(1));
  c_->DatabaseLocked(kShared, 2'000, Statement(1));
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kShared).wait.max, 1'000U);
  c_->DatabaseRefused(kExclusive, kShared, kBusy, kNotMeasured, 3'000, Statement(1));
  c_->DatabaseLocked(LockMode::kReserved, 4'000, Statement(1));  // less than was asked for
  EXPECT_NE(c_.View().slot.want, 0U);
  c_->DatabaseLocked(kExclusive, 5'000, Statement(1));
  EXPECT_EQ(c_.View().slot.want, 0U);
  EXPECT_EQ(c_.Stats(Resource::kDatabase, kExclusive).wait.max, 2'000U);
}

TEST_F(ConnectionTest, AnotherStatementHasGivenTheWaitUp) {
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  c_->ShmLocked(kWrite, 1, kExclusive, 2'000, Statement(2), {});
  EXPECT_EQ(c_.View().slot.want, 0U);
  EXPECT_EQ(c_.Stats(Resource::kWalWrite, kExclusive).wait.total, 0U);
}

TEST_F(ConnectionTest, AnotherStatementsUnlockEndsTheWaitToo) {
  c_->DatabaseRefused(kShared, LockMode::kNone, kBusy, kNotMeasured, 1'000, Statement(1));
  c_->DatabaseUnlocked(LockMode::kNone, 0, 1'100, Statement(1));  // SQLite tidies up after BUSY
  EXPECT_NE(c_.View().slot.want, 0U);
  c_->DatabaseUnlocked(LockMode::kNone, 0, 1'200, Statement(2));
  EXPECT_EQ(c_.View().slot.want, 0U);
}

TEST_F(ConnectionTest, WithoutAStatementALongSilenceHasGivenTheWaitUp) {
  constexpr Ticks kLong = Ticks{1} << 33;
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, {});
  c_->ShmLocked(kWrite, 1, kExclusive, 5'000, {}, {});
  EXPECT_EQ(c_.Stats(Resource::kWalWrite, kExclusive).wait.total, 1U);
  c_->ShmUnlocked(kWrite, 1, kExclusive, 0, 6'000, {});
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 7'000, {});
  c_->ShmLocked(kWrite, 1, kExclusive, 7'000 + kLong, {}, {});
  EXPECT_EQ(c_.Stats(Resource::kWalWrite, kExclusive).wait.total, 1U);
  EXPECT_EQ(c_.View().slot.want, 0U);
}

TEST_F(ConnectionTest, AnyReadSlotEndsAReadersWait) {
  c_->ShmRefused(kRead1, 1, kShared, kBusy, kNotMeasured, 1'000, Statement(1));
  c_->ShmLocked(kRead0 + 3, 1, kShared, 4'000, Statement(1), {});
  EXPECT_EQ(c_.View().slot.want, 0U);
  EXPECT_EQ(c_.Stats(Resource::kWalRead1, kShared).wait.max, 3'000U);
}

TEST_F(ConnectionTest, ARefusedRangeWaitsForItsFirstSlot) {
  c_->ShmRefused(kRead1, 4, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  for (int slot = 1; slot <= 4; ++slot) {
    EXPECT_EQ(c_.Stats(ShmResource(kRead0 + slot), kExclusive).refused, 1U) << slot;
  }
  c_->ShmLocked(kRead1, 4, kExclusive, 2'500, Statement(1), {});
  EXPECT_EQ(c_.Stats(Resource::kWalRead1, kExclusive).wait.max, 1'500U);
  EXPECT_EQ(c_.Stats(Resource::kWalRead2, kExclusive).wait.total, 0U);
}

TEST_F(ConnectionTest, ARequestForSomethingElseBeginsAWaitOfItsOwn) {
  c_->ShmRefused(kRead1, 1, kShared, kBusy, kNotMeasured, 1'000, Statement(1));
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 2'000, Statement(1));
  EXPECT_EQ(c_.View().slot.want_since, 2'000U);
  EXPECT_EQ(c_.View().slot.want_refusals, 1U);
}

// A writer that tries again where the last commit made the WAL grow wants a read slot set anew; its
// last holder may still be reading.
TEST_F(ConnectionTest, WhatIsRefusedMeanwhileAndNotWaitedForEndsNoWait) {
  const auto refused_in_between = [this](Ticks now) {
    c_->ShmRefused(kRead1, 1, kExclusive, kBusy, kNotMeasured, now, Statement(1));
    c_->RefusalSwallowed();
  };
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  EXPECT_TRUE(c_->WaitBegins(900, 1'000));
  refused_in_between(2'000);
  EXPECT_EQ(c_->refused()->resource, Resource::kWalWrite);
  EXPECT_EQ(c_.View().slot.want_since, 1'000U);
  c_->ShmLocked(kRead1, 1, kExclusive, 2'500, Statement(1), {});
  c_->ShmUnlocked(kRead1, 1, kExclusive, 0, 2'600, Statement(1));
  c_->ShmLocked(kRead1 + 1, 1, kShared, 2'700, Statement(1), {});
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 3'000, Statement(1));
  EXPECT_FALSE(c_->WaitBegins(2'900, 3'000));
  refused_in_between(3'500);
  EXPECT_EQ(c_.Waits().at(0).outcome, WaitOutcome::kNone);
  EXPECT_EQ(c_.Waits().at(0).began, 1'000U);
  EXPECT_EQ(c_.Waits().at(0).asked, 2'900U);
  EXPECT_EQ(c_.Waits().at(0).last, 3'000U);

  c_->ShmLocked(kWrite, 1, kExclusive, 4'000, Statement(1), {});
  const auto waits = c_.Waits();
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0].outcome, WaitOutcome::kAcquired);
  EXPECT_EQ(waits[0].ended, 4'000U);
  EXPECT_EQ(waits[0].refusals, 2U);
  EXPECT_EQ(c_.Stats(Resource::kWalWrite, kExclusive).wait.max, 3'000U);
  EXPECT_EQ(c_.View().slot.want, 0U);
}

TEST_F(ConnectionTest, AWriteLockHadInVainIsOneMoreRefusal) {
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  EXPECT_TRUE(c_->WaitBegins(900, 1'000));
  WriteLockIsHadInVain();
  EXPECT_EQ(c_.Waits().at(0).outcome, WaitOutcome::kNone);
  c_->ShmLocked(kWrite, 1, kExclusive, 3'000, Statement(1), {});
  const auto waits = c_.Waits();
  ASSERT_EQ(waits.size(), 1U);
  EXPECT_EQ(waits[0].outcome, WaitOutcome::kAcquired);
  EXPECT_EQ(waits[0].refusals, 2U);
  EXPECT_EQ(waits[0].ended - waits[0].began, 2'000U);
  EXPECT_TRUE(waits[0].cause.explanation.starts_with("another connection committed"));
}

TEST_F(ConnectionTest, ACommitThatCameFirstIsNotToldOfTheRefusalBehindIt) {
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  EXPECT_TRUE(c_->WaitBegins(900, 1'000));
  c_->WaitLookedInto(1'900);
  WriteLockIsHadInVain();
  EXPECT_NE(c_.Waits().at(0).cause.explanation, "");
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 2'500, Statement(1));
  EXPECT_FALSE(c_->WaitBegins(2'400, 2'500));
  EXPECT_EQ(c_.Waits().at(0).refusals, 3U);
  EXPECT_EQ(c_.Waits().at(0).cause.explanation, "");
  // Though it has not lasted twice as long.
  EXPECT_TRUE(c_->WaitNeedsCause(2'500));
  EXPECT_EQ(c_->WaitExcusesLook(2'500), 600U);  // since the last look
  EXPECT_FALSE(c_->WaitIsTold());
  c_->WaitLookedInto(2'500);
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 2'600, Statement(1));
  EXPECT_FALSE(c_->WaitBegins(2'550, 2'600));
  EXPECT_FALSE(c_->WaitNeedsCause(2'600));
  EXPECT_EQ(c_->WaitExcusesLook(2'600), 0U);
  c_->WaitExplained({.reason = Reason::kWriter, .blocker_pid = 7, .explanation = "pid 7"});
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 4'000, Statement(1));
  EXPECT_FALSE(c_->WaitBegins(3'900, 4'000));
  EXPECT_EQ(c_.Waits().at(0).cause.explanation, "pid 7");
}

TEST_F(ConnectionTest, ACommitThatCameFirstIsToldUnlessACauseIs) {
  Ticks now = 1'000;
  std::uint64_t statement = 1;
  const auto overtaken_after = [&](const auto& tell) {
    c_->ReviewWaits(now += 1'000, Statement(++statement));
    c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, now, Statement(statement));
    EXPECT_TRUE(c_->WaitBegins(now - 100, now));
    tell();
    WriteLockIsHadInVain(now += 1'000, statement);
    return c_.Waits().back().cause;
  };
  const RefusalCause named = overtaken_after([&] {
    c_->WaitExplained({.reason = Reason::kWriter, .blocker_pid = 7, .explanation = "pid 7"});
  });
  EXPECT_EQ(named.reason, Reason::kWriter);
  EXPECT_EQ(named.blocker_pid, 7);
  EXPECT_EQ(named.explanation, "pid 7");
  // Somebody whom the text alone tells of.
  const RefusalCause elsewhere =
      overtaken_after([&] { c_->WaitExplained({.explanation = "a process elsewhere"}); });
  EXPECT_EQ(elsewhere.explanation, "a process elsewhere");
  const RefusalCause nobody =
      overtaken_after([&] { c_->WaitFoundNobody({.explanation = "cannot be told any more"}); });
  EXPECT_TRUE(nobody.explanation.starts_with("another connection committed"));
}

TEST_F(ConnectionTest, InTheTickOfACommitThatCameFirstALookIsDueToo) {
  WriteLockIsHadInVain();
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 2'000, Statement(1));
  EXPECT_FALSE(c_->WaitBegins(2'000, 2'000));
  EXPECT_TRUE(c_->WaitNeedsCause(2'000));
  EXPECT_EQ(c_->WaitExcusesLook(2'000), 0U);
}

// What was told of the wait before is not of it.
TEST_F(ConnectionTest, ACommitThatCameFirstIsToldOfTheWaitThatItBegins) {
  c_->ShmRefused(kWrite, 1, kExclusive, kBusy, kNotMeasured, 1'000, Statement(1));
  EXPECT_TRUE(c_->WaitBegins(900, 1'000));
  c_->WaitExplained({.reason = Reason::kWriter, .blocker_pid = 7, .explanation = "pid 7"});
  c_->ShmLocked(kWrite, 1, kExclusive, 1'500, Statement(1), {});
  c_->ShmUnlocked(kWrite, 1, kExclusive, 0, 1'600, Statement(1));
  WriteLockIsHadInVain(2'000, 2);
  const auto waits = c_.Waits();
  ASSERT_EQ(waits.size(), 2U);
  EXPECT_TRUE(waits.back().cause.explanation.starts_with("another connection committed"));
}

TEST_F(ConnectionTest, AWriteLockHadInVainBeginsAWaitToo) {
  WriteLockIsHadInVain();
  ASSERT_EQ(c_.Waits().size(), 1U);
  EXPECT_EQ(c_.Waits()[0].cause.reason, Reason::kUnknown);
  EXPECT_NE(c_.Waits()[0].cause.explanation.find("another connection committed"),
            std::string::npos);
  c_->ShmLocked(kWrite, 1, kExclusive, 3'000, Statement(1), {});
  EXPECT_EQ(c_.Waits()[0].outcome, WaitOutcome::kAcquired);
}

// ---- balance ----

TEST_F(ConnectionTest, ClosingLetsGoOfEverything) {
  c_->DatabaseLocked(kShared, 10, {});
  c_->ShmMapped(20);
  c_->ShmLocked(kRead1, 1, kShared, 30, {}, {});
  c_->ShmLocked(kWrite, 1, kExclusive, 40, {}, {});
  c_.Close();
  for (std::size_t i = 0; i < kStatKinds; ++i) {
    const StatKind kind = StatKindOf(i);
    EXPECT_EQ(Balance(kind.resource, kind.mode), 0) << Name(kind.resource);
  }
  EXPECT_EQ(c_.Stats(Resource::kWalWrite, kExclusive).acquired, 1U);
  EXPECT_EQ(c_.Story().back(), "unlock database SHARED NONE 0");
  EXPECT_TRUE(Ledger::Process().Connections(OfPath(c_.path())).empty());
}

}  // namespace
}  // namespace lockscope::ledger
