// Who is in whose way:
//   rules      which lock refuses which
//   rollback   writers, commits, pending writers, exclusive locks, hot journals
//   wal        writers, checkpoints, pins, recovery, exclusive locking mode
//   kernel     other processes, and requests that wait in the kernel
//   nobody     those who are in nobody's way
//   table      its order, and what each column says
#include "insight/blockers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "core/session.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

// A connection of this process that may wait, in a thread of its own.
class Client {
 public:
  explicit Client(const std::string& path) : db_(path) {
    sqlite3_busy_timeout(db_.handle(), 60'000);
    db_.Exec("select count(*) from t");
    number_ = Db(":memory:")
                  .Value("select max(connection) from lockscope_connections(" + Quote(path) + ")");
  }
  ~Client() {
    if (thread_.joinable()) thread_.join();
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  Db& db() { return db_; }
  // As it is in the tables.
  const std::string& number() const { return number_; }
  void Exec(const std::string& sql) { db_.Exec(sql); }
  // As Exec, without waiting for a lock: for what is to be refused.
  int Refused(const std::string& sql) {
    sqlite3_busy_timeout(db_.handle(), 0);
    return db_.Try(sql).code;
  }
  void Start(const std::string& sql) {
    thread_ = std::thread([this, sql] { reply_ = db_.Try(sql); });
  }
  Reply Join() {
    thread_.join();
    return reply_;
  }

 private:
  Db db_;
  std::string number_;
  Reply reply_;
  std::thread thread_;
};

class BlockersTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    CreateDatabase(path_, {.journal_mode = journal_mode});
  }
  Lines Blockers(const std::string& columns, const std::string& where = "1") {
    return look_.Lines("select " + columns + " from lockscope_blockers(" + Quote(path_) +
                       ") where " + where);
  }
  // "WHO wants WHAT, WHO holds WHAT": connections by their number, others by their pid.
  Lines Pairs() {
    return Blockers(
        "coalesce(blocked_connection, blocked_pid, 'next') || ' wants ' || wants || ', ' ||"
        "coalesce(blocker_connection, blocker_pid) || ' holds ' || holds");
  }
  static std::string Pair(const std::string& blocked, const std::string& wants,
                          const std::string& blocker, const std::string& holds) {
    return blocked + " wants " + wants + ", " + blocker + " holds " + holds;
  }
  static std::string Pid(const Actor& actor) { return std::to_string(actor.pid()); }
  bool SomebodyWaits() { return !Blockers("1", "age_ms is not null").empty(); }
  // The advice of the one row of which this is true.
  std::string Advice(const std::string& where) {
    const Lines lines = Blockers("advice", where);
    EXPECT_EQ(lines.size(), 1U) << where << ::testing::PrintToString(Pairs());
    return lines.empty() ? "" : lines.front();
  }
  void ExpectAdvice(const std::string& where, const std::string& words) {
    EXPECT_NE(Advice(where).find(words), std::string::npos) << Advice(where);
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

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
  Actor looking;
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

// ---- kernel ----

// A process that waits in the kernel for a lock on these bytes of `file`.
class KernelWaiter {
 public:
  KernelWaiter(const std::string& file, std::uint64_t first, std::uint64_t last) {
    const std::string program =
        "import fcntl, sys\n"
        "with open(sys.argv[1], 'r+b') as f:\n"
        "  fcntl.lockf(f, fcntl.LOCK_EX, int(sys.argv[3]), int(sys.argv[2]))\n";
    pid_ = Spawn(
        {"python3", "-c", program, file, std::to_string(first), std::to_string(last - first + 1)},
        {});
  }
  ~KernelWaiter() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  KernelWaiter(const KernelWaiter&) = delete;
  KernelWaiter& operator=(const KernelWaiter&) = delete;

  std::string pid() const { return std::to_string(pid_); }

 private:
  pid_t pid_;
};

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
  const KernelWaiter waiter(path_ + "-shm", kWalWriteByte, kWalWriteByte);
  const Lines expected{
      Pair(waiter.pid(), "wal-write EXCLUSIVE", writer.number(), "wal-write EXCLUSIVE")};
  EXPECT_TRUE(Eventually([&] { return Pairs() == expected; })) << ::testing::PrintToString(Pairs());
  EXPECT_EQ(Blockers("since, age_ms, source"), Lines{"NULL NULL kernel"});
}

TEST_F(BlockersTest, WhoReallyAsksForTheDatabaseLockIsRefusedByEveryOpenConnectionOfAWal) {
  Make("wal");
  Client open(path_);
  const KernelWaiter waiter(path_, kSharedFirst, kSharedLast);
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

TEST_F(BlockersTest, ALostLockIsInNobodysWay) {
  for (const char* mode : {"delete", "wal"}) {
    SCOPED_TRACE(mode);
    path_ = dir_ / (std::string(mode) + ".db");
    Make(mode);
    Client writer(path_);
    writer.Exec("pragma wal_autocheckpoint = 0; update t set v = 0 where id = 1");
    Client reader(path_);
    reader.Exec("begin; select * from t limit 1");
    if (mode == std::string("wal")) writer.Exec("update t set v = 0 where id = 2");
    writer.Exec("begin immediate");
    EXPECT_EQ(Pairs().size(), 2U);
    for (const std::string& file : {path_, path_ + "-shm"}) {
      const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd >= 0) close(fd);
    }
    EXPECT_EQ(Pairs(), Lines());
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
                // Another blocker of the same want is no waiter's: none is left.
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
