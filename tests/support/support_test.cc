// The support library, proved on plain SQLite. Groups:
//   SubprocessTest, TempDirTest   programs run to their end; folders that go away
//   ActorTest                     the commands, their answers, life and death
//   PointTest                     stopping at a chosen call
//   RollbackLocksTest             every lock state of the rollback modes, as /proc/locks shows it
//   WalLocksTest                  every lock state of WAL mode
//   DatabaseTest                  what the helpers leave behind
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "actor.h"
#include "database.h"
#include "subprocess.h"
#include "temp_dir.h"

namespace lockscope::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using Lines = std::vector<std::string>;

// A zombie counts as gone.
bool ProcessIsGone(pid_t pid) {
  const ProgramResult state =
      RunProgram({.argv = {"ps", "-o", "stat=", "-p", std::to_string(pid)}});
  return state.out.empty() || state.out.starts_with('Z');
}

// ---- Subprocess --------------------------------------------------------------------------------

TEST(SubprocessTest, CapturesOutputAndExitCode) {
  const ProgramResult r =
      RunProgram({.argv = {"sh", "-c", "cat; echo oops >&2; exit 3"}, .input = "in"});
  EXPECT_EQ(r.out, "in");
  EXPECT_EQ(r.err, "oops\n");
  EXPECT_EQ(r.exit_code, 3) << r;
}

TEST(SubprocessTest, PassesEnvironmentAndDirectory) {
  const ProgramResult r = RunProgram({.argv = {"sh", "-c", "echo $LOCKSCOPE_X $PWD"},
                                      .env = {{"LOCKSCOPE_X", "yes"}},
                                      .directory = "/proc"});
  EXPECT_EQ(r.out, "yes /proc\n");
}

TEST(SubprocessTest, ReadsMoreThanAPipeHolds) {
  const std::string input(1 << 20, 'x');
  EXPECT_EQ(RunProgram({.argv = {"cat"}, .input = input}).out, input);
}

TEST(SubprocessTest, KillsTheGroupAtItsDeadline) {
  const ProgramResult r =
      RunProgram({.argv = {"sh", "-c", "sleep 60 & echo $!; wait"}, .deadline = milliseconds(200)});
  EXPECT_TRUE(r.timed_out);
  EXPECT_EQ(r.exit_code, -1);
  EXPECT_EQ(r.signal, SIGKILL);
  const pid_t child = static_cast<pid_t>(std::stol(r.out));
  EXPECT_TRUE(Eventually([&] { return ProcessIsGone(child); }));
}

TEST(SubprocessTest, DoesNotWaitForWhoKeepsStdoutOpen) {
  const ProgramResult r = RunProgram({.argv = {"sh", "-c", "sleep 60 & echo $!"}});
  EXPECT_TRUE(r.ok()) << r;
  kill(static_cast<pid_t>(std::stol(r.out)), SIGKILL);
}

TEST(SubprocessTest, ThrowsWhereThereIsNoProgram) {
  EXPECT_THROW(RunProgram({.argv = {"/nonexistent"}}), std::runtime_error);
}

TEST(TempDirTest, GoesAwayWithReadOnlyFoldersInIt) {
  std::string path;
  {
    TempDir dir;
    path = dir.path();
    std::filesystem::create_directories(dir / "a/b");
    std::filesystem::permissions(dir / "a", std::filesystem::perms::owner_read);
  }
  EXPECT_EQ(FileSize(path), -1);
}

// ---- Actor -------------------------------------------------------------------------------------

TEST(ActorTest, AnswersColumnsAsTheyAre) {
  Actor actor;
  actor.Open("c", ":memory:");
  EXPECT_EQ(actor.Exec("c", "select 1, null, 'a\tb\\\nc' || char(30), x'00ff', ''"),
            (Row{"1", "NULL", "a\tb\\\nc\x1E", "00FF", ""}));
  EXPECT_EQ(actor.Exec("c", "select 1 where 0"), Row());
  EXPECT_EQ(actor.Exec("c", "select ''"), Row{""});
  EXPECT_EQ(actor.Exec("c", "select 1; -- a comment\n select 2;\n"), Row{"2"});
  EXPECT_EQ(actor.Query("c", "values(1, 2), (3, 4)"), (std::vector<Row>{{"1", "2"}, {"3", "4"}}));
  EXPECT_EQ(actor.Try("c", "values(1, 2), (3, 4)").text(), "3\t4");
}

TEST(ActorTest, TellsExtendedResultCodes) {
  Actor actor;
  actor.Open("c", ":memory:");
  actor.Exec("c", "create table t(a unique); insert into t values(1)");
  const Reply reply = actor.Try("c", "insert into t values(1)");
  EXPECT_EQ(reply.code, SQLITE_CONSTRAINT_UNIQUE);
  EXPECT_EQ(reply.message, "UNIQUE constraint failed: t.a");
  EXPECT_THROW(actor.Exec("c", "nonsense"), ActorError);
  EXPECT_THROW(actor.Exec("other", "select 1"), ActorError);
  EXPECT_EQ(actor.Call("dance").code, SQLITE_MISUSE);
  EXPECT_THROW(actor.OpenReadOnly("ro", "/nonexistent/x.db"), ActorError);
  EXPECT_THROW(actor.Load("m", "/nonexistent.so"), ActorError);
}

TEST(ActorTest, ConnectionsDoNotWaitForEachOther) {
  TempDir dir;
  CreateDatabase(dir / "a.db");
  Actor actor;
  actor.Open("a", dir / "a.db");
  actor.Open("b", dir / "a.db");
  actor.BusyTimeout("b", 20000);
  actor.Exec("a", "begin immediate");
  actor.TellAt("before sleep by=b");
  Answer waiting = actor.Start("b", "begin immediate");
  EXPECT_EQ(actor.AwaitPoint(), "before sleep by=b");
  EXPECT_FALSE(waiting.Ready());
  actor.Exec("a", "rollback");
  EXPECT_TRUE(waiting.Wait().ok());
}

TEST(ActorTest, InterruptReachesABusyConnection) {
  Actor actor;
  actor.Open("c", ":memory:");
  Answer endless = actor.Start("c",
                               "with recursive c(x) as (select 1 union all select 1 from c) "
                               "select count(*) from c");
  EXPECT_TRUE(Eventually([&] {
    actor.Interrupt("c");
    return endless.Ready();
  }));
  EXPECT_EQ(endless.Wait().code, SQLITE_INTERRUPT);
}

TEST(ActorTest, IsKilledAtItsDeadline) {
  Actor actor({.deadline = milliseconds(200)});
  actor.Open("c", ":memory:");
  const auto start = steady_clock::now();
  const Reply reply = actor.Try("c",
                                "with recursive c(x) as (select 1 union all select 1 from c) "
                                "select count(*) from c");
  EXPECT_EQ(reply.code, Reply::kNone) << reply;
  EXPECT_LT(steady_clock::now() - start, seconds(10));
  EXPECT_FALSE(actor.alive());
  EXPECT_THROW(actor.Exec("c", "select 1"), ActorError);
}

TEST(ActorTest, KillDropsItsLocks) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  Actor actor;
  actor.Open("c", db);
  actor.Exec("c", "begin immediate");
  EXPECT_FALSE(ReadLocksOf(db).empty());
  actor.Kill();
  EXPECT_FALSE(actor.alive());
  EXPECT_TRUE(ReadLocksOf(db).empty());
  EXPECT_EQ(actor.Call("pid").code, Reply::kNone);
}

TEST(ActorTest, QuitClosesInAnOrderlyWay) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  Actor actor;
  actor.Open("c", db);
  actor.Exec("c", "update t set v = 0");
  EXPECT_GE(FileSize(db + "-wal"), 0);
  EXPECT_EQ(actor.Quit(), 0);
  EXPECT_EQ(FileSize(db + "-wal"), -1);
}

TEST(ActorTest, ForkedChildSurvivesKillAndEndsWithTheObject) {
  pid_t child = -1;
  {
    Actor actor;
    child = actor.ForkChild();
    EXPECT_FALSE(ProcessIsGone(child));
    actor.Kill();
    EXPECT_FALSE(ProcessIsGone(child));
  }
  EXPECT_TRUE(Eventually([&] { return ProcessIsGone(child); }));
}

TEST(ActorTest, StrayCloseDropsTheLocksUnnoticed) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  Actor actor;
  actor.Open("c", db);
  actor.Exec("c", "begin immediate");
  EXPECT_TRUE(HoldsByte(db, actor.pid(), kWrite, kReservedByte));
  actor.StrayClose(db);
  EXPECT_EQ(ReadLocksOf(db), Lines());
  actor.Exec("c", "update t set v = 1; commit");
}

TEST(ActorTest, RawLocksOfAllKinds) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  Actor a;
  Actor b;
  EXPECT_TRUE(a.RawLock("posix", "read", kPendingByte, kPendingByte, db).ok());
  EXPECT_TRUE(HoldsByte(db, a.pid(), kRead, kPendingByte));
  EXPECT_TRUE(a.RawLock("ofd", "write", 5, 9, db).ok());
  EXPECT_TRUE(a.RawLock("flock", "write", 0, 0, db).ok());
  EXPECT_EQ(LocksOf(db, a.pid()), (Lines{"READ 1073741824-1073741824"}));
  EXPECT_EQ(ReadLocksOf(db).size(), 3U);
  EXPECT_EQ(b.RawLock("posix", "write", kPendingByte, kPendingByte, db).code, SQLITE_BUSY);
}

TEST(ActorTest, BecomesNobody) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  TempDir dir;
  CreateDatabase(dir / "a.db");
  std::filesystem::permissions(dir / "a.db", std::filesystem::perms::owner_read);
  dir.AllowEverybody();
  Actor actor;
  actor.Become(65534, 65534);
  EXPECT_EQ(actor.Call("open c " + (dir / "a.db")).code, SQLITE_CANTOPEN);
  actor.Open("c", dir / "mine.db");
  actor.Exec("c", "create table t(a)");
  struct stat file = {};
  ASSERT_EQ(stat((dir / "mine.db").c_str(), &file), 0);
  EXPECT_EQ(file.st_uid, 65534U);
}

TEST(ActorTest, PlainHasNoPoints) {
  TempDir dir;
  CreateDatabase(dir / "a.db");
  Actor actor({.plain = true});
  EXPECT_EQ(actor.Call("open c file:" + (dir / "a.db") + "?vfs=pausing").code, SQLITE_ERROR);
  actor.PauseAt("before read main");
  actor.Open("c", dir / "a.db");
  EXPECT_EQ(actor.Exec("c", "select count(*) from t"), Row{"200"});
}

// ---- Points ------------------------------------------------------------------------------------

TEST(PointTest, RefusesWhatItDoesNotUnderstand) {
  Actor actor;
  for (const char* point :
       {"", "during lock", "before jump", "before lock sideways", "before sync read0",
        "after shm-lock recover main", "before write nth=0", "before write colour=red"}) {
    EXPECT_THROW(actor.PauseAt(point), ActorError) << point;
  }
}

TEST(PointTest, StopsAtTheNthCallOfOneConnection) {
  TempDir dir;
  CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
  CreateDatabase(dir / "b.db", {.journal_mode = "delete"});
  Actor actor;
  actor.Open("a", dir / "a.db");
  actor.Open("b", dir / "b.db");
  actor.PauseAt("after lock reserved nth=2 by=b of=b.db");
  actor.Exec("a", "update t set v = 1; update t set v = 2");
  actor.Exec("b", "update t set v = 1");
  Answer second = actor.Start("b", "update t set v = 2");
  EXPECT_EQ(actor.AwaitPoint(), "after lock reserved by=b");
  EXPECT_EQ(actor.Exec("a", "select max(v) from t"), Row{"2"});
  EXPECT_FALSE(second.Ready());
  actor.Continue();
  EXPECT_TRUE(second.Wait().ok());
  actor.Exec("b", "update t set v = 3");  // it fired once
}

TEST(PointTest, MoreCanBeSetWhileStopped) {
  TempDir dir;
  CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
  Actor actor;
  actor.Open("c", dir / "a.db");
  actor.PauseAt("before sync journal");
  Answer update = actor.Start("c", "update t set v = 1");
  EXPECT_EQ(actor.AwaitPoint(), "before sync journal by=c");
  actor.PauseAt("before delete journal");
  actor.PauseAt("before truncate wal");
  actor.Continue();
  EXPECT_EQ(actor.AwaitPoint(), "before delete journal by=c");
  actor.ForgetPoints();
  actor.Continue();
  EXPECT_TRUE(update.Wait().ok());
}

TEST(PointTest, ActorsDieWhileStopped) {
  TempDir dir;
  CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
  Actor actor({.deadline = milliseconds(500)});
  actor.Open("c", dir / "a.db");
  actor.PauseAt("before read main");
  Answer answer = actor.Start("c", "select count(*) from t");
  actor.AwaitPoint();
  actor.Kill();
  EXPECT_EQ(answer.Wait().code, Reply::kNone);
  EXPECT_THROW(actor.AwaitPoint(), ActorError);
}

// ---- Locks of the rollback modes ---------------------------------------------------------------

class RollbackLocksTest : public ::testing::Test {
 protected:
  RollbackLocksTest() { CreateDatabase(db_, {.journal_mode = "delete"}); }

  bool Shared(const Actor& a) { return HoldsByte(db_, a.pid(), kRead, kSharedFirst); }
  bool Reserved(const Actor& a) { return HoldsByte(db_, a.pid(), kWrite, kReservedByte); }
  bool Pending(const Actor& a) { return HoldsByte(db_, a.pid(), kWrite, kPendingByte); }
  bool Exclusive(const Actor& a) { return HoldsByte(db_, a.pid(), kWrite, kSharedLast); }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
};

TEST_F(RollbackLocksTest, NothingWhenIdle) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "select count(*) from t");
  EXPECT_EQ(ReadLocksOf(db_), Lines());
}

TEST_F(RollbackLocksTest, Shared) {
  Actor a;
  a.Open("c", db_);
  EXPECT_EQ(a.Step("c", "select id from t order by id"), Row{"1"});
  EXPECT_EQ(LocksOf(db_, a.pid()), (Lines{"READ 1073741826-1073742335"}));
  EXPECT_TRUE(Shared(a));
  const Lines lines = ReadLocksOf(db_);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_TRUE(lines[0].starts_with("POSIX ADVISORY READ " + std::to_string(a.pid()) + " "));
  a.Finish("c");
  EXPECT_EQ(ReadLocksOf(db_), Lines());
}

TEST_F(RollbackLocksTest, Reserved) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "begin immediate");
  EXPECT_EQ(LocksOf(db_, a.pid()),
            (Lines{"READ 1073741826-1073742335", "WRITE 1073741825-1073741825"}));
  EXPECT_TRUE(Shared(a) && Reserved(a) && !Pending(a) && !Exclusive(a));
}

TEST_F(RollbackLocksTest, PendingWhileAReaderIsInTheWay) {
  Actor reader;
  reader.Open("c", db_);
  reader.Exec("c", "begin; select count(*) from t");
  Actor writer;
  writer.Open("c", db_);
  writer.Exec("c", "begin immediate; update t set v = 1");
  EXPECT_EQ(writer.Try("c", "commit").code, SQLITE_BUSY);
  EXPECT_TRUE(Shared(writer) && Reserved(writer) && Pending(writer) && !Exclusive(writer));
  EXPECT_TRUE(Shared(reader));

  writer.BusyTimeout("c", 20000);
  writer.TellAt("before sleep");
  Answer commit = writer.Start("c", "commit");
  writer.AwaitPoint();
  EXPECT_TRUE(Pending(writer));
  reader.Exec("c", "rollback");
  EXPECT_TRUE(commit.Wait().ok());
}

TEST_F(RollbackLocksTest, ExclusiveIsOneMergedLine) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "begin exclusive");
  EXPECT_EQ(LocksOf(db_, a.pid()), (Lines{"WRITE 1073741824-1073742335"}));
  EXPECT_TRUE(Reserved(a) && Pending(a) && Exclusive(a));
}

TEST_F(RollbackLocksTest, ExclusiveInTheMiddleOfACommit) {
  Actor a;
  a.Open("c", db_);
  a.PauseAt("before sync main");
  Answer update = a.Start("c", "update t set v = 1");
  EXPECT_EQ(a.AwaitPoint(), "before sync main by=c");
  EXPECT_TRUE(Exclusive(a) && Reserved(a));
  EXPECT_GT(FileSize(db_ + "-journal"), 0);
  a.Continue();
  EXPECT_TRUE(update.Wait().ok());
}

TEST_F(RollbackLocksTest, HotJournalRollbackIsExclusiveWithoutReserved) {
  LeaveHotJournal(db_);
  Actor a;
  a.Open("c", db_);
  a.PauseAt("after lock exclusive");
  Answer rows = a.Start("c", "select count(*) from t");
  EXPECT_EQ(a.AwaitPoint(), "after lock exclusive by=c");
  EXPECT_TRUE(Exclusive(a));
  EXPECT_FALSE(Reserved(a));
  Actor read_only;
  read_only.OpenReadOnly("c", db_);
  EXPECT_EQ(read_only.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  a.Continue();
  EXPECT_EQ(rows.Wait().text(), "200");
  EXPECT_EQ(FileSize(db_ + "-journal"), -1);
}

// ---- Locks of WAL mode -------------------------------------------------------------------------

class WalLocksTest : public ::testing::Test {
 protected:
  WalLocksTest() { CreateDatabase(db_); }

  Lines ShmLocks(const Actor& a) { return LocksOf(shm_, a.pid()); }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  const std::string shm_ = db_ + "-shm";
};

TEST_F(WalLocksTest, IdleConnectionKeepsSharedAndByte128) {
  Actor a;
  a.Open("c", db_);
  EXPECT_EQ(LocksOf(db_, a.pid()), Lines());
  a.Exec("c", "select count(*) from t");
  EXPECT_EQ(LocksOf(db_, a.pid()), (Lines{"READ 1073741826-1073742335"}));
  EXPECT_EQ(ShmLocks(a), (Lines{"READ 128-128"}));
}

TEST_F(WalLocksTest, ReadersOnAllFiveSlots) {
  const auto readers = HoldReadSlots(db_);
  for (std::size_t slot = 0; slot < readers.size(); ++slot) {
    for (std::size_t other = 0; other < readers.size(); ++other) {
      EXPECT_EQ(HoldsByte(shm_, readers[slot]->pid(), kRead, kWalReadByte + other), slot == other);
    }
    EXPECT_EQ(readers[slot]->Exec("c", "select v from t where id = 2"),
              Row{std::to_string(-static_cast<int>(slot))});
  }
  EXPECT_EQ(ShmLocks(*readers[0]), (Lines{"READ 123-123", "READ 128-128"}));
  EXPECT_EQ(ShmLocks(*readers[4]), (Lines{"READ 127-128"}));
}

TEST_F(WalLocksTest, Write) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "begin immediate");
  EXPECT_EQ(ShmLocks(a), (Lines{"READ 123-123", "READ 128-128", "WRITE 120-120"}));
}

TEST_F(WalLocksTest, Checkpoint) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "update t set v = 0");
  a.PauseAt("after shm-lock ckpt exclusive");
  Answer checkpoint = a.Start("c", "pragma wal_checkpoint");
  EXPECT_EQ(a.AwaitPoint(), "after shm-lock 1+1 exclusive by=c");
  EXPECT_EQ(ShmLocks(a), (Lines{"READ 128-128", "WRITE 121-121"}));

  a.PauseAt("before write main");  // it backfills
  a.Continue();
  EXPECT_EQ(a.AwaitPoint(), "before write main by=c");
  EXPECT_EQ(ShmLocks(a), (Lines{"READ 128-128", "WRITE 121-121", "WRITE 123-123"}));
  a.Continue();
  EXPECT_TRUE(checkpoint.Wait().ok());
}

TEST_F(WalLocksTest, TruncateCheckpointHoldsWriteAndSlotsToo) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "update t set v = 0");
  a.PauseAt("after shm-lock 4+4 exclusive");
  Answer checkpoint = a.Start("c", "pragma wal_checkpoint(truncate)");
  EXPECT_EQ(a.AwaitPoint(), "after shm-lock 4+4 exclusive by=c");
  EXPECT_EQ(ShmLocks(a), (Lines{"READ 128-128", "WRITE 120-121", "WRITE 124-127"}));
  a.Continue();
  EXPECT_EQ(checkpoint.Wait().text(), "0\t0\t0");
}

TEST_F(WalLocksTest, CheckpointIsHeldBackByAReader) {
  const auto readers = HoldReadSlots(db_);
  readers[0]->Exec("c", "rollback");
  Actor a;
  a.Open("c", db_);
  EXPECT_EQ(a.Checkpoint("c", "passive").log_frames, -1);  // it has not read yet
  a.Exec("c", "select count(*) from t");
  const auto passive = a.Checkpoint("c", "passive");
  EXPECT_FALSE(passive.busy);
  EXPECT_LT(passive.checkpointed_frames, passive.log_frames);
  EXPECT_TRUE(a.Checkpoint("c", "truncate").busy);
}

TEST_F(WalLocksTest, Recover) {
  LeaveWalToRecover(db_);
  Actor a;
  a.PauseAt("after shm-lock recover exclusive");
  a.Open("c", db_);
  Answer value = a.Start("c", "select v from t where id = 1");
  EXPECT_EQ(a.AwaitPoint(), "after shm-lock 1+2 exclusive by=c");
  EXPECT_EQ(ShmLocks(a), (Lines{"READ 128-128", "WRITE 120-122"}));
  Actor other;
  other.Open("c", db_);
  EXPECT_EQ(other.Try("c", "select count(*) from t").code, SQLITE_BUSY_RECOVERY);
  a.Continue();
  EXPECT_EQ(value.Wait().text(), "2");
}

TEST_F(WalLocksTest, LastCloseIsExclusive) {
  Actor a;
  a.Open("c", db_);
  a.Exec("c", "update t set v = 0");
  a.PauseAt("after lock exclusive");
  Answer closed = a.Send("close c");
  a.AwaitPoint();
  EXPECT_TRUE(HoldsByte(db_, a.pid(), kWrite, kSharedFirst));
  EXPECT_FALSE(HoldsByte(db_, a.pid(), kWrite, kReservedByte));
  a.Continue();
  EXPECT_TRUE(closed.Wait().ok());
  EXPECT_EQ(FileSize(db_ + "-wal"), -1);
}

// ---- Database helpers --------------------------------------------------------------------------

TEST(DatabaseTest, IsMadeAsAskedFor) {
  TempDir dir;
  CreateDatabase(dir / "a.db", {.journal_mode = "persist", .rows = 50, .page_size = 1024});
  CreateDatabase(dir / "w.db");
  EXPECT_EQ(FileSize(dir / "w.db-wal"), -1);
  EXPECT_EQ(IntegrityCheck(dir / "w.db"), "ok");
  Actor actor;
  actor.Open("a", dir / "a.db");
  EXPECT_EQ(actor.Exec("a", "select count(*), sum(v) from t"), (Row{"50", "0"}));
  EXPECT_EQ(actor.Exec("a", "pragma page_size"), Row{"1024"});
  actor.Open("w", dir / "w.db");
  EXPECT_EQ(actor.Exec("w", "pragma journal_mode"), Row{"wal"});
}

TEST(DatabaseTest, HotJournalNeedsSomebodyWhoMayWrite) {
  for (const char* mode : {"delete", "truncate", "persist"}) {
    TempDir dir;
    const std::string db = dir / "a.db";
    CreateDatabase(db, {.journal_mode = mode});
    LeaveHotJournal(db);
    Actor actor;
    actor.OpenReadOnly("ro", db);
    EXPECT_EQ(actor.Try("ro", "select count(*) from t").code, SQLITE_READONLY_ROLLBACK) << mode;
    EXPECT_EQ(IntegrityCheck(db), "ok") << mode;
  }
}

TEST(DatabaseTest, BytesAreWrittenAndReadInPlace) {
  TempDir dir;
  const std::string file = dir / "x";
  WriteBytes(file, 0, "abcdef");
  WriteZeros(file, 2, 2);
  WriteNoise(file, 100000, 70000, 7);
  EXPECT_EQ(ReadBytes(file, 0, 6), std::string("ab\0\0ef", 6));
  EXPECT_EQ(FileSize(file), 170000);
  const std::string noise = ReadBytes(file, 100000, 99999);
  EXPECT_EQ(noise.size(), 70000U);
  WriteNoise(file, 0, 70000, 7);
  EXPECT_EQ(ReadBytes(file, 0, 70000), noise);
}

TEST(DatabaseTest, CopiesAreMadeWithoutTouchingLocks) {
  TempDir dir;
  CreateDatabase(dir / "a.db");
  Actor actor;
  actor.Open("c", dir / "a.db");
  actor.Exec("c", "update t set v = 0; begin immediate");
  const Lines before = ReadLocksOf(dir / "a.db-shm");
  CopyDatabase(dir / "a.db", dir / "b.db");
  EXPECT_EQ(ReadLocksOf(dir / "a.db-shm"), before);
  EXPECT_EQ(FileSize(dir / "b.db-wal"), FileSize(dir / "a.db-wal"));
  WriteZeros(dir / "b.db-shm", 0, 136);
  EXPECT_EQ(IntegrityCheck(dir / "b.db"), "ok");
  WriteNoise(dir / "b.db", 0, 16, 1);
  EXPECT_EQ(IntegrityCheck(dir / "b.db"), "file is not a database");
}

TEST(DatabaseTest, NoFileHasNoLocks) { EXPECT_EQ(ReadLocksOf("/nonexistent"), Lines()); }

}  // namespace
}  // namespace lockscope::testing
