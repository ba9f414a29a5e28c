// Processes that run plain SQLite, in every lock state there is, seen from a process that does not
// have the database open. Groups:
//   RollbackStatesTest   SHARED, RESERVED, PENDING, EXCLUSIVE, hot-journal rollback
//   WalStatesTest        idle, write, checkpoint, recover, read slots 0-4, the last close
//   ManyStatesTest       many processes at once; those that are gone
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "looker.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

constexpr char kShared[] = "database SHARED 1073741826-1073742335";
constexpr char kReserved[] = "database RESERVED 1073741825-1073741825";
constexpr char kPending[] = "database PENDING 1073741824-1073741824";
constexpr char kExclusive[] = "database EXCLUSIVE 1073741824-1073742335";
constexpr char kWalOpen[] = "wal-open SHARED 128-128";

std::string ReadSlotLine(int slot, const char* mode) {
  const std::string byte = std::to_string(123 + slot);
  return "wal-read-" + std::to_string(slot) + " " + mode + " " + byte + "-" + byte;
}

// ---- Rollback journal --------------------------------------------------------------------------

class RollbackStatesTest : public ::testing::TestWithParam<const char*> {
 protected:
  RollbackStatesTest() { CreateDatabase(db_, {.journal_mode = GetParam()}); }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Looker looker_;
};

INSTANTIATE_TEST_SUITE_P(Journals, RollbackStatesTest,
                         ::testing::Values("delete", "truncate", "persist"));

TEST_P(RollbackStatesTest, SharedIsReading) {
  Actor a;
  a.Open("c", db_);
  EXPECT_EQ(looker_.All("select * from lockscope_connections(?1)", {db_}).size(), 0U);
  a.Step("c", "select id from t order by id");
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kShared});
  EXPECT_EQ(looker_.State(db_, a.pid()), "reading");
  EXPECT_EQ(looker_.One("select pid, slot, mark, frame, pins, pinned_bytes, autocommit, source"
                        "  from lockscope_snapshots(?1)",
                        {db_}),
            (Row{std::to_string(a.pid()), "NULL", "NULL", "NULL", "none", "0", "NULL", "kernel"}));
  a.Finish("c");
  EXPECT_EQ(looker_.All("select * from lockscope_locks(?1)", {db_}).size(), 0U);
}

TEST_P(RollbackStatesTest, ReservedIsWriting) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "begin immediate");
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kReserved});
  EXPECT_EQ(looker_.State(db_, a.pid()), "writing");
}

TEST_P(RollbackStatesTest, PendingWaitsForAReader) {
  Actor reader;
  reader.Open("c", db_);
  reader.Exec("c", "begin; select count(*) from t");
  Actor writer;
  writer.Open("c", db_);
  writer.Exec("c", "begin immediate; update t set v = 1");
  ASSERT_EQ(writer.Try("c", "commit").code, SQLITE_BUSY);
  EXPECT_EQ(looker_.Locks(db_, writer.pid()), Lines{kPending});
  EXPECT_EQ(looker_.Locks(db_, reader.pid()), Lines{kShared});
  EXPECT_EQ(looker_.State(db_, writer.pid()), "writing");
  EXPECT_EQ(looker_.State(db_, reader.pid()), "reading");
  EXPECT_EQ(looker_.All("select * from lockscope_locks(?1)", {db_}).size(), 2U);
}

TEST_P(RollbackStatesTest, ExclusiveByBegin) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "begin exclusive");
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kExclusive});
  EXPECT_EQ(looker_.State(db_, a.pid()), "writing");
}

TEST_P(RollbackStatesTest, ExclusiveInTheMiddleOfACommitIsNoRecovery) {
  Actor a;
  a.Open("c", db_);
  a.PauseAt("before sync main");
  Answer update = a.Start("c", "update t set v = 1");
  a.AwaitPoint();
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kExclusive});
  EXPECT_EQ(looker_.State(db_, a.pid()), "writing");
  a.Continue();
  EXPECT_TRUE(update.Wait().ok());
}

TEST_P(RollbackStatesTest, ExclusiveWithoutReservedRollsAHotJournalBack) {
  LeaveHotJournal(db_);
  Actor a;
  a.Open("c", db_);
  a.PauseAt("after lock exclusive");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kExclusive});
  EXPECT_EQ(looker_.State(db_, a.pid()), "recovering");
  a.Continue();
  EXPECT_EQ(rows.Wait().text(), "200");
}

TEST_P(RollbackStatesTest, ExclusiveLockingModeKeepsItsLock) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "pragma locking_mode = exclusive; update t set v = 0");
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kExclusive});
  EXPECT_EQ(looker_.State(db_, a.pid()), "writing");
}

// ---- WAL ---------------------------------------------------------------------------------------

class WalStatesTest : public ::testing::Test {
 protected:
  WalStatesTest() { CreateDatabase(db_); }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Looker looker_;
};

TEST_F(WalStatesTest, IdleConnectionKeepsSharedAndItsWalIndexOpen) {
  Actor a;
  a.Open("c", db_);
  EXPECT_EQ(looker_.All("select * from lockscope_connections(?1)", {db_}).size(), 0U);
  a.Exec("c", "select count(*) from t");
  EXPECT_EQ(looker_.Locks(db_, a.pid()), (Lines{kShared, kWalOpen}));
  EXPECT_EQ(looker_.One("select pid, state, source, journal_mode, connection, vfs, autocommit,"
                        "       sqlite_version, since, sql, application, thread, busy_count"
                        "  from lockscope_connections(?1)",
                        {db_}),
            (Row{std::to_string(a.pid()), "idle", "kernel", "wal", "NULL", "NULL", "NULL", "NULL",
                 "NULL", "NULL", "NULL", "NULL", "NULL"}));
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
}

TEST_F(WalStatesTest, WriteLockIsWriting) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "begin immediate");
  EXPECT_EQ(looker_.Locks(db_, a.pid()),
            (Lines{kShared, kWalOpen, ReadSlotLine(0, "SHARED"), "wal-write EXCLUSIVE 120-120"}));
  EXPECT_EQ(looker_.State(db_, a.pid()), "writing");
}

TEST_F(WalStatesTest, CheckpointLockIsCheckpointing) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "update t set v = 0");
  a.PauseAt("after shm-lock ckpt exclusive");
  Answer checkpoint = a.Start("c", "pragma wal_checkpoint");
  a.AwaitPoint();
  EXPECT_EQ(looker_.Locks(db_, a.pid()),
            (Lines{kShared, "wal-checkpoint EXCLUSIVE 121-121", kWalOpen}));
  EXPECT_EQ(looker_.State(db_, a.pid()), "checkpointing");

  a.PauseAt("before write main");  // it backfills
  a.Continue();
  a.AwaitPoint();
  EXPECT_EQ(looker_.Locks(db_, a.pid()), (Lines{kShared, "wal-checkpoint EXCLUSIVE 121-121",
                                                kWalOpen, ReadSlotLine(0, "EXCLUSIVE")}));
  EXPECT_EQ(looker_.State(db_, a.pid()), "checkpointing");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
  a.Continue();
  EXPECT_TRUE(checkpoint.Wait().ok());
}

TEST_F(WalStatesTest, TruncateCheckpointHoldsWriteLockAndSlots) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "update t set v = 0");
  a.PauseAt("after shm-lock 4+4 exclusive");
  Answer checkpoint = a.Start("c", "pragma wal_checkpoint(truncate)");
  a.AwaitPoint();
  EXPECT_EQ(
      looker_.Locks(db_, a.pid()),
      (Lines{kShared, "wal-checkpoint EXCLUSIVE 121-121", kWalOpen, ReadSlotLine(1, "EXCLUSIVE"),
             ReadSlotLine(2, "EXCLUSIVE"), ReadSlotLine(3, "EXCLUSIVE"),
             ReadSlotLine(4, "EXCLUSIVE"), "wal-write EXCLUSIVE 120-120"}));
  EXPECT_EQ(looker_.State(db_, a.pid()), "checkpointing");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
  a.Continue();
  EXPECT_EQ(checkpoint.Wait().text(), "0\t0\t0");
}

TEST_F(WalStatesTest, RecoverLockIsRecovering) {
  LeaveWalToRecover(db_);
  Actor a;
  a.PauseAt("after shm-lock recover exclusive");
  a.Open("c", db_);
  Answer value = a.Start("c", "select v from t where id = 1");
  a.AwaitPoint();
  EXPECT_EQ(looker_.Locks(db_, a.pid()),
            (Lines{kShared, "wal-checkpoint EXCLUSIVE 121-121", kWalOpen,
                   "wal-recover EXCLUSIVE 122-122", "wal-write EXCLUSIVE 120-120"}));
  EXPECT_EQ(looker_.State(db_, a.pid()), "recovering");
  a.Continue();
  EXPECT_EQ(value.Wait().text(), "2");
}

TEST_F(WalStatesTest, ReadersOnAllFiveSlots) {
  const auto readers = HoldReadSlots(db_);
  for (int slot = 0; slot < 5; ++slot) {
    Actor& reader = *readers.at(static_cast<std::size_t>(slot));
    EXPECT_EQ(looker_.Locks(db_, reader.pid()),
              (Lines{kShared, kWalOpen, ReadSlotLine(slot, "SHARED")}));
    EXPECT_EQ(looker_.State(db_, reader.pid()), "reading");
  }
  EXPECT_EQ(looker_.All("select slot, pid from lockscope_snapshots(?1) order by slot", {db_}),
            (std::vector<Row>{{"0", std::to_string(readers[0]->pid())},
                              {"1", std::to_string(readers[1]->pid())},
                              {"2", std::to_string(readers[2]->pid())},
                              {"3", std::to_string(readers[3]->pid())},
                              {"4", std::to_string(readers[4]->pid())}}));
}

TEST_F(WalStatesTest, LastCloseHoldsExclusive) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "update t set v = 0");
  a.PauseAt("after lock exclusive");
  Answer closed = a.Send("close c");
  a.AwaitPoint();
  EXPECT_EQ(looker_.Locks(db_, a.pid()), (Lines{kExclusive, kWalOpen}));
  a.Continue();
  EXPECT_TRUE(closed.Wait().ok());
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines());
}

TEST_F(WalStatesTest, ExclusiveLockingModeHasNoWalIndexToLookAt) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "pragma locking_mode = exclusive; update t set v = 0");
  EXPECT_EQ(looker_.Locks(db_, a.pid()), Lines{kExclusive});
  EXPECT_EQ(looker_.State(db_, a.pid()), "writing");
  EXPECT_EQ(looker_.One("select page_size, frames, salt1 from lockscope_wal(?1)", {db_}),
            (Row{"4096", "NULL", "NULL"}));
}

// ---- Many --------------------------------------------------------------------------------------

TEST(ManyStatesTest, FiftyConnectionsInTenProcessesAreTenRows) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  std::vector<std::unique_ptr<Actor>> actors;
  for (int i = 0; i < 10; ++i) {
    Actor& actor = *actors.emplace_back(std::make_unique<Actor>());
    for (int c = 0; c < 5; ++c) {
      const std::string name = "c" + std::to_string(c);
      actor.Open(name, db);
      actor.Exec(name, "begin; select count(*) from t");
    }
  }
  const Looker looker;
  for (const auto& actor : actors) {
    EXPECT_EQ(looker.Locks(db, actor->pid()),
              (Lines{kShared, kWalOpen, ReadSlotLine(0, "SHARED")}));
    EXPECT_EQ(looker.State(db, actor->pid()), "reading");
  }
  EXPECT_EQ(looker.All("select * from lockscope_connections(?1)", {db}).size(), 10U);
}

TEST(ManyStatesTest, KilledProcessHasNoRows) {
  for (const char* mode : {"wal", "delete"}) {
    TempDir dir;
    const std::string db = dir / "a.db";
    CreateDatabase(db, {.journal_mode = mode});
    const Looker looker;
    Actor a;
    a.Open("c", db);
    a.Exec("c", "begin immediate");
    EXPECT_NE(looker.Locks(db, a.pid()), Lines());
    a.Kill();
    EXPECT_EQ(looker.All("select * from lockscope_locks(?1)", {db}).size(), 0U) << mode;
    EXPECT_EQ(looker.All("select * from lockscope_connections(?1)", {db}).size(), 0U) << mode;
    EXPECT_EQ(looker.All("select * from lockscope_snapshots(?1)", {db}).size(), 0U) << mode;
  }
}

TEST(ManyStatesTest, ForkedChildThatOutlivesItsParentHoldsNothing) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  const Looker looker;
  Actor a;
  a.Open("c", db);
  a.Exec("c", "begin immediate");
  const pid_t child = a.ForkChild();
  EXPECT_EQ(looker.Locks(db, child), Lines());
  EXPECT_EQ(looker.State(db, a.pid()), "writing");
  a.Kill();
  EXPECT_EQ(looker.All("select * from lockscope_locks(?1)", {db}).size(), 0U);
}

// Bytes of SQLite's, locked by other means than SQLite's.
TEST(ManyStatesTest, OtherKindsOfLocksAreNotSqlites) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  Actor a;
  a.Open("c", db);
  ASSERT_TRUE(a.RawLock("flock", "write", 0, 0, db).ok());
  ASSERT_TRUE(a.RawLock("ofd", "write", 0x40000000, 0x40000002, db).ok());
  EXPECT_EQ(Looker().All("select * from lockscope_locks(?1)", {db}).size(), 0U);
}

TEST(ManyStatesTest, TwoDatabasesAreNotMixed) {
  TempDir dir;
  CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
  CreateDatabase(dir / "b.db", {.journal_mode = "delete"});
  Actor a;
  a.Open("a", dir / "a.db");
  a.Open("b", dir / "b.db");
  a.Exec("a", "begin immediate");
  a.Exec("b", "begin; select count(*) from t");
  const Looker looker;
  EXPECT_EQ(looker.Locks(dir / "a.db", a.pid()), Lines{kReserved});
  EXPECT_EQ(looker.Locks(dir / "b.db", a.pid()), Lines{kShared});
}

}  // namespace
}  // namespace lockscope::testing
