// Who is in whose way:
//   kernel     other processes, and requests that wait in the kernel
//   barriers   of this process and of others
//   published  other processes that tell of themselves
//   nobody     those who are in nobody's way, or in some people's only
//   table      its order, and what each column says
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "blockers_fixture.h"

namespace lockscope::testing {
namespace {

// ---- kernel ----

TEST_F(BlockersTest, OtherProcessesAreToldByTheirPid) {
  Make("delete");
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate");
  EXPECT_EQ(Pairs(), (Lines{Pair(Pid(writer), "database EXCLUSIVE", Pid(reader), "database SHARED"),
                            Pair("next", "database RESERVED", Pid(writer), "database RESERVED")}));
  EXPECT_EQ(Blockers("pid, process like '%lockscope_actor%', connection, since, age_ms, source,"
                     "blocker_pid, blocker_connection, blocker_process like '%lockscope_actor%',"
                     "held_ms, blocker_sql",
                     "blocked_pid is not null"),
            Lines{Pid(writer) + " 1 NULL NULL NULL kernel " + Pid(reader) + " NULL 1 NULL NULL"});
  ExpectAdvice("blocked_pid is not null",
               "end that transaction there (COMMIT or ROLLBACK), or finish or reset");
}

TEST_F(BlockersTest, ARequestThatWaitsInTheKernelIsToldByItsPid) {
  Make("wal");
  Client writer(path_);
  writer.Exec("begin immediate");
  const LockingProcess waiter(path_ + "-shm", kWalWriteByte, kWalWriteByte);
  const Lines expected{
      Pair(waiter.pid(), "wal-write EXCLUSIVE", writer.number(), "wal-write EXCLUSIVE")};
  EXPECT_TRUE(Eventually([&] { return Pairs() == expected; })) << ::testing::PrintToString(Pairs());
  EXPECT_EQ(Blockers("since, age_ms, source"), Lines{"NULL NULL kernel"});
}

TEST_F(BlockersTest, WhoReallyAsksForTheDatabaseLockIsRefusedByEveryOpenConnectionOfAWal) {
  Make("wal");
  Client open(path_);
  const LockingProcess waiter(path_, kSharedFirst, kSharedLast);
  const Lines expected{Pair(waiter.pid(), "database EXCLUSIVE", open.number(), "database SHARED")};
  EXPECT_TRUE(Eventually([&] { return Pairs() == expected; })) << ::testing::PrintToString(Pairs());
  ExpectAdvice("1", "close that one");
}

// The kernel does not tell which connection of a process waits; but never for its own locks.
TEST_F(BlockersTest, NoProcessWaitsInTheKernelForItsOwnLocks) {
  Make("wal");
  Client own(path_);
  own.Exec("begin; select * from t limit 1");
  Actor other;
  other.Open("c", path_);
  other.Exec("c", "begin; select * from t limit 1");
  const int fd = open((path_ + "-shm").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::thread waiter([fd] {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(kWalReadByte);
    lock.l_len = 1;
    fcntl(fd, F_SETLKW, &lock);
  });
  const Lines expected{
      Pair(std::to_string(getpid()), "wal-read-0 EXCLUSIVE", Pid(other), "wal-read-0 SHARED")};
  EXPECT_TRUE(Eventually([&] { return Pairs() == expected; })) << ::testing::PrintToString(Pairs());
  other.Kill();
  waiter.join();
  close(fd);
}

// ---- barriers ----

// A process with lockscope whose connections others see as the kernel tells them.
const Actor::Options kPrivate{.env = {{"LOCKSCOPE_REGISTRY", "private"}}};

// Of a process that publishes nothing only its locks are seen, and not what for.
TEST_F(BlockersTest, AnotherProcessesBarrierIsNotTakenForACheckpointOrAWriter) {
  Make("wal");
  Actor actor(kPrivate);
  actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
  actor.Open("c", path_);
  const std::string token = actor.Exec("c", "select lockscope_barrier('write')").at(0);
  ExpectAdvice("wants = 'wal-write EXCLUSIVE'", "a backup barrier, a checkpoint");
  ExpectAdvice("wants = 'wal-checkpoint EXCLUSIVE'", "a checkpoint is at work there, or a backup");
  actor.Exec("c", "select lockscope_barrier_release(" + Quote(token) + ")");
  EXPECT_EQ(Pairs(), Lines());
}

TEST_F(BlockersTest, AnotherProcessesReservedMayBeABarriers) {
  Make("delete");
  Client reader(path_);
  Actor actor(kPrivate);
  actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
  actor.Open("c", path_);
  const std::string token = actor.Exec("c", "select lockscope_barrier()").at(0);
  ExpectAdvice("wants = 'database RESERVED'",
               "a backup barrier that holds it ends with the backup");
  reader.Exec("begin; select * from t limit 1");
  ExpectAdvice("wants = 'database EXCLUSIVE'", "it will not commit: nothing to do");
  reader.Exec("commit");
  actor.Exec("c", "select lockscope_barrier_release(" + Quote(token) + ")");
}

TEST_F(BlockersTest, AnotherProcessesPublishedBarrierIsNamedAsOne) {
  Make("wal");
  Actor actor;
  actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
  actor.Open("c", path_);
  const std::string token = actor.Exec("c", "select lockscope_barrier('write')").at(0);
  const std::string barrier = look_.Value("select connection from lockscope_connections(" +
                                          Quote(path_) + ") where state = 'barrier'");
  const std::string who = Pid(actor) + " " + barrier;
  EXPECT_EQ(Blockers("wants, blocker_pid, blocker_connection, held_ms >= 0",
                     "advice like 'a backup barrier: wait until the backup is done%'"),
            (Lines{"wal-write EXCLUSIVE " + who + " 1", "wal-checkpoint EXCLUSIVE " + who + " 1"}));
  EXPECT_EQ(Pairs().size(), 2U);
  actor.Exec("c", "select lockscope_barrier_release(" + Quote(token) + ")");
  EXPECT_EQ(Pairs(), Lines());
}

TEST_F(BlockersTest, AnotherProcessesPublishedBarrierNeverWaitsToCommit) {
  Make("delete");
  Client reader(path_);
  Actor actor;
  actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
  actor.Open("c", path_);
  const std::string token = actor.Exec("c", "select lockscope_barrier()").at(0);
  const std::string barrier = look_.Value("select connection from lockscope_connections(" +
                                          Quote(path_) + ") where state = 'barrier'");
  reader.Exec("begin; select * from t limit 1");
  EXPECT_EQ(Blockers("coalesce(blocked_pid, 'next'), wants, blocker_pid, blocker_connection"),
            Lines{"next database RESERVED " + Pid(actor) + " " + barrier});
  EXPECT_EQ(Advice("1").find("a backup barrier: "), 0U);
  reader.Exec("commit");
  actor.Exec("c", "select lockscope_barrier_release(" + Quote(token) + ")");
  EXPECT_EQ(Pairs(), Lines());
}

// ---- published ----

TEST_F(BlockersTest, OtherProcessesThatPublishAreToldWithTheirStatements) {
  Make("delete");
  Actor reader;
  reader.Load("m", LOCKSCOPE_LOADABLE_FILE);
  reader.Open("c", path_);
  reader.Exec("c", "begin;select v from t limit 1");
  Actor writer;
  writer.Load("m", LOCKSCOPE_LOADABLE_FILE);
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate");
  EXPECT_EQ(Blockers("pid, connection, since, age_ms, sql, source, blocked_pid, wants",
                     "blocked_pid is not null"),
            Lines{Pid(writer) + " 1 NULL NULL begin immediate shim " + Pid(writer) +
                  " database EXCLUSIVE"});
  EXPECT_EQ(Blockers("blocker_pid, blocker_connection, holds, held_ms >= 0, blocker_sql",
                     "blocked_pid is not null"),
            Lines{Pid(reader) + " 1 database SHARED 1 select v from t limit 1"});
  EXPECT_EQ(Advice("blocked_pid is not null").find("end that transaction there (COMMIT or"), 0U);
  EXPECT_EQ(Blockers("wants, blocker_pid, blocker_sql", "blocked_pid is null"),
            Lines{"database RESERVED " + Pid(writer) + " begin immediate"});
}

// SQLite asks again and again: only the waiting process itself can tell.
TEST_F(BlockersTest, AnotherProcessesPublishedWaitIsSeen) {
  Make("wal");
  Client writer(path_);
  writer.Exec("begin immediate");
  Actor waiter;
  waiter.Load("m", LOCKSCOPE_LOADABLE_FILE);
  waiter.Open("c", path_);
  waiter.BusyTimeout("c", 60'000);
  waiter.Exec("c", "select count(*) from t");
  Answer begun = waiter.Start("c", "begin immediate");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  EXPECT_EQ(
      Blockers("pid, connection, age_ms >= 0, sql, source, wants, blocker_connection"),
      Lines{Pid(waiter) + " 1 1 begin immediate shim wal-write EXCLUSIVE " + writer.number()});
  writer.Exec("commit");
  EXPECT_TRUE(begun.Wait().ok());
}

// ---- nobody ----

TEST_F(BlockersTest, ReadersAndIdleConnectionsAreInNobodysWay) {
  for (const char* mode : {"delete", "wal"}) {
    SCOPED_TRACE(mode);
    path_ = dir_ / (std::string(mode) + ".db");
    Make(mode);
    Client idle(path_);
    Client reader(path_);
    reader.Exec("begin; select * from t limit 1");
    Actor other;
    other.Open("c", path_);
    other.Exec("c", "begin; select * from t limit 1");
    EXPECT_EQ(Pairs(), Lines());
  }
}

// The kernel gives others what was lost; but SQLite refuses the process's own other connections
// before it asks the kernel.
TEST_F(BlockersTest, ALostLockIsInTheWayOfTheProcessesOwnConnectionsAlone) {
  for (const char* mode : {"delete", "wal"}) {
    SCOPED_TRACE(mode);
    path_ = dir_ / (std::string(mode) + ".db");
    Make(mode);
    const bool wal = mode == std::string("wal");
    Client writer(path_);
    Client waiter(path_);
    writer.Exec("begin immediate");
    EXPECT_EQ(Pairs().size(), 1U);
    for (const std::string& file : {path_, path_ + "-shm"}) {
      const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd >= 0) close(fd);
    }
    EXPECT_EQ(Pairs(), Lines());
    waiter.Start("begin immediate");
    ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
    const std::string lock = wal ? "wal-write EXCLUSIVE" : "database RESERVED";
    EXPECT_EQ(Pairs(), Lines{Pair(waiter.number(), lock, writer.number(), lock)});
    Actor other;
    other.Open("c", path_);
    EXPECT_TRUE(other.Try("c", "begin immediate").ok());
    other.Exec("c", "rollback");
    writer.Exec("rollback");
    EXPECT_TRUE(waiter.Join().ok());
  }
}

TEST_F(BlockersTest, ABarrierNeverCommitsAndTheAdviceKnowsIt) {
  Make("delete");
  Client asker(path_);
  Client reader(path_);
  const std::string token = asker.db().Value("select lockscope_barrier()");
  const std::string barrier = look_.Value("select connection from lockscope_connections(" +
                                          Quote(path_) + ") where state = 'barrier'");
  reader.Exec("begin; select * from t limit 1");
  EXPECT_EQ(Pairs(), Lines{Pair("next", "database RESERVED", barrier, "database RESERVED")});
  EXPECT_EQ(Advice("1").find("a backup barrier: "), 0U);
  ExpectAdvice("1", "lockscope_barrier_release");
  reader.Exec("commit");
  asker.Exec("select lockscope_barrier_release(" + Quote(token) + ")");
  EXPECT_EQ(Pairs(), Lines());
}

TEST_F(BlockersTest, WithAWalABarrierIsInTheWayOfTheNextCheckpoint) {
  Make("wal");
  Client asker(path_);
  asker.Exec("pragma wal_autocheckpoint = 0; update t set v = 0 where id = 1");
  const std::string token = asker.db().Value("select lockscope_barrier()");
  asker.Exec("update t set v = 0 where id = 2");
  EXPECT_EQ(Blockers("wants", "advice like 'a backup barrier:%'"),
            (Lines{"wal-checkpoint EXCLUSIVE", "wal-read-1 EXCLUSIVE"}));
  EXPECT_EQ(Pairs().size(), 2U);
  asker.Exec("select lockscope_barrier_release(" + Quote(token) + ")");
}

// ---- table ----

TEST_F(BlockersTest, WhoWaitsLongestComesFirstAndWhoeverIsNextLast) {
  Make("delete");
  Client writer(path_);
  Client first(path_);
  Client second(path_);
  Client reader(path_);
  // The connection that was opened later waits first.
  reader.Exec("begin; select * from t limit 1");
  writer.Exec("begin immediate");
  second.Start("begin immediate");
  ASSERT_TRUE(Eventually([&] { return Blockers("1", "age_ms is not null").size() == 1; }));
  first.Start("begin immediate");
  ASSERT_TRUE(Eventually([&] { return Blockers("1", "age_ms is not null").size() == 2; }));
  EXPECT_EQ(Pairs(),
            (Lines{
                Pair(second.number(), "database RESERVED", writer.number(), "database RESERVED"),
                Pair(first.number(), "database RESERVED", writer.number(), "database RESERVED"),
                Pair(writer.number(), "database EXCLUSIVE", reader.number(), "database SHARED"),
                // Whoever is next would wait for the same: that is told already.
            }));
  reader.Exec("commit");
  writer.Exec("commit");
  // One after the other, whoever is first.
  std::thread end([&] {
    first.Join();
    first.Exec("commit");
  });
  second.Join();
  second.Exec("commit");
  end.join();
}

TEST_F(BlockersTest, AWaitersRowSaysWhoAndWhatAndSinceWhen) {
  Make("wal");
  Client writer(path_);
  Client waiter(path_);
  writer.Exec("begin immediate");
  waiter.Start("insert into t(v) values (1)");
  ASSERT_TRUE(Eventually([this] { return SomebodyWaits(); }));
  const std::string pid = std::to_string(getpid());
  EXPECT_EQ(
      Blockers("database, pid, connection, since like '____-__-__ __:__:__.___', age_ms >= 0,"
               "sql, source, process = blocker_process"),
      Lines{path_ + " " + pid + " " + waiter.number() + " 1 1 insert into t(v) values (1) shim 1"});
  EXPECT_EQ(Blockers("blocked_pid, blocked_connection, blocker_pid, blocker_connection, holds,"
                     "held_ms >= age_ms, blocker_sql"),
            Lines{pid + " " + waiter.number() + " " + pid + " " + writer.number() +
                  " wal-write EXCLUSIVE 1 begin immediate"});
  writer.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
}

TEST_F(BlockersTest, OverSeveralDatabasesTheOrderIsTheSame) {
  const std::string other = dir_ / "b.db";
  CreateDatabase(other);
  Make("wal");
  Client next(path_);
  next.Exec("begin immediate");
  Client writer(other);
  Client waiter(other);
  writer.Exec("begin immediate");
  waiter.Start("begin immediate");
  Db both(path_);
  both.Exec("attach " + Quote(other) + " as other");
  ASSERT_TRUE(Eventually([&] {
    return both.Value("select count(*) from lockscope_blockers where age_ms is not null") == "1";
  }));
  EXPECT_EQ(both.Lines("select database, blocked_connection from lockscope_blockers"),
            (Lines{other + " " + waiter.number(), path_ + " NULL"}));
  writer.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
}

}  // namespace
}  // namespace lockscope::testing
