// Every hazard, made real, and its healthy neighbour, which is none:
//   connections   lost-lock, wal-reset-bug, immutable-open
//   pins          starved-checkpoint, long-snapshot
//   journals      hot-journal, stale-journal
//   wal-index     torn-wal-index
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "hazards_fixture.h"
#include "model/wal_reset_bug.h"

namespace lockscope::testing {
namespace {

TEST_F(HazardsTest, OrdinaryUseIsNone) {
  for (const std::string mode : {"wal", "delete"}) {
    path_ = dir_ / mode;
    Make(mode);
    EXPECT_EQ(All(), Lines{}) << mode;
    Db own(path_);
    own.Exec("begin; select * from t limit 1");
    Actor other;
    other.Open("c", path_);
    other.Exec("c", "begin immediate; update t set v = v + 1 where id = 1");
    EXPECT_EQ(All(), Lines{}) << mode;
  }
}

// Looking takes no lock and drops none, also where it looks twice and through all processes.
TEST_F(HazardsTest, LookingLeavesAllLocksAsTheyWere) {
  for (const std::string mode : {"wal", "delete"}) {
    path_ = dir_ / mode;
    Make(mode);
    Db own(path_);
    own.Exec("begin; select * from t limit 1");
    Actor other;
    other.Open("c", path_);
    other.Exec("c", "pragma wal_autocheckpoint = 0");
    if (mode == "wal") other.Exec("c", "update t set v = v + 1 where id = 1");
    other.Exec("c", "begin immediate");
    const auto database = ReadLocksOf(path_);
    const auto shm = ReadLocksOf(path_ + "-shm");
    const Lines hazards = Hazards("hazard");
    EXPECT_EQ(hazards, mode == "wal" ? Lines{"starved-checkpoint"} : Lines{});
    EXPECT_TRUE(Eventually([&] { return ReadLocksOf(path_) == database; }));
    EXPECT_TRUE(Eventually([&] { return ReadLocksOf(path_ + "-shm") == shm; }));
    EXPECT_EQ(Hazards("1", "hazard = 'lost-lock'"), Lines{});
  }
}

// ---- connections ----

TEST_F(HazardsTest, ALockThatThisProcessLost) {
  for (const std::string mode : {"wal", "delete"}) {
    path_ = dir_ / mode;
    Make(mode);
    Db db(path_);
    db.Exec("begin immediate");
    EXPECT_EQ(All(), Lines{}) << mode;
    close(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(All(), Lines{Row("lost-lock danger", Here(), Newest())}) << mode;
    EXPECT_EQ(Hazards("sql, source, since is not null"), Lines{"begin immediate shim 1"});
    ExpectText("believes it holds database");
  }
}

TEST_F(HazardsTest, ALockThatAnotherProcessLost) {
  Make("delete");
  Actor other;
  other.Load("m", LOCKSCOPE_LOADABLE_FILE);
  other.Open("c", path_);
  other.Exec("c", "begin immediate");
  EXPECT_EQ(All(), Lines{});
  other.StrayClose(path_);
  EXPECT_EQ(All(), Lines{Row("lost-lock danger", Pid(other), "1")});
}

TEST_F(HazardsTest, CheckpointsWithoutTheGuard) {
  if (!HasWalResetBug(sqlite3_libversion_number())) GTEST_SKIP() << "this SQLite is mended";
  Make("wal");
  Db guarded(path_);
  guarded.Exec("select * from t");
  EXPECT_EQ(All(), Lines{});
  Db unguarded(Uri("lockscope_wal_reset_guard=off"));
  unguarded.Exec("select * from t");
  const std::string row = Row("wal-reset-bug warning", Here(), Newest());
  EXPECT_EQ(All(), Lines{row});
  // The word of the process counts more, both ways.
  look_.Exec("select lockscope_set('wal_reset_guard', 'on')");
  EXPECT_EQ(All(), Lines{});
  look_.Exec("select lockscope_set('wal_reset_guard', 'off')");
  EXPECT_EQ(Hazards("hazard, pid"), Lines{"wal-reset-bug " + Here()});
  look_.Exec("select lockscope_set('wal_reset_guard', 'default')");
  EXPECT_EQ(All(), Lines{row});
}

TEST_F(HazardsTest, AnotherProcessThatCheckpointsWithoutTheGuard) {
  if (!HasWalResetBug(sqlite3_libversion_number())) GTEST_SKIP() << "this SQLite is mended";
  Make("wal");
  Actor plain;  // without lockscope: what its SQLite is, nothing tells
  plain.Open("c", path_);
  plain.Exec("c", "select * from t");
  Actor other;
  other.Load("m", LOCKSCOPE_LOADABLE_FILE);
  other.Open("c", path_);
  other.Exec("c", "select * from t");
  EXPECT_EQ(All(), Lines{});
  other.Exec("m", "select lockscope_set('wal_reset_guard', 'off')");
  EXPECT_EQ(All(), Lines{Row("wal-reset-bug warning", Pid(other), "1")});
  other.Exec("m", "select lockscope_set('wal_reset_guard', 'default')");
  EXPECT_EQ(All(), Lines{});
  other.Open("d", Uri("lockscope_wal_reset_guard=off"));
  EXPECT_EQ(All(), Lines{Row("wal-reset-bug warning", Pid(other), "2")});
}

TEST_F(HazardsTest, WithoutAWalThereIsNoResetOfIt) {
  Make("delete");
  Db unguarded(Uri("lockscope_wal_reset_guard=off"));
  unguarded.Exec("select * from t");
  EXPECT_EQ(All(), Lines{});
}

TEST_F(HazardsTest, AnImmutableDatabaseThatChanges) {
  for (const std::string mode : {"wal", "delete"}) {
    path_ = dir_ / mode;
    Make(mode);
    Db db(Uri("immutable=1"), nullptr, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
    db.Exec("select * from t");
    EXPECT_EQ(All(), Lines{}) << mode;  // nobody changes it
    const std::string row = Row("immutable-open danger", Here(), Newest());
    Actor writer;
    writer.Open("c", path_);
    writer.Exec("c", "begin immediate");
    EXPECT_EQ(All(), Lines{row}) << mode;
    ExpectText("pid " + Pid(writer) + " (");
    writer.Exec("c", "rollback");
    EXPECT_EQ(Hazards("1", "explanation like '%about to write%'"), Lines{}) << mode;
    writer.Exec("c", "update t set v = v + 1");
    EXPECT_EQ(All(), Lines{row}) << mode;
    ExpectText("it has been written since");

    Db later(Uri("mode=ro"), nullptr, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
    later.Exec("select * from t");
    db.Close();
    EXPECT_EQ(All(), Lines{}) << mode;
  }
}

TEST_F(HazardsTest, AnImmutableDatabaseOfAnotherProcess) {
  Make("wal");
  Actor reader;
  reader.Load("m", LOCKSCOPE_LOADABLE_FILE);
  reader.OpenReadOnly("c", Uri("immutable=1"));
  reader.Exec("c", "select * from t");
  EXPECT_EQ(All(), Lines{});
  Db writer(path_);
  writer.Exec("update t set v = v + 1");
  EXPECT_EQ(All(), Lines{Row("immutable-open danger", Pid(reader), "1")});
}

// ---- pins ----

TEST_F(HazardsTest, AReaderThatStarvesCheckpoints) {
  Make("wal", 4000);
  Db writer(path_);
  writer.Exec("pragma wal_autocheckpoint = 0; update t set v = v + 1 where id = 1");
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  EXPECT_EQ(All(), Lines{});  // at the end of the WAL it is in nobody's way
  writer.Exec("update t set v = v + 1 where id = 2");
  EXPECT_EQ(All(), Lines{Row("starved-checkpoint warning", Pid(reader))});
  for (int i = 0; i < 4; ++i) writer.Exec("update t set pad = randomblob(300)");
  EXPECT_EQ(All(), Lines{Row("starved-checkpoint danger", Pid(reader))});
  ExpectText("end that transaction");
  reader.Exec("c", "commit");
  EXPECT_EQ(All(), Lines{});
}

TEST_F(HazardsTest, ReadersThatComeAndGoStarveNothing) {
  Make("wal");
  Db writer(path_);
  writer.Exec("pragma wal_autocheckpoint = 0; update t set v = v + 1 where id = 1");
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  writer.Exec("update t set v = v + 1 where id = 2");
  std::thread ends([&reader] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    reader.Exec("c", "commit");
  });
  EXPECT_EQ(All(), Lines{});
  ends.join();
}

TEST_F(HazardsTest, ASnapshotOlderThanTheSettingAllows) {
  for (const std::string mode : {"wal", "delete"}) {
    path_ = dir_ / mode;
    Make(mode);
    Db reader(path_);
    reader.Exec("begin; select * from t limit 1");
    EXPECT_EQ(All(), Lines{}) << mode;
    look_.Exec("select lockscope_set('snapshot_warn_ms', '20')");
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    EXPECT_EQ(All(), Lines{Row("long-snapshot warning", Here(), Newest())}) << mode;
    EXPECT_EQ(Hazards("age_ms >= 20, sql"), Lines{"1 select * from t limit 1"}) << mode;
    reader.Exec("commit");
    EXPECT_EQ(All(), Lines{}) << mode;
    look_.Exec("select lockscope_set('snapshot_warn_ms', 'default')");
  }
}

TEST_F(HazardsTest, ASnapshotThatKeepsALongWalFromStartingOver) {
  Make("wal", 4000);
  Db writer(path_);
  writer.Exec("pragma wal_autocheckpoint = 0");
  for (int i = 0; i < 4; ++i) writer.Exec("update t set pad = randomblob(300)");
  EXPECT_EQ(All(), Lines{});  // nobody reads
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  EXPECT_EQ(All(), Lines{Row("long-snapshot warning", Pid(reader))});
  ExpectText("long WAL");
}

// ---- journals ----

TEST_F(HazardsTest, AHotJournal) {
  Make("delete");
  LeaveHotJournal(path_);
  EXPECT_EQ(All(), Lines{Row("hot-journal danger", "NULL")});
  EXPECT_EQ(Hazards("process, since, age_ms, sql, source"), Lines{"NULL NULL NULL NULL kernel"});
  Actor recovering;
  recovering.PauseAt("after lock exclusive");
  recovering.Open("c", path_);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();
  EXPECT_EQ(All(), Lines{Row("hot-journal warning", Pid(recovering))});
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
  EXPECT_EQ(All(), Lines{});
}

TEST_F(HazardsTest, AJournalOfALiveOrFinishedTransactionIsNone) {
  Make("persist");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c",
              "pragma journal_mode = persist; pragma cache_size = 1; begin immediate;"
              "update t set pad = randomblob(300)");
  ASSERT_NE(ReadBytes(path_ + "-journal", 0, 1), std::string(1, '\0'));
  EXPECT_EQ(All(), Lines{});
  writer.Exec("c", "commit");
  ASSERT_GT(FileSize(path_ + "-journal"), 0);
  EXPECT_EQ(All(), Lines{});
}

TEST_F(HazardsTest, AJournalOfAnotherDatabaseBesideAWalInUse) {
  const std::string crashed = dir_ / "crashed.db";
  CreateDatabase(crashed, {.journal_mode = "delete"});
  LeaveHotJournal(crashed);
  Make("wal");
  Db user(path_);
  user.Exec("select * from t");
  CopyFile(crashed + "-journal", path_ + "-journal");
  EXPECT_EQ(All(), Lines{Row("stale-journal danger", "NULL")});
  // A busy database is told the same.
  Actor writer;
  EXPECT_EQ(Db(path_).Try("select * from t").code, SQLITE_BUSY);  // what the explanation says
  std::thread commits([&user] {
    for (int i = 0; i < 20; ++i) {
      user.Exec("update t set v = v + 1 where id = 1");
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
    }
  });
  EXPECT_EQ(Hazards("hazard", "hazard = 'stale-journal'"), Lines{"stale-journal"});
  commits.join();
  ASSERT_EQ(unlink((path_ + "-journal").c_str()), 0);
  EXPECT_EQ(All(), Lines{});
}

TEST_F(HazardsTest, AJournalBesideAnEmptyFile) {
  Make("delete");
  LeaveHotJournal(path_);
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);
  EXPECT_EQ(All(), Lines{Row("stale-journal warning", "NULL")});
  EXPECT_EQ(Db(path_).Value("select count(*) from sqlite_schema"), "0");
  EXPECT_LE(FileSize(path_ + "-journal"), 0);
  EXPECT_EQ(All(), Lines{});
}

// Its header says that the database had no page before.
TEST_F(HazardsTest, AJournalOfTheTransactionThatWouldHaveMadeTheDatabaseIsNone) {
  Actor creator;
  creator.Open("c", path_);
  creator.Exec("c", "pragma cache_size = 1; begin; create table t(x)");
  creator.Exec("c",
               "with recursive n(i) as (select 1 union all select i + 1 from n limit 500)"
               "insert into t select randomblob(900) from n");
  creator.Kill();
  ASSERT_GT(FileSize(path_ + "-journal"), 0);
  ASSERT_NE(ReadBytes(path_ + "-journal", 0, 1), std::string(1, '\0'));
  ASSERT_EQ(truncate(path_.c_str(), 0), 0);  // as it would be had the pages not reached the disk
  EXPECT_EQ(All(), Lines{});
}

// A transaction over two databases: the super-journal's deletion is its commit.
TEST_F(HazardsTest, AJournalWhoseSuperJournalIsGone) {
  Make("delete");
  const std::string second = dir_ / "b.db";
  CreateDatabase(second, {.journal_mode = "delete"});
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "attach " + Quote(second) +
                       " as b; begin immediate; update main.t set v = v + 1;"
                       "update b.t set v = v - 1");
  writer.PauseAt("after sync main nth=2");
  Answer commit = writer.Start("c", "commit");
  writer.AwaitPoint();
  writer.Kill();
  EXPECT_EQ(All(), Lines{Row("hot-journal danger", "NULL")});
  int gone = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(dir_ / ""))) {
    if (entry.path().filename().string().find("-mj") == std::string::npos) continue;
    std::filesystem::remove(entry.path());
    ++gone;
  }
  ASSERT_EQ(gone, 1);
  EXPECT_EQ(All(), Lines{Row("stale-journal warning", "NULL")});
  EXPECT_EQ(Db(path_).Value("select sum(v) from t"), "200");  // as committed
  EXPECT_EQ(All(), Lines{});
}

// ---- the wal-index ----

TEST_F(HazardsTest, AWalIndexWhoseWriterDied) {
  Make("wal");
  Actor idle;
  idle.Open("c", path_);
  idle.Exec("c", "select * from t");
  Actor writer;
  writer.Open("c", path_);
  // With frames in the WAL: the first writer of an empty one passes other barriers before.
  writer.Exec("c", "update t set v = v + 1 where id = 1");
  writer.Exec("c", "begin immediate; update t set v = v + 1 where id = 1");
  writer.PauseAt("before shm-barrier");  // between the two copies of the header
  Answer commit = writer.Start("c", "commit");
  writer.AwaitPoint();
  EXPECT_EQ(All(), Lines{});  // it is at work
  writer.Kill();
  EXPECT_EQ(All(), Lines{Row("torn-wal-index warning", "NULL")});
  idle.Exec("c", "select * from t");  // recovers it
  EXPECT_EQ(All(), Lines{});
}

TEST_F(HazardsTest, AWalIndexThatNobodyCanRecover) {
  Make("wal");
  Actor checkpointer;
  checkpointer.Open("c", path_);
  checkpointer.Exec("c", "update t set v = v + 1");
  checkpointer.PauseAt("after shm-lock ckpt exclusive");
  Answer checkpoint = checkpointer.Start("c", "pragma wal_checkpoint");
  checkpointer.AwaitPoint();
  EXPECT_EQ(All(), Lines{});
  WriteNoise(path_ + "-shm", 60, 8, 1);  // in the second copy
  EXPECT_EQ(All(), Lines{Row("torn-wal-index danger", Pid(checkpointer))});
  ExpectText("holds wal-checkpoint EXCLUSIVE");
  checkpointer.Continue();
  checkpoint.Wait();
}

}  // namespace
}  // namespace lockscope::testing
