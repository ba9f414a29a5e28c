// Who is in whose way:
//   rules      which lock refuses which
//   rollback   writers, commits, pending writers, exclusive locks, hot journals
//   wal        writers, checkpoints, pins, recovery, exclusive locking mode
#include "insight/blockers.h"

#include <gtest/gtest.h>

#include <array>

#include "blockers_fixture.h"

namespace lockscope::testing {
namespace {

// ---- rules ----

using insight::LockRequest;
using insight::Refuses;

TEST(RefusesTest, TheDatabaseLockHasFiveLevels) {
  constexpr std::array kModes = {LockMode::kShared, LockMode::kReserved, LockMode::kPending,
                                 LockMode::kExclusive};
  const auto refused_by = [&](LockMode wants) {
    std::string by;
    for (const LockMode held : kModes) {
      if (Refuses({Resource::kDatabase, held}, {Resource::kDatabase, wants})) {
        by += (by.empty() ? "" : " ") + std::string(Name(held));
      }
    }
    return by;
  };
  EXPECT_EQ(refused_by(LockMode::kShared), "PENDING EXCLUSIVE");
  EXPECT_EQ(refused_by(LockMode::kReserved), "RESERVED PENDING EXCLUSIVE");
  EXPECT_EQ(refused_by(LockMode::kPending), "SHARED RESERVED PENDING EXCLUSIVE");
  EXPECT_EQ(refused_by(LockMode::kExclusive), "SHARED RESERVED PENDING EXCLUSIVE");
  EXPECT_FALSE(
      Refuses({Resource::kDatabase, LockMode::kNone}, {Resource::kDatabase, LockMode::kExclusive}));
}

TEST(RefusesTest, AWalIndexLockIsSharedOrExclusive) {
  const LockRequest shared{Resource::kWalRead1, LockMode::kShared};
  const LockRequest exclusive{Resource::kWalRead1, LockMode::kExclusive};
  EXPECT_FALSE(Refuses(shared, shared));
  EXPECT_TRUE(Refuses(shared, exclusive));
  EXPECT_TRUE(Refuses(exclusive, shared));
  EXPECT_TRUE(Refuses(exclusive, exclusive));
  EXPECT_FALSE(Refuses(exclusive, {Resource::kWalRead2, LockMode::kExclusive}));
  EXPECT_FALSE(Refuses(exclusive, {Resource::kDatabase, LockMode::kExclusive}));
}

// ---- rollback ----

TEST_F(BlockersTest, ReservedIsInTheWayOfTheNextWriterAndOfNoReader) {
  Make("delete");
  Client writer(path_);
  writer.Exec("begin immediate");
  EXPECT_EQ(Pairs(),
            Lines{Pair("next", "database RESERVED", writer.number(), "database RESERVED")});
  ExpectAdvice("1", "COMMIT or ROLLBACK there; a busy timeout helps");
}

TEST_F(BlockersTest, AWriterThatWaitsTakesThePlaceOfTheNext) {
  Make("delete");
  Client writer(path_);
  Client waiter(path_);
  writer.Exec("begin immediate");
  waiter.Start("begin immediate");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  EXPECT_EQ(Pairs(), Lines{Pair(waiter.number(), "database RESERVED", writer.number(),
                                "database RESERVED")});
  writer.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
}

TEST_F(BlockersTest, AReaderIsInTheWayOfTheCommit) {
  Make("delete");
  Client reader(path_);
  Client writer(path_);
  writer.Exec("begin immediate");
  reader.Exec("begin; select * from t limit 1");
  EXPECT_EQ(Pairs(),
            (Lines{Pair(writer.number(), "database EXCLUSIVE", reader.number(), "database SHARED"),
                   Pair("next", "database RESERVED", writer.number(), "database RESERVED")}));
  // It does not wait yet.
  EXPECT_EQ(Blockers("since, age_ms, sql, source", "blocked_pid is not null"),
            Lines{"NULL NULL begin immediate shim"});
  ExpectAdvice("blocked_pid is not null", "COMMIT or ROLLBACK");
  ExpectAdvice("blocked_pid is not null", "the commit needs all readers gone");
  reader.Exec("commit");
  EXPECT_EQ(Pairs().size(), 1U);
}

TEST_F(BlockersTest, ForAReaderTheAdviceIsToEndWhatItIsIn) {
  Make("delete");
  Client reader(path_);
  Client writer(path_);
  writer.Exec("begin immediate");
  {
    Statement statement(reader.db(), "select * from t");
    statement.Step();
    EXPECT_EQ(Advice("blocked_pid is not null").find("finish or reset that statement there:"), 0U);
  }
  reader.Exec("begin; select * from t limit 1");
  EXPECT_EQ(Advice("blocked_pid is not null").find("end that transaction there"), 0U);
}

TEST_F(BlockersTest, APendingWriterKeepsNewReadersOutToo) {
  Make("delete");
  Client reader(path_);
  Client writer(path_);
  reader.Exec("begin; select * from t limit 1");
  writer.Exec("begin immediate; update t set v = 0 where id = 1");
  ASSERT_EQ(writer.Refused("commit"), SQLITE_BUSY);
  EXPECT_EQ(Pairs(),
            (Lines{Pair(writer.number(), "database EXCLUSIVE", reader.number(), "database SHARED"),
                   Pair("next", "database SHARED", writer.number(), "database PENDING"),
                   Pair("next", "database RESERVED", writer.number(), "database PENDING")}));
  // It has waited since its commit was refused.
  EXPECT_EQ(Blockers("since is not null, age_ms >= 0", "blocked_pid is not null"), Lines{"1 1"});
  ExpectAdvice("wants = 'database SHARED'", "ends when they are gone");
  ExpectAdvice("wants = 'database RESERVED'", "lets no new one in");
}

TEST_F(BlockersTest, ACommitThatWaitsIsToldOnce) {
  Make("delete");
  Client reader(path_);
  Client writer(path_);
  reader.Exec("begin; select * from t limit 1");
  writer.Exec("begin immediate; update t set v = 0 where id = 1");
  writer.Start("commit");
  ASSERT_TRUE(Eventually([this] { return !Blockers("1", "sql = 'commit'").empty(); }));
  EXPECT_EQ(Pairs(),
            (Lines{Pair(writer.number(), "database EXCLUSIVE", reader.number(), "database SHARED"),
                   Pair("next", "database SHARED", writer.number(), "database PENDING"),
                   Pair("next", "database RESERVED", writer.number(), "database PENDING")}));
  reader.Exec("commit");
  EXPECT_TRUE(writer.Join().ok());
}

TEST_F(BlockersTest, ExclusiveIsInEverybodysWay) {
  Make("delete");
  Client writer(path_);
  Client waiter(path_);
  writer.Exec("begin exclusive");
  EXPECT_EQ(Pairs(),
            (Lines{Pair("next", "database SHARED", writer.number(), "database EXCLUSIVE"),
                   Pair("next", "database RESERVED", writer.number(), "database EXCLUSIVE")}));
  ExpectAdvice("wants = 'database SHARED'", "locking_mode=NORMAL");
  waiter.Start("select * from t");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  EXPECT_EQ(Pairs(),
            (Lines{Pair(waiter.number(), "database SHARED", writer.number(), "database EXCLUSIVE"),
                   Pair("next", "database RESERVED", writer.number(), "database EXCLUSIVE")}));
  writer.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
}

TEST_F(BlockersTest, WithAJournalExclusiveIsNoLockingMode) {
  Make("delete");
  Client writer(path_);
  // A spilled cache: half of the transaction is in the database file.
  writer.Exec("pragma cache_size = 1; begin; update t set pad = zeroblob(300)");
  ASSERT_EQ(Blockers("holds", "wants = 'database SHARED'"), Lines{"database EXCLUSIVE"});
  EXPECT_EQ(Advice("wants = 'database SHARED'").find("locking_mode"), std::string::npos);
  ExpectAdvice("wants = 'database SHARED'", "COMMIT or ROLLBACK there");
}

TEST_F(BlockersTest, AHotJournalIsWaitedFor) {
  Make("delete");
  LeaveHotJournal(path_);
  Actor recovering;
  recovering.PauseAt("after lock exclusive");
  recovering.Open("c", path_);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();
  EXPECT_EQ(Pairs().at(0), Pair("next", "database SHARED", Pid(recovering), "database EXCLUSIVE"));
  ExpectAdvice("wants = 'database SHARED'", "a crashed transaction is being rolled back");
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
}

// As SQLite 3.40 does where it may not roll back yet: PENDING without RESERVED.
TEST_F(BlockersTest, PendingBesideAHotJournalIsNoCommit) {
  Make("delete");
  LeaveHotJournal(path_);
  const LockingProcess pending(path_, kPendingByte, kPendingByte);
  const Lines expected{Pair("next", "database SHARED", pending.pid(), "database PENDING"),
                       Pair("next", "database RESERVED", pending.pid(), "database PENDING")};
  EXPECT_TRUE(Eventually([&] { return Pairs() == expected; })) << ::testing::PrintToString(Pairs());
  ExpectAdvice("wants = 'database SHARED'", "a crashed transaction is to be rolled back there");
}

// ---- wal ----

TEST_F(BlockersTest, AWalWriterIsInTheWayOfTheNextWriterAlone) {
  Make("wal");
  Client reader(path_);
  Client writer(path_);
  reader.Exec("begin; select * from t limit 1");
  writer.Exec("begin immediate");
  // All of them hold SHARED on the database file.
  EXPECT_EQ(Pairs(),
            Lines{Pair("next", "wal-write EXCLUSIVE", writer.number(), "wal-write EXCLUSIVE")});
  ExpectAdvice("1", "COMMIT or ROLLBACK there; a busy timeout helps");
  Client waiter(path_);
  waiter.Start("begin immediate");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  EXPECT_EQ(Pairs(), Lines{Pair(waiter.number(), "wal-write EXCLUSIVE", writer.number(),
                                "wal-write EXCLUSIVE")});
  writer.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
}

TEST_F(BlockersTest, ASnapshotIsInTheWayOfTheNextCheckpointOnceItPins) {
  Make("wal");
  Client writer(path_);
  writer.Exec("pragma wal_autocheckpoint = 0; update t set v = 0 where id = 1");
  Client reader(path_);
  reader.Exec("begin; select * from t limit 1");
  EXPECT_EQ(Pairs(), Lines());  // at the tip all can be checkpointed
  writer.Exec("update t set v = 0 where id = 2");
  EXPECT_EQ(Pairs(),
            Lines{Pair("next", "wal-read-1 EXCLUSIVE", reader.number(), "wal-read-1 SHARED")});
  EXPECT_EQ(Blockers("blocked_pid, pid, process, connection, since, age_ms, sql, source"),
            Lines{"NULL NULL NULL NULL NULL NULL NULL NULL"});
  EXPECT_EQ(Advice("1"),
            "end that transaction there (COMMIT or ROLLBACK); then the next checkpoint can go on");
}

TEST_F(BlockersTest, ACheckpointThatWaitsForReadersIsToldInTheNextOnesPlace) {
  Make("wal");
  Client writer(path_);
  writer.Exec("pragma wal_autocheckpoint = 0; update t set v = 0 where id = 1");
  Client reader(path_);
  reader.Exec("begin; select * from t limit 1");
  writer.Exec("update t set v = 0 where id = 2");
  Client checkpoint(path_);
  checkpoint.Start("pragma wal_checkpoint(truncate)");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  EXPECT_EQ(Pairs(),
            (Lines{Pair(checkpoint.number(), "wal-read-1 EXCLUSIVE", reader.number(),
                        "wal-read-1 SHARED"),
                   Pair("next", "wal-write EXCLUSIVE", checkpoint.number(), "wal-write EXCLUSIVE"),
                   Pair("next", "wal-checkpoint EXCLUSIVE", checkpoint.number(),
                        "wal-checkpoint EXCLUSIVE")}));
  ExpectAdvice("wants like 'wal-read%'", "end that transaction there");
  ExpectAdvice("wants like 'wal-write%'", "checkpoint PASSIVE");
  ExpectAdvice("wants like 'wal-checkpoint%'", "a checkpoint is at work there");
  reader.Exec("commit");
  EXPECT_TRUE(checkpoint.Join().ok());
}

// One request for all four slots: a row for each that somebody holds.
TEST_F(BlockersTest, ARequestForSeveralLocksHasARowForEachThatIsHeld) {
  Make("wal");
  const auto readers = HoldReadSlots(path_);
  for (const std::size_t i : {0U, 1U, 2U, 3U}) readers.at(i)->Exec("c", "rollback");
  Client second(path_);
  second.Exec("begin; select * from t limit 1");  // on a slot of its own, or the newest one's
  const Lines slots = look_.Lines("select distinct resource from lockscope_locks(" + Quote(path_) +
                                  ") where resource like 'wal-read%' order by resource");
  Client checkpoint(path_);
  checkpoint.Start("pragma wal_checkpoint(restart)");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  EXPECT_EQ(Blockers("distinct substr(wants, 1, 10)", "age_ms is not null order by 1"), slots);
  EXPECT_EQ(Blockers("1", "age_ms is not null").size(), 2U);
  readers[4]->Exec("c", "rollback");
  second.Exec("rollback");
  EXPECT_TRUE(checkpoint.Join().ok());
}

TEST_F(BlockersTest, ACheckpointIsInTheWayOfTheNext) {
  Make("wal");
  Actor actor;
  actor.Open("c", path_);
  actor.Exec("c", "update t set v = 0 where id = 1");
  actor.PauseAt("after shm-lock ckpt exclusive");
  Answer checkpoint = actor.Start("c", "pragma wal_checkpoint");
  actor.AwaitPoint();
  EXPECT_EQ(Pairs(), Lines{Pair("next", "wal-checkpoint EXCLUSIVE", Pid(actor),
                                "wal-checkpoint EXCLUSIVE")});
  actor.Continue();
  EXPECT_TRUE(checkpoint.Wait().ok());
}

TEST_F(BlockersTest, RecoveryIsInEverybodysWayAndIsWaitedFor) {
  Make("wal");
  LeaveWalToRecover(path_);
  Actor recovering;
  recovering.PauseAt("after shm-lock recover exclusive");
  recovering.Open("c", path_);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();
  const std::string pid = Pid(recovering);
  EXPECT_EQ(Pairs(),
            (Lines{Pair("next", "wal-write EXCLUSIVE", pid, "wal-write EXCLUSIVE"),
                   Pair("next", "wal-checkpoint EXCLUSIVE", pid, "wal-checkpoint EXCLUSIVE"),
                   Pair("next", "wal-recover SHARED", pid, "wal-recover EXCLUSIVE")}));
  EXPECT_EQ(Blockers("distinct advice"),
            Lines{"the WAL is being recovered: wait until that is done"});
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
}

TEST_F(BlockersTest, WithAWalExclusiveLockingModeIsInEverybodysWay) {
  Make("wal");
  Actor exclusive;
  exclusive.Open("c", path_);
  exclusive.Exec("c", "pragma locking_mode = exclusive; update t set v = 0 where id = 1");
  EXPECT_EQ(Pairs(), Lines{Pair("next", "database SHARED", Pid(exclusive), "database EXCLUSIVE")});
  EXPECT_EQ(Advice("1").find("exclusive locking mode there ends with"), 0U);
}

// Readers that look whether a recovery is under way share that lock for a moment.
TEST_F(BlockersTest, SharedOnTheRecoveryLockIsInNoReadersWay) {
  Make("wal");
  Client open(path_);
  const LockingProcess reader(path_ + "-shm", kWalRecoverByte, kWalRecoverByte, "LOCK_SH");
  EXPECT_TRUE(Eventually([&] {
    return look_.Value("select count(*) from lockscope_locks(" + Quote(path_) +
                       ") where resource = 'wal-recover' and mode = 'SHARED'") == "1";
  }));
  EXPECT_EQ(Pairs(), Lines());
}

TEST_F(BlockersTest, PendingIsInEveryonesWayWithAWalToo) {
  Make("wal");
  Client open(path_);
  const LockingProcess pending(path_, kPendingByte, kPendingByte);
  const Lines expected{Pair(pending.pid(), "database EXCLUSIVE", open.number(), "database SHARED"),
                       Pair("next", "database SHARED", pending.pid(), "database PENDING")};
  EXPECT_TRUE(Eventually([&] { return Pairs() == expected; })) << ::testing::PrintToString(Pairs());
  ExpectAdvice("wants = 'database SHARED'", "a change of journal mode");
}

}  // namespace
}  // namespace lockscope::testing
