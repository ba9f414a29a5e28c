// What happened, read back:
//   stories  of a commit in each journal mode, of a rollback, a checkpoint, a recovery: every call,
//            in order
//   events   times, numbers, what the ring has lost
//   stats    acquired = released + held; for the life of the process

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "core/session.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

class EventsTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode + "; create table t(x)");
  }
  // Runs `sql` on `db`, which knows the schema; what it asked of the VFS, call by call.
  Lines StoryOf(Db& db, const std::string& sql) {
    db.Exec("select * from t");
    const std::string from = "from lockscope_events(" + Quote(path_) + ") where connection = " +
                             db.Value("select max(connection) from lockscope_connections");
    const std::string before = look_.Value("select max(seq) " + from);
    db.Exec(sql);
    return look_.Lines("select operation, resource, from_mode, to_mode, result " + from +
                       " and seq > " + before + " order by seq");
  }
  std::string Events() const { return "lockscope_events(" + Quote(path_) + ")"; }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

// ---- stories ----

TEST_F(EventsTest, ACommitInRollbackMode) {
  Make("delete");
  Db db(path_);
  EXPECT_EQ(StoryOf(db, "insert into t values (1)"),
            (Lines{"lock database NONE SHARED SQLITE_OK", "lock database SHARED RESERVED SQLITE_OK",
                   "lock database RESERVED EXCLUSIVE SQLITE_OK",
                   "unlock database EXCLUSIVE SHARED SQLITE_OK",
                   "unlock database SHARED NONE SQLITE_OK"}));
}

TEST_F(EventsTest, ARollbackInRollbackModeNeverGetsToExclusive) {
  Make("delete");
  Db db(path_);
  EXPECT_EQ(StoryOf(db, "begin immediate; insert into t values (1); rollback"),
            (Lines{"lock database NONE SHARED SQLITE_OK", "lock database SHARED RESERVED SQLITE_OK",
                   "unlock database RESERVED SHARED SQLITE_OK",
                   "unlock database SHARED NONE SQLITE_OK"}));
}

TEST_F(EventsTest, WithAnOldJournalSqliteAsksWhetherItsOwnerLives) {
  Make("persist");
  Db db(path_);
  db.Exec("pragma journal_mode=persist; insert into t values (1)");
  const Lines story = StoryOf(db, "select * from t");
  EXPECT_EQ(story, (Lines{"lock database NONE SHARED SQLITE_OK",
                          "check-reserved database SHARED NONE SQLITE_OK",
                          "unlock database SHARED NONE SQLITE_OK"}));
}

TEST_F(EventsTest, ACommitInWalMode) {
  Make("wal");
  Db db(path_);
  db.Exec("insert into t values (0)");  // the WAL has frames: the reader has a slot of its own
  EXPECT_EQ(StoryOf(db, "begin; select * from t; insert into t values (1); commit"),
            (Lines{"shm-lock wal-read-1 NONE SHARED SQLITE_OK",
                   "shm-lock wal-write NONE EXCLUSIVE SQLITE_OK",
                   "shm-unlock wal-write EXCLUSIVE NONE SQLITE_OK",
                   "shm-unlock wal-read-1 SHARED NONE SQLITE_OK"}));
}

TEST_F(EventsTest, ReadersOfACheckpointedWalShareSlotZero) {
  Make("wal");
  Db db(path_);
  db.Exec("insert into t values (1); pragma wal_checkpoint");
  EXPECT_EQ(StoryOf(db, "select * from t"), (Lines{"shm-lock wal-read-0 NONE SHARED SQLITE_OK",
                                                   "shm-unlock wal-read-0 SHARED NONE SQLITE_OK"}));
}

TEST_F(EventsTest, AFirstWriterAfterACheckpointStartsTheWalOver) {
  Make("wal");
  Db db(path_);
  db.Exec("insert into t values (1); pragma wal_checkpoint");
  const Lines story = StoryOf(db, "insert into t values (2)");
  const std::string all = "wal-read-1,wal-read-2,wal-read-3,wal-read-4";
  ASSERT_GE(story.size(), 6U);
  EXPECT_EQ(story[0], "shm-lock wal-read-0 NONE SHARED SQLITE_OK");
  EXPECT_EQ(story[1], "shm-lock wal-write NONE EXCLUSIVE SQLITE_OK");
  EXPECT_EQ(story[2], "shm-lock " + all + " NONE EXCLUSIVE SQLITE_OK");
  EXPECT_EQ(story[3], "shm-unlock " + all + " EXCLUSIVE NONE SQLITE_OK");
  EXPECT_EQ(story[4], "shm-unlock wal-read-0 SHARED NONE SQLITE_OK");
  EXPECT_EQ(story.back(), "shm-unlock wal-read-1 SHARED NONE SQLITE_OK");
}

TEST_F(EventsTest, ACheckpoint) {
  Make("wal");
  Db db(path_);
  db.Exec("insert into t values (1)");
  const Lines story = StoryOf(db, "pragma wal_checkpoint");
  ASSERT_GE(story.size(), 4U);
  EXPECT_EQ(story.front(), "shm-lock wal-checkpoint NONE EXCLUSIVE SQLITE_OK");
  EXPECT_EQ(story.back(), "shm-unlock wal-checkpoint EXCLUSIVE NONE SQLITE_OK");
  EXPECT_EQ(std::count(story.begin(), story.end(), "shm-lock wal-read-0 NONE EXCLUSIVE SQLITE_OK"),
            1);
  EXPECT_EQ(
      std::count(story.begin(), story.end(), "shm-unlock wal-read-0 EXCLUSIVE NONE SQLITE_OK"), 1);
}

TEST_F(EventsTest, ARecovery) {
  CreateDatabase(path_);
  LeaveWalToRecover(path_);
  Db db(path_);
  EXPECT_EQ(db.Value("select count(*) from t"), "200");
  const Lines story = look_.Lines("select operation, resource, from_mode, to_mode, result from " +
                                  Events() + " order by seq");
  ASSERT_GE(story.size(), 3U);
  EXPECT_EQ(story[0], "lock database NONE SHARED SQLITE_OK");
  EXPECT_EQ(story[1], "shm-map wal-open NONE SHARED SQLITE_OK");
  EXPECT_NE(std::find(story.begin(), story.end(),
                      "shm-lock wal-checkpoint,wal-recover NONE EXCLUSIVE SQLITE_OK"),
            story.end())
      << ::testing::PrintToString(story);
}

TEST_F(EventsTest, ARefusalIsToldByItsCode) {
  Make("wal");
  Db holder(path_);
  holder.Exec("begin immediate");
  Db db(path_);
  db.Exec("select * from t");
  EXPECT_EQ(db.Try("begin immediate").code, SQLITE_BUSY);
  EXPECT_EQ(look_.Value("select operation, resource, from_mode, to_mode from " + Events() +
                        " where result = 'SQLITE_BUSY'"),
            "shm-lock wal-write NONE EXCLUSIVE");
}

TEST_F(EventsTest, OpeningAndClosing) {
  Make("wal");
  const Lines story = look_.Lines("select operation, resource, to_mode from " + Events() +
                                  " order by monotonic_ns, seq");
  EXPECT_EQ(story.front(), "lock database SHARED");
  EXPECT_EQ(story.back(), "unlock database NONE");
  EXPECT_EQ(std::count(story.begin(), story.end(), "shm-map wal-open SHARED"), 1);
  EXPECT_EQ(std::count(story.begin(), story.end(), "shm-unmap wal-open NONE"), 1);
}

// ---- events ----

TEST_F(EventsTest, AreMergedByTimeAndNumberedByConnection) {
  Make("wal");
  Db one(path_);
  Db two(path_);
  for (int i = 0; i < 5; ++i) {
    one.Exec("insert into t values (1)");
    two.Exec("insert into t values (2)");
  }
  EXPECT_EQ(look_.Value("select count(distinct connection) from " + Events()), "3");
  const Lines by_time = look_.Lines("select monotonic_ns from " + Events());
  EXPECT_TRUE(std::is_sorted(by_time.begin(), by_time.end(), [](const auto& a, const auto& b) {
    return std::stoull(a) < std::stoull(b);
  }));
  // Of one connection: no gap, and time never goes back.
  EXPECT_EQ(look_.Value("select count(*) from (select seq - lag(seq) over w as step, "
                        "monotonic_ns - lag(monotonic_ns) over w as passed from " +
                        Events() +
                        " window w as (partition by connection order by seq)) "
                        "where step <> 1 or passed < 0"),
            "0");
  EXPECT_EQ(look_.Value("select min(seq), min(lost), max(lost), max(source) from " + Events()),
            "1 0 0 shim");
  EXPECT_EQ(look_.Value("select count(*) from " + Events() +
                        " where abs(julianday('now') - julianday(at)) > 1"),
            "0");
}

TEST_F(EventsTest, WhatTheRingHasLostIsCounted) {
  Make("wal");
  Db db(path_);
  for (int i = 0; i < 600; ++i) db.Exec("select count(*) from t");
  const std::string number = db.Value("select connection from lockscope_connections");
  const std::string of_it = " from " + Events() + " where connection = " + number;
  const std::string kept = look_.Value("select count(*)" + of_it);
  const std::string lost = look_.Value("select distinct lost" + of_it);
  EXPECT_GT(std::stol(lost), 600);
  EXPECT_EQ(look_.Value("select min(seq)" + of_it), std::to_string(std::stol(lost) + 1));
  EXPECT_EQ(look_.Value("select max(seq)" + of_it),
            std::to_string(std::stol(lost) + std::stol(kept)));
  EXPECT_EQ(kept, "511");
}

TEST_F(EventsTest, ADeletedDatabasesPastIsNotItsSuccessors) {
  Make("delete");
  {
    Db db(path_);
    db.Exec("insert into t values (1)");
  }
  std::filesystem::remove(path_);
  // Whether the file system gives the new file the old one's inode is its own affair.
  const std::string successor = dir_ / "b.db";
  Db db(successor);
  db.Exec("create table t(x)");
  EXPECT_EQ(db.Value("select count(distinct connection) from lockscope_events"), "1");
  EXPECT_EQ(db.Value("select acquired from lockscope_stats where mode = 'EXCLUSIVE'"), "1");
}

// ---- stats ----

class StatsTest : public EventsTest {
 protected:
  std::string Of(const std::string& resource, const std::string& mode,
                 const std::string& columns = "acquired, released, refused") {
    return look_.Value("select " + columns + " from lockscope_stats(" + Quote(path_) +
                       ") where resource = " + Quote(resource) + " and mode = " + Quote(mode));
  }
};

TEST_F(StatsTest, WhatWasAcquiredIsReleasedOrHeld) {
  Make("wal");
  Db one(path_);
  Db two(path_);
  for (int i = 0; i < 20; ++i) {
    one.Exec("insert into t values (1)");
    two.Exec("select * from t");
  }
  one.Exec("begin immediate");
  two.Exec("begin; select * from t");
  EXPECT_EQ(look_.Lines("select s.resource, s.mode from lockscope_stats(" + Quote(path_) +
                        ") s where s.acquired - s.released <> (select count(*) from "
                        "lockscope_locks(" +
                        Quote(path_) + ") l where l.resource = s.resource and l.mode = s.mode)"),
            Lines{});
  one.Close();
  two.Close();
  EXPECT_EQ(look_.Value("select sum(acquired) > 40, sum(acquired) - sum(released) from "
                        "lockscope_stats(" +
                        Quote(path_) + ")"),
            "1 0");
}

TEST_F(StatsTest, CountToTheCall) {
  Make("delete");
  Db db(path_);
  db.Exec("select * from t");
  const std::string shared = Of("database", "SHARED", "acquired");
  const std::string exclusive = Of("database", "EXCLUSIVE", "acquired");
  for (int i = 0; i < 7; ++i) db.Exec("insert into t values (1)");
  for (int i = 0; i < 3; ++i) db.Exec("select * from t");
  EXPECT_EQ(Of("database", "SHARED", "acquired"), std::to_string(std::stol(shared) + 10));
  EXPECT_EQ(Of("database", "EXCLUSIVE", "acquired"), std::to_string(std::stol(exclusive) + 7));
}

TEST_F(StatsTest, HoldTimesAreOrdered) {
  Make("delete");
  Db db(path_);
  for (int i = 0; i < 50; ++i) db.Exec("insert into t values (1)");
  EXPECT_EQ(Of("database", "EXCLUSIVE",
               "hold_us_p50 > 0, hold_us_p50 <= hold_us_p99, hold_us_p99 <= hold_us_max, "
               "wait_us_p50, wait_us_p99, wait_us_max"),
            "1 1 1 NULL NULL NULL");
}

TEST_F(StatsTest, SurviveTheirConnections) {
  Make("delete");
  for (int i = 0; i < 50; ++i) {
    Db db(path_);
    db.Exec("insert into t values (1)");
  }
  EXPECT_EQ(Of("database", "EXCLUSIVE"), "51 51 0");
}

}  // namespace
}  // namespace lockscope::testing
