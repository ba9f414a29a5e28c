// Barriers that end before they are released, and say so.
//
//   ExpiryTest    max_hold_ms
//   LostTest      the locks are closed away by other code of this process; a file is replaced; a
//                 writer dies in the wal-index, where recovery must run
//   OwnerTest     the connection that asked for it closes
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "barrier/hosted.h"
#include "lockscope.h"

namespace lockscope::testing {
namespace {

using std::chrono::milliseconds;

std::string StateOf(const std::string& path, const std::string& token) {
  Db look(":memory:");
  return look.Value("select state from lockscope_barriers(" + Quote(path) +
                    ") where token = " + Quote(token));
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// ---- Expiry ----

// Expected: held until then; afterwards the locks are gone from the kernel, the state is `expired`,
// check fails, and release says that the copy is to be thrown away.
TEST(ExpiryTest, BarrierEndsByItselfAtItsLimit) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      SCOPED_TRACE(mode);
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host(dir / mode);
      host.Exec("select count(*) from t");
      const auto before = OwnKernelLocks(dir / mode);
      const StopWatch watch;
      const std::string token = host.Value(BarrierSql({.kind = "write", .max_hold_ms = 150}));
      const auto held = OwnKernelLocks(dir / mode);
      EXPECT_TRUE(held != before || watch.Elapsed() >= milliseconds(150));
      EXPECT_TRUE(
          Eventually([&] { return StateOf(dir / mode, token) == "expired"; }, milliseconds(3000)));
      EXPECT_GE(watch.Elapsed(), milliseconds(150));
      EXPECT_EQ(OwnKernelLocks(dir / mode), before);
      EXPECT_EQ(Checked(host, token), "4 barrier expired");
      Actor writer;
      writer.Open("w", dir / mode);
      EXPECT_TRUE(writer.Try("w", TransactionsSql(1)).ok());
      EXPECT_EQ(Released(host, token), "4 barrier violated: expired");
      EXPECT_EQ(
          Answered(host.Try("select count(*) from lockscope_barriers(" + Quote(dir / mode) + ")")),
          "0");
    }
  });
}

// Expected: a barrier that is released in time is none the worse for its limit.
TEST(ExpiryTest, ReleaseInTimeIsWell) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql({.max_hold_ms = 60'000}));
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// ---- Lost ----

// Some code of this process opens and closes a file of the database: all its locks are gone.
// Expected: check says what is missing, the state is `lost`; release fails; without a check before,
// release finds out itself.
TEST(LostTest, LocksThatOtherCodeClosedAwayAreMissed) {
  struct Case {
    std::string mode;
    std::string kind;
    std::string file;
  };
  const Case cases[] = {{"wal", "snapshot", ""},     {"wal", "snapshot", "-shm"},
                        {"wal", "write", "-shm"},    {"delete", "snapshot", ""},
                        {"delete", "exclusive", ""}, {"persist", "write", ""}};
  EachRound([&cases](const TempDir& dir) {
    for (const Case& one : cases) {
      for (const bool check_first : {true, false}) {
        SCOPED_TRACE(one.mode + " " + one.kind + " " + one.file + (check_first ? " checked" : ""));
        const std::string path = dir / (one.mode + one.kind + one.file + (check_first ? "c" : "r"));
        CreateDatabase(path, {.journal_mode = one.mode});
        Db host(path);
        const std::string token = host.Value(BarrierSql({.kind = one.kind}));
        ASSERT_EQ(Checked(host, token), "1");
        close(open((path + one.file).c_str(), O_RDONLY | O_CLOEXEC));
        if (check_first) {
          const std::string answer = Checked(host, token);
          EXPECT_TRUE(Contains(answer, "lost: the kernel no longer has ")) << answer;
          EXPECT_TRUE(Contains(answer, path)) << answer;
          EXPECT_EQ(StateOf(path, token), "lost");
          EXPECT_EQ(Checked(host, token), answer);
        }
        const std::string answer = Released(host, token);
        EXPECT_TRUE(Contains(answer, "barrier violated: lost: ")) << answer;
        EXPECT_EQ(host.Try("select lockscope_barrier_check(" + Quote(token) + ")").code,
                  SQLITE_MISUSE);
        host.Exec("begin immediate; rollback");
      }
    }
  });
}

// Another file lies where the database was, or its WAL is gone: the copier has read who knows what.
// Expected: release says so.
TEST(LostTest, ReplacedFilesAreNoticed) {
  EachRound([](const TempDir& dir) {
    for (const std::string file : {"", "-wal", "-shm"}) {
      SCOPED_TRACE(file);
      const std::string path = dir / ("replaced" + file + ".db");
      CreateDatabase(path);
      Actor writer;
      writer.Open("w", path);
      writer.Exec("w", TransactionsSql(2));
      Db host(path);
      const std::string token = host.Value(BarrierSql());
      std::filesystem::rename(path + file, path + file + ".away");
      const std::string answer = Released(host, token);
      EXPECT_TRUE(Contains(answer, "barrier violated: ")) << answer;
      EXPECT_TRUE(Contains(answer, "is another file now")) << answer;
      std::filesystem::rename(path + file + ".away", path + file);
    }
  });
}

// A writer that is killed between the two copies of the wal-index header.
void DieInTheWalIndex(Actor& writer) {
  writer.Exec("w", "begin immediate; update t set v = v where id < 9; insert into t(v) values(0)");
  writer.PauseAt("before shm-barrier");
  static_cast<void>(writer.Start("w", "commit"));
  writer.AwaitPoint();
  writer.Kill();
}

// Expected: within a second check says that the barrier is lost, which frees the checkpoint lock
// for the recovery; release says `violated`; then others read and write again, nothing is missing.
TEST(LostTest, WriterThatDiesInTheWalIndexEndsTheBarrier) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor reader;
    reader.Open("r", dir / "a.db");
    reader.Exec("r", "select count(*) from t");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(3));
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    DieInTheWalIndex(writer);
    // It tries to recover and may not, for up to 10 s: SQLITE_PROTOCOL then.
    Answer rows = reader.Start("r", "select count(*) from t");
    EXPECT_TRUE(Eventually([&] { return Checked(host, token) != "1"; }, milliseconds(1000)));
    const std::string answer = Checked(host, token);
    EXPECT_TRUE(Contains(answer, "lost: a writer died")) << answer;
    EXPECT_EQ(StateOf(dir / "a.db", token), "lost");
    EXPECT_EQ(Answered(rows.Wait()), "204");
    EXPECT_TRUE(Contains(Released(host, token), "barrier violated: lost"));
    EXPECT_TRUE(reader.Try("r", TransactionsSql(2)).ok());
    EXPECT_EQ(Verdict(dir / "a.db"), "ok 0 206");
  });
}

// Expected: release alone finds it as well, and lets go.
TEST(LostTest, WriterThatDiesInTheWalIndexMakesReleaseFail) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(3));
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    DieInTheWalIndex(writer);
    const StopWatch watch;
    EXPECT_TRUE(Contains(Released(host, token), "barrier violated: "));
    EXPECT_LE(watch.Elapsed(), milliseconds(2000));
    EXPECT_EQ(Verdict(dir / "a.db"), "ok 0 204");
  });
}

// Nobody checks; but a limit is set, so somebody watches.
// Expected: the barrier ends long before its limit.
TEST(LostTest, WatchedBarrierFindsTheDeadWriterItself) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(3));
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql({.max_hold_ms = 60'000}));
    DieInTheWalIndex(writer);
    EXPECT_TRUE(
        Eventually([&] { return StateOf(dir / "a.db", token) == "lost"; }, milliseconds(2000)));
    EXPECT_EQ(Verdict(dir / "a.db"), "ok 0 204");
    EXPECT_TRUE(Contains(Released(host, token), "barrier violated: lost"));
  });
}

// Torn before the barrier: whoever comes recovers, so the barrier does.
// Expected: it is had.
TEST(LostTest, WalIndexTornBeforehandIsRecovered) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor other;
    other.Open("c", dir / "a.db");
    other.Exec("c", "select count(*) from t");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(3));
    DieInTheWalIndex(writer);
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 204");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// ---- Owners ----

// Expected: its barriers go with it, also one that has a limit; the token is not known any more,
// and those of other connections stay.
TEST(OwnerTest, ClosingTheConnectionReleases) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db", {.journal_mode = "delete"});
    Db other(":memory:");
    {
      Db host(dir / "a.db");
      const std::string token = host.Value(BarrierSql({.kind = "write", .max_hold_ms = 60'000}));
      ASSERT_EQ(Checked(other, token), "1");
      Db second(dir / "b.db");
      const std::string stays = second.Value(BarrierSql());
      host.Close();
      EXPECT_EQ(OwnKernelLocks(dir / "a.db"), std::vector<std::string>());
      EXPECT_EQ(Checked(other, token).substr(0, 3), "21 ");
      EXPECT_EQ(Checked(other, stays), "1");
      EXPECT_EQ(Released(other, stays), "1");
    }
    EXPECT_EQ(OwnKernelLocks(dir / "b.db"), std::vector<std::string>());
    Actor writer;
    writer.Open("w", dir / "a.db");
    EXPECT_TRUE(writer.Try("w", TransactionsSql(1)).ok());
  });
}

// Expected: kill -9 of the process that holds it leaves nothing behind.
TEST(OwnerTest, KilledProcessLeavesNothing) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      HostProcess host;
      host.Open("h", dir / mode);
      host.Exec("h", BarrierSql({.kind = "exclusive"}));
      host.Kill();
      EXPECT_EQ(ReadLocksOf(dir / mode), std::vector<std::string>());
      Actor writer;
      writer.Open("w", dir / mode);
      EXPECT_TRUE(writer.Try("w", TransactionsSql(1)).ok());
      writer.Quit();
      EXPECT_EQ(FileSize(dir / (mode + "-wal")), -1);
    }
  });
}

// Killed at each of the locks that it takes.
// Expected: as if it had never been there.
TEST(OwnerTest, ProcessKilledWhileItAcquiresLeavesNothing) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", "pragma wal_autocheckpoint = 0");
    for (const std::string point :
         {"after shm-lock read0 shared", "after shm-lock ckpt exclusive",
          "after shm-lock read1 shared", "after shm-lock write exclusive"}) {
      SCOPED_TRACE(point);
      writer.Exec("w", TransactionsSql(1));
      ASSERT_FALSE(writer.Checkpoint("w", "full").busy);
      HostProcess host;
      host.Open("h", dir / "a.db");
      host.PauseAt(point);
      static_cast<void>(host.Start("h", BarrierSql({.kind = "write"})));
      host.AwaitPoint();
      host.Kill();
      EXPECT_EQ(KernelLocks(dir / "a.db", host.pid()), std::vector<std::string>());
      EXPECT_TRUE(writer.Try("w", TransactionsSql(1)).ok());
      EXPECT_FALSE(writer.Checkpoint("w", "truncate").busy);
    }
    writer.Quit();
    EXPECT_EQ(Verdict(dir / "a.db"), "ok 0 208");
  });
}

// lockscope_init() again, as a second .load does it.
// Expected: the connection keeps its barriers.
TEST(OwnerTest, SecondInitKeepsBarriers) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    ASSERT_EQ(lockscope_init(host.handle()), SQLITE_OK);
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
  });
}

}  // namespace
}  // namespace lockscope::testing
