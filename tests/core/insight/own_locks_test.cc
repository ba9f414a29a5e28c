// What this process holds, told by the shim or by the kernel:
//   plain    connections beside the shim are kernel rows with our pid
//   before   a process that had the database open before it loaded lockscope keeps its locks
//   lost     a stray open() and close(): verified = 0
//   looking  leaves every lock, journal and file as it was

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <sstream>

#include "core/session.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

class OwnLocksTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode +
              "; create table t(x); insert into t values (1)");
  }
  Lines Locks(const std::string& columns = "source, resource, mode, verified") {
    return look_.Lines("select " + columns + " from lockscope_locks(" + Quote(path_) +
                       ") order by source desc, resource, mode");
  }
  void LookAtEverything() {
    for (const char* table :
         {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
      look_.Exec("select * from lockscope_" + std::string(table) + "(" + Quote(path_) + ")");
    }
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
  const std::string pid_ = std::to_string(getpid());
};

// ---- plain ----

TEST_F(OwnLocksTest, AConnectionBesideTheShimIsToldByTheKernel) {
  Make("delete");
  Db plain(path_, "unix");
  plain.Exec("begin immediate");
  EXPECT_EQ(Locks("source, pid, connection, since, sql, resource, mode, granted, verified"),
            Lines{"kernel " + pid_ + " NULL NULL NULL database RESERVED 1 NULL"});
  EXPECT_EQ(plain.Value("select source, pid, state, vfs from lockscope_connections"),
            "kernel " + pid_ + " writing NULL");
  EXPECT_EQ(plain.Value("select lockscope_get('capture_sql')"), "on");
}

TEST_F(OwnLocksTest, InWalModeToo) {
  Make("wal");
  Db plain(path_, "unix");
  plain.Exec("begin; insert into t values (2)");
  EXPECT_EQ(Locks(), (Lines{"kernel database SHARED NULL", "kernel wal-open SHARED NULL",
                            "kernel wal-read-0 SHARED NULL", "kernel wal-write EXCLUSIVE NULL"}));
}

TEST_F(OwnLocksTest, WhatTheShimExplainsIsNotToldTwice) {
  Make("delete");
  Db shim(path_);
  Db plain(path_, "unix");
  shim.Exec("begin; select * from t");
  EXPECT_EQ(Locks(), Lines{"shim database SHARED 1"});
  plain.Exec("begin immediate");
  EXPECT_EQ(Locks(), (Lines{"shim database SHARED 1", "kernel database RESERVED NULL"}));
  shim.Exec("commit");
  EXPECT_EQ(Locks(), Lines{"kernel database RESERVED NULL"});
}

TEST_F(OwnLocksTest, ManyConnectionsEachHaveTheirRow) {
  Make("wal");
  std::vector<std::unique_ptr<Db>> readers;
  for (int i = 0; i < 10; ++i) {
    readers.push_back(std::make_unique<Db>(path_));
    readers.back()->Exec("begin; select * from t");
  }
  EXPECT_EQ(look_.Value("select count(*), count(distinct connection), min(verified) from "
                        "lockscope_locks(" +
                        Quote(path_) + ") where resource like 'wal-read-%'"),
            "10 10 1");
  EXPECT_EQ(look_.Value("select count(*) from lockscope_locks(" + Quote(path_) +
                        ") where source = 'kernel'"),
            "0");
}

// Each lock is told by the descriptor that it was taken through, and by no other.
TEST_F(OwnLocksTest, ALockIsVerifiedWhicheverDescriptorItWasTakenThrough) {
  Make("delete");
  LookAtEverything();  // nobody has it open: the looker's own descriptor is the first of all
  Db one(path_);
  Db two(path_);
  Db three(path_);
  one.Exec("select * from t");
  two.Exec("begin; select * from t");
  three.Exec("begin immediate");
  EXPECT_EQ(Locks(), (Lines{"shim database RESERVED 1", "shim database SHARED 1"}));
}

// ---- before ----

TEST_F(OwnLocksTest, LoadedLaterAProcessKeepsItsLocksWhenItLooks) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    path_ = dir_ / (std::string(mode) + ".db");
    CreateDatabase(path_, {.journal_mode = mode});
    Actor actor;
    actor.Open("c", path_);
    actor.Exec("c", "begin immediate; update t set v = 0 where id = 1");
    const auto locks = LocksOf(path_, actor.pid());
    const auto shm_locks = LocksOf(path_ + "-shm", actor.pid());
    ASSERT_FALSE(locks.empty());
    actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
    for (const char* table :
         {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
      actor.Exec("m", "select * from lockscope_" + std::string(table) + "(" + Quote(path_) + ")");
      actor.Exec("m", "select lockscope_json(" + Quote(table) + ", " + Quote(path_) + ")");
    }
    EXPECT_EQ(LocksOf(path_, actor.pid()), locks);
    EXPECT_EQ(LocksOf(path_ + "-shm", actor.pid()), shm_locks);
    const std::string writing =
        mode == std::string("wal") ? "wal-write EXCLUSIVE" : "database RESERVED";
    std::istringstream words(writing);
    std::string resource;
    std::string level;
    words >> resource >> level;
    EXPECT_EQ(actor.Query("m", "select source, pid, mode, verified from lockscope_locks(" +
                                   Quote(path_) + ") where resource = " + Quote(resource)),
              (std::vector<Row>{{"kernel", std::to_string(actor.pid()), level, "NULL"}}));
    actor.Exec("c", "commit");
    // A connection opened from now on is seen by the shim.
    actor.Open("d", path_);
    actor.Exec("d", "begin immediate");
    EXPECT_EQ(actor.Query("m", "select source from lockscope_locks(" + Quote(path_) +
                                   ") where resource = " + Quote(resource) +
                                   " and mode = " + Quote(level)),
              (std::vector<Row>{{"shim"}}));
  }
}

// ---- lost ----

void StrayClose(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  close(fd);
}

TEST_F(OwnLocksTest, AStrayCloseShowsAsNotVerified) {
  Make("delete");
  Db db(path_);
  db.Exec("begin immediate");
  EXPECT_EQ(Locks(), Lines{"shim database RESERVED 1"});
  StrayClose(path_);
  EXPECT_EQ(Locks(), Lines{"shim database RESERVED 0"});
  EXPECT_NE(db.Value("pragma lockscope_locks").find("LOST"), std::string::npos);
}

TEST_F(OwnLocksTest, AStrayCloseOfTheWalIndexToo) {
  Make("wal");
  Db db(path_);
  db.Exec("begin immediate");
  EXPECT_EQ(Locks(), (Lines{"shim database SHARED 1", "shim wal-open SHARED 1",
                            "shim wal-read-0 SHARED 1", "shim wal-write EXCLUSIVE 1"}));
  StrayClose(path_ + "-shm");
  EXPECT_EQ(Locks(), (Lines{"shim database SHARED 1", "shim wal-open SHARED 0",
                            "shim wal-read-0 SHARED 0", "shim wal-write EXCLUSIVE 0"}));
  StrayClose(path_);
  EXPECT_EQ(Locks("verified"), (Lines{"0", "0", "0", "0"}));
}

TEST_F(OwnLocksTest, LocksTakenAfterwardsAreVerifiedAgain) {
  Make("delete");
  Db db(path_);
  db.Exec("begin immediate");
  StrayClose(path_);
  db.Exec("rollback; begin immediate");
  EXPECT_EQ(Locks(), Lines{"shim database RESERVED 1"});
}

// ---- looking ----

TEST_F(OwnLocksTest, LookingLeavesEveryLockAndFileAsItWas) {
  Make("wal");
  Db shim(path_);
  Db plain(path_, "unix");
  Actor other;
  other.Open("c", path_);
  shim.Exec("begin immediate; insert into t values (2)");
  plain.Exec("begin; select * from t");
  other.Exec("c", "begin; select * from t");
  const auto locks = ReadLocksOf(path_);
  const auto shm_locks = ReadLocksOf(path_ + "-shm");
  const auto wal_bytes = FileSize(path_ + "-wal");
  ASSERT_FALSE(shm_locks.empty());
  for (int i = 0; i < 5; ++i) LookAtEverything();
  EXPECT_EQ(ReadLocksOf(path_), locks);
  EXPECT_EQ(ReadLocksOf(path_ + "-shm"), shm_locks);
  EXPECT_EQ(FileSize(path_ + "-wal"), wal_bytes);
  shim.Exec("commit");
}

TEST_F(OwnLocksTest, AHotJournalIsStillHotAfterLooking) {
  CreateDatabase(path_, {.journal_mode = "delete"});
  LeaveHotJournal(path_);
  const auto bytes = FileSize(path_ + "-journal");
  LookAtEverything();
  EXPECT_EQ(FileSize(path_ + "-journal"), bytes);
  EXPECT_EQ(ReadLocksOf(path_), Lines{});
  EXPECT_EQ(IntegrityCheck(path_), "ok");
  EXPECT_EQ(FileSize(path_ + "-journal"), -1);
}

TEST_F(OwnLocksTest, ADatabaseLockedExclusivelyCanBeLookedAt) {
  Make("delete");
  Actor holder;
  Db attached(path_);
  holder.Open("c", path_);
  holder.Exec("c", "begin exclusive");
  const std::string row =
      "kernel " + std::to_string(holder.pid()) + " database EXCLUSIVE 1073741824 1073742335";
  EXPECT_EQ(look_.Value("select source, pid, resource, mode, first_byte, last_byte from "
                        "lockscope_locks(" +
                        Quote(path_) + ")"),
            row);
  // SQLite loads the schema before a SELECT with a FROM; a path from elsewhere needs none.
  EXPECT_EQ(attached.Try("select * from lockscope_locks").code, SQLITE_BUSY);
  EXPECT_NE(look_.Value("select lockscope_json('locks', " + Quote(path_) + ")").find("EXCLUSIVE"),
            std::string::npos);
  // Nor does one of this connection, but that SQLite of late loads the schema before any SELECT.
  EXPECT_EQ(attached.Try("select lockscope_json('locks', 'main')").code,
            attached.Try("select 1").code);
  EXPECT_NE(attached.Value("pragma lockscope_locks").find("EXCLUSIVE"), std::string::npos);
}

}  // namespace
}  // namespace lockscope::testing
