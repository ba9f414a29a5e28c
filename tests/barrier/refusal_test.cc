// Barriers that are refused because somebody else holds what they need: RefusalTest.
//
// Expected of each: SQLITE_BUSY; the message names the lock and its holder's pid, a process of
// plain SQLite; afterwards this process holds no lock more than before; and once the other has
// gone, the same barrier is granted.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "barrier/hosted.h"

namespace lockscope::testing {
namespace {

struct Refusal {
  std::string mode = "wal";
  std::string kind = "snapshot";
  std::function<void(Actor&, const std::string&)> hold;
  std::string lock;  // that the message names
};

std::string PidWord(const Actor& actor) { return "pid " + std::to_string(actor.pid()) + " "; }

void ExpectRefused(const Refusal& refusal) {
  EachRound([&refusal](const TempDir& dir) {
    UnreadDb asking(dir / "a.db", refusal.mode);
    Actor holder;
    refusal.hold(holder, dir / "a.db");
    for (const int timeout_ms : {0, 30}) {
      const Reply reply = asking.Try(BarrierSql({.kind = refusal.kind, .timeout_ms = timeout_ms}));
      EXPECT_EQ(reply.code, SQLITE_BUSY) << reply;
      EXPECT_NE(reply.message.find(PidWord(holder)), std::string::npos) << reply;
      EXPECT_NE(reply.message.find(": " + refusal.lock + " is busy"), std::string::npos) << reply;
      EXPECT_EQ(OwnKernelLocks(dir / "a.db"), std::vector<std::string>());
    }
    holder.Kill();
    const Reply granted = asking.Try(BarrierSql({.kind = refusal.kind}));
    ASSERT_TRUE(granted.ok()) << granted;
    EXPECT_EQ(Released(asking, granted.text()), "1");
  });
}

void OpenAndRun(Actor& actor, const std::string& path, const std::string& sql) {
  actor.Open("c", path);
  actor.Exec("c", sql);
}

TEST(RefusalTest, WriterOfAWal) {
  for (const std::string kind : {"write", "exclusive"}) {
    ExpectRefused(
        {.kind = kind,
         .hold = [](Actor& a, const std::string& p) { OpenAndRun(a, p, "begin immediate"); },
         .lock = "wal-write"});
  }
}

TEST(RefusalTest, CheckpointerOfAWal) {
  ExpectRefused({.hold =
                     [](Actor& actor, const std::string& path) {
                       OpenAndRun(actor, path, TransactionsSql(2));
                       actor.PauseAt("after shm-lock ckpt exclusive");
                       static_cast<void>(actor.Start("c", "pragma wal_checkpoint"));
                       actor.AwaitPoint();
                     },
                 .lock = "wal-checkpoint"});
}

TEST(RefusalTest, ExclusiveLockingModeOnAWal) {
  ExpectRefused({.hold =
                     [](Actor& a, const std::string& p) {
                       OpenAndRun(a, p, "pragma locking_mode = exclusive; update t set v = v");
                     },
                 .lock = "database"});
}

TEST(RefusalTest, ExclusiveLockingModeInARollbackMode) {
  ExpectRefused({.mode = "delete",
                 .hold =
                     [](Actor& a, const std::string& p) {
                       OpenAndRun(a, p, "pragma locking_mode = exclusive; update t set v = v");
                     },
                 .lock = "database"});
}

TEST(RefusalTest, WriterInARollbackMode) {
  for (const std::string kind : {"snapshot", "write", "exclusive"}) {
    ExpectRefused(
        {.mode = "delete",
         .kind = kind,
         .hold = [](Actor& a, const std::string& p) { OpenAndRun(a, p, "begin immediate"); },
         .lock = "database"});
  }
}

TEST(RefusalTest, ReaderInARollbackModeInTheWayOfExclusive) {
  ExpectRefused(
      {.mode = "delete",
       .kind = "exclusive",
       .hold = [](Actor& a,
                  const std::string& p) { OpenAndRun(a, p, "begin; select count(*) from t"); },
       .lock = "database"});
}

// A reader is not in the way of RESERVED.
// Expected: only the writer is named.
TEST(RefusalTest, BystanderIsNotNamed) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
    Actor reader;
    OpenAndRun(reader, dir / "a.db", "begin; select count(*) from t");
    Actor writer;
    OpenAndRun(writer, dir / "a.db", "begin immediate");
    Db host(dir / "a.db");
    const Reply reply = host.Try(BarrierSql({.timeout_ms = 0}));
    EXPECT_EQ(reply.code, SQLITE_BUSY);
    EXPECT_NE(reply.message.find(PidWord(writer)), std::string::npos) << reply;
    EXPECT_EQ(reply.message.find(PidWord(reader)), std::string::npos) << reply;
  });
}

// Another process recovers the WAL, and takes its time.
// Expected: refused in the time given, and not when SQLite's own patience (10 s) ends.
TEST(RefusalTest, RecoveryOfAWal) {
  EachRound([](const TempDir& dir) {
    UnreadDb host(dir / "a.db", "wal");
    LeaveWalToRecover(dir / "a.db");
    Actor recovering;
    recovering.PauseAt("after shm-lock recover exclusive");
    recovering.Open("c", dir / "a.db");
    Answer rows = recovering.Start("c", "select count(*) from t");
    recovering.AwaitPoint();
    for (const int timeout_ms : {0, 50}) {
      const StopWatch watch;
      const Reply reply = host.Try(BarrierSql({.timeout_ms = timeout_ms}));
      EXPECT_EQ(reply.code, SQLITE_BUSY) << reply;
      EXPECT_NE(reply.message.find("wal-recover is busy"), std::string::npos) << reply;
      EXPECT_NE(reply.message.find(PidWord(recovering)), std::string::npos) << reply;
      EXPECT_LE(watch.Elapsed(), std::chrono::milliseconds(1000));
      EXPECT_EQ(OwnKernelLocks(dir / "a.db"), std::vector<std::string>());
    }
    recovering.Continue();
    EXPECT_TRUE(rows.Wait().ok());
    EXPECT_EQ(Released(host, host.Value(BarrierSql())), "1");
  });
}

// Another process rolls a hot journal back.
TEST(RefusalTest, RecoveryOfAHotJournal) {
  EachRound([](const TempDir& dir) {
    UnreadDb host(dir / "a.db", "delete");
    LeaveHotJournal(dir / "a.db");
    Actor recovering;
    recovering.PauseAt("after lock exclusive");
    recovering.Open("c", dir / "a.db");
    Answer rows = recovering.Start("c", "select count(*) from t");
    recovering.AwaitPoint();
    const Reply reply = host.Try(BarrierSql({.timeout_ms = 30}));
    EXPECT_EQ(reply.code, SQLITE_BUSY) << reply;
    EXPECT_NE(reply.message.find(PidWord(recovering)), std::string::npos) << reply;
    EXPECT_EQ(OwnKernelLocks(dir / "a.db"), std::vector<std::string>());
    recovering.Continue();
    EXPECT_TRUE(rows.Wait().ok());
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Every read slot of the first database is in use, so that SQLite is refused what it would like to
// have there, and does without; the second one is what the barrier cannot have.
// Expected: only the second is named.
TEST(RefusalTest, RefusalThatSqliteDoesWithoutIsNotNamed) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db");
    const auto readers = HoldReadSlots(dir / "a.db");
    Actor last;
    OpenAndRun(last, dir / "a.db", TransactionsSql(1));
    Actor writer;
    OpenAndRun(writer, dir / "b.db", "begin immediate");
    Db host(dir / "a.db");
    host.Exec("attach " + Quote(dir / "b.db") + " as b");
    const Reply reply = host.Try(BarrierSql({.timeout_ms = 0}));
    EXPECT_EQ(reply.code, SQLITE_BUSY);
    EXPECT_NE(reply.message.find("b.db: wal-write is busy"), std::string::npos) << reply;
    EXPECT_EQ(reply.message.find("a.db"), std::string::npos) << reply;
    EXPECT_EQ(Released(host, host.Value(BarrierSql({.schemas = "main"}))), "1");
  });
}

// A writer is no obstacle to a snapshot of one database, and to one of two it is.
// Expected: as said; the message names the database and the writer.
TEST(RefusalTest, WriterOfOneOfTwoDatabases) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db");
    Actor writer;
    OpenAndRun(writer, dir / "b.db", "begin immediate");
    Db host(dir / "a.db");
    host.Exec("attach " + Quote(dir / "b.db") + " as b; select count(*) from b.t, main.t");
    const auto before = OwnKernelLocks(dir / "a.db");
    const Reply reply = host.Try(BarrierSql({.timeout_ms = 30}));
    EXPECT_EQ(reply.code, SQLITE_BUSY);
    EXPECT_NE(reply.message.find("b.db: wal-write is busy"), std::string::npos) << reply;
    EXPECT_NE(reply.message.find(PidWord(writer)), std::string::npos) << reply;
    EXPECT_EQ(reply.message.find("a.db"), std::string::npos) << reply;
    EXPECT_EQ(OwnKernelLocks(dir / "a.db"), before);
    const std::string token = host.Value(BarrierSql({.schemas = "b"}));
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Expected: a second barrier is refused, and says that this process holds the first.
TEST(RefusalTest, AnotherBarrier) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      HostProcess other;
      other.Open("h", dir / mode);
      other.Exec("h", BarrierSql());
      Db host(dir / mode);
      host.Exec("select count(*) from t");
      const auto before = OwnKernelLocks(dir / mode);
      const Reply reply = host.Try(BarrierSql({.timeout_ms = 30}));
      EXPECT_EQ(reply.code, SQLITE_BUSY);
      EXPECT_NE(reply.message.find(PidWord(other)), std::string::npos) << reply;
      EXPECT_EQ(OwnKernelLocks(dir / mode), before);
    }
  });
}

}  // namespace
}  // namespace lockscope::testing
