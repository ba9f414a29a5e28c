// How a barrier is acquired, and what may stand there when it is.
//
//   AcquisitionTest   files: the WAL absent, empty, truncated, to be recovered; a hot journal; a
//                     checkpoint that died; names and encodings
//                     others: a TRUNCATE checkpointer that waits, a holder that goes away, several
//                     barriers at once in different orders
//                     its end: sqlite3_interrupt, one attempt
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "barrier/hosted.h"

namespace lockscope::testing {
namespace {

using std::chrono::milliseconds;

// ---- What the files may look like ----

// A database in WAL mode that was closed in good order: no -wal and no -shm.
// Expected: the database alone is listed, and is a whole copy, of this moment.
TEST(AcquisitionTest, AbsentWalIsNotListed) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    ASSERT_EQ(FileSize(dir / "a.db-wal"), -1);
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Roles(ListedFiles(host, token)), "database");
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// The WAL is there and has no byte: somebody read and nobody wrote. Writers go on under the
// barrier. Expected: the database alone is listed; whole or exact, it is a copy of the barrier's
// instant.
TEST(AcquisitionTest, EmptyWalIsNotListed) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", "select count(*) from t");
    ASSERT_EQ(FileSize(dir / "a.db-wal"), 0);
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Roles(ListedFiles(host, token)), "database");
    writer.Exec("w", TransactionsSql(20));
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "whole", Copy::kWhole)), "ok 0 200");
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "exact", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Expected: as with an empty WAL, with all that was committed.
TEST(AcquisitionTest, FreshlyTruncatedWalIsNotListed) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(10));
    writer.Exec("w", "pragma wal_checkpoint(truncate)");
    ASSERT_EQ(FileSize(dir / "a.db-wal"), 0);
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Roles(ListedFiles(host, token)), "database");
    writer.Exec("w", TransactionsSql(20));
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kWhole)), "ok 0 210");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Expected: the first reader recovers it, which is the barrier's own; the WAL is listed.
TEST(AcquisitionTest, WalThatMustBeRecoveredIsRecovered) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    LeaveWalToRecover(dir / "a.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Roles(ListedFiles(host, token)), "database wal");
    const std::string verdict = Verdict(CopyListed(host, token, dir / "copy", Copy::kExact));
    EXPECT_EQ(verdict.substr(0, 3), "ok ");
    EXPECT_EQ(Released(host, token), "1");
    EXPECT_EQ(host.Value("select 'ok ' || sum(v) || ' ' || count(*) from t"), verdict);
  });
}

// Expected: rolled back first; then RESERVED is held, and the copy is what was committed.
TEST(AcquisitionTest, HotJournalIsRolledBack) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
    LeaveHotJournal(dir / "a.db");
    ASSERT_GT(FileSize(dir / "a.db-journal"), 0);
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(FileSize(dir / "a.db-journal"), -1);
    EXPECT_TRUE(HoldsByte(dir / "a.db", getpid(), kWrite, kReservedByte));
    EXPECT_EQ(Roles(ListedFiles(host, token)), "database");
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Killed between two pages that it wrote into the database file, others have the WAL open.
// Expected: the barrier is had at once; database and WAL together are a whole copy.
TEST(AcquisitionTest, CheckpointThatDiedHalfWayDoesNoHarm) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", "pragma wal_autocheckpoint = 0");
    writer.Exec("w", TransactionsSql(30));
    Actor checkpointer;
    checkpointer.Open("c", dir / "a.db");
    checkpointer.Exec("c", "select count(*) from t");
    checkpointer.PauseAt("before write main nth=3");
    Answer checkpoint = checkpointer.Start("c", "pragma wal_checkpoint(passive)");
    checkpointer.AwaitPoint();
    checkpointer.Kill();
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Roles(ListedFiles(host, token)), "database wal");
    writer.Exec("w", TransactionsSql(10));
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "exact", Copy::kExact)), "ok 0 230");
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "whole", Copy::kWhole)), "ok 0 240");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Blanks, quotes and what means something in a URI.
// Expected: a name is a name.
TEST(AcquisitionTest, OddFileNamesArePassedOn) {
  EachRound([](const TempDir& dir) {
    const std::string path = dir / "a b'c\"d%20e?f#g&h=ä;.db";
    CreateDatabase(path);
    Db host(":memory:");
    host.Exec("attach " + Quote("file:" + dir.path() + "/a b'c\"d%2520e%3ff%23g&h=ä;.db") +
              " as odd");
    ASSERT_EQ(host.Value("select count(*) from odd.t"), "200");
    const std::string token = host.Value(BarrierSql());
    ASSERT_EQ(ListedFiles(host, token).at(0).path, path);
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// SQLite attaches only databases of one encoding to each other.
// Expected: the encoding is no matter to a barrier.
TEST(AcquisitionTest, EveryTextEncodingIsServed) {
  EachRound([](const TempDir& dir) {
    for (const std::string encoding : {"UTF-8", "UTF-16le", "UTF-16be"}) {
      for (const std::string mode : {"wal", "delete"}) {
        SCOPED_TRACE(encoding + " " + mode);
        Db host(dir / (encoding + mode));
        host.Exec("pragma encoding = " + Quote(encoding) + "; pragma journal_mode = " + mode +
                  "; create table t(v int); insert into t values(0)");
        const std::string token = host.Value(BarrierSql());
        EXPECT_EQ(Verdict(CopyListed(host, token, dir / ("copy" + encoding + mode), Copy::kExact)),
                  "ok 0 1");
        EXPECT_EQ(Released(host, token), "1");
      }
    }
  });
}

// A schema that this SQLite does not understand, a table of a module that is not loaded: nobody
// needs it to copy files.
// Expected: the barrier is had.
TEST(AcquisitionTest, SchemaIsNotRead) {
  EachRound([](const TempDir& dir) {
    UnreadDb host(dir / "a.db", "wal");
    {
      Actor writer;
      writer.Open("w", dir / "a.db");
      writer.Exec("w",
                  "pragma writable_schema = 1; update sqlite_schema set sql = 'create table t(\"' "
                  "where name = 't'");
    }
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(Released(host, token), "1");
  });
}

// A file of no bytes is a database.
// Expected: the barrier is had, and keeps writers out as RESERVED does.
TEST(AcquisitionTest, EmptyFileIsADatabase) {
  EachRound([](const TempDir& dir) {
    Db host(dir / "a.db");
    host.Exec("pragma user_version");
    Actor writer;
    writer.Open("w", dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(writer.Try("w", "create table x(y)").code, SQLITE_BUSY);
    EXPECT_EQ(ListedFiles(host, token).at(0).bytes, 0);
    EXPECT_EQ(Released(host, token), "1");
    writer.Exec("w", "create table x(y)");
  });
}

// Nobody but the host, which only reads; all kinds, all modes.
// Expected: check and release say 1, the copy is the database.
TEST(AcquisitionTest, QuietDatabaseInEveryKindAndMode) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete", "truncate", "persist"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host(dir / mode);
      ASSERT_EQ(host.Value("select count(*) from t"), "200");
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        SCOPED_TRACE(mode + " " + kind);
        const auto before = OwnKernelLocks(dir / mode);
        const std::string token = host.Value(BarrierSql({.kind = kind}));
        EXPECT_EQ(Checked(host, token), "1");
        EXPECT_EQ(Verdict(CopyListed(host, token, dir / (mode + kind), Copy::kWhole)), "ok 0 200");
        EXPECT_EQ(Checked(host, token), "1");
        EXPECT_EQ(Released(host, token), "1");
        EXPECT_EQ(OwnKernelLocks(dir / mode), before);
      }
    }
  });
}

// ---- Others in the way ----

// A TRUNCATE checkpointer with a timeout of 5 s holds the checkpoint and the write lock while it
// waits for a reader; a barrier is attempted meanwhile, over and over.
// Expected: when the reader ends the checkpointer comes through, a writer after it, and the barrier
// too. SQLite's own waits are some ms here (its busy handler sleeps up to 100); a barrier that kept
// what it has while it waits would stop everybody for 5 s.
void TruncateMeetsBarrier(const TempDir& dir, bool old_reader) {
  CreateDatabase(dir / "a.db");
  Actor writer;
  writer.Open("w", dir / "a.db");
  writer.BusyTimeout("w", 10'000);
  writer.Exec("w", TransactionsSql(5));
  Actor reader;
  reader.Open("r", dir / "a.db");
  reader.Exec("r", "begin; select count(*) from t");
  if (old_reader) writer.Exec("w", TransactionsSql(5));
  Actor checkpointer;
  checkpointer.Open("c", dir / "a.db");
  checkpointer.Exec("c", "select count(*) from t");
  checkpointer.BusyTimeout("c", 5'000);
  checkpointer.TellAt("before sleep");
  Answer truncate = checkpointer.Start("c", "pragma wal_checkpoint(truncate)");
  checkpointer.AwaitPoint();

  HostProcess host;
  host.Open("h", dir / "a.db");
  Answer barrier = host.Start("h", BarrierSql({.timeout_ms = 20'000}));
  std::this_thread::sleep_for(milliseconds(100));
  ASSERT_FALSE(barrier.Ready());
  ASSERT_FALSE(truncate.Ready());

  const StopWatch watch;
  reader.Exec("r", "commit");
  Answer write = writer.Start("w", TransactionsSql(1));
  EXPECT_TRUE(write.Wait().ok());
  const milliseconds writer_waited = watch.Elapsed();
  EXPECT_EQ(truncate.Wait().text().substr(0, 1), "0");
  EXPECT_TRUE(barrier.Wait().ok());
  std::cout << "the writer waited " << writer_waited.count() << " ms\n";
  EXPECT_LE(writer_waited, milliseconds(1000));
}

TEST(AcquisitionTest, TruncateCheckpointerThatWaitsForAnOldReaderComesThrough) {
  EachRound([](const TempDir& dir) { TruncateMeetsBarrier(dir, true); });
}

TEST(AcquisitionTest, TruncateCheckpointerThatWaitsForAReaderToLeaveTheWalComesThrough) {
  EachRound([](const TempDir& dir) { TruncateMeetsBarrier(dir, false); });
}

// EXCLUSIVE in a rollback mode, and exclusive locking mode of a WAL: nobody can even read. The
// holder goes away within the timeout.
// Expected: the barrier waits for it and is had.
TEST(AcquisitionTest, DatabaseThatNobodyMayReadIsWaitedFor) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      SCOPED_TRACE(mode);
      UnreadDb host(dir / mode, mode);
      auto holder = std::make_unique<Actor>();
      holder->Open("c", dir / mode);
      holder->Exec("c",
                   "pragma locking_mode = exclusive; begin exclusive; update t set v = v; commit");
      std::thread end([&holder] {
        std::this_thread::sleep_for(milliseconds(100));
        holder->Kill();
      });
      const Reply token = host.Try(BarrierSql({.timeout_ms = 20'000}));
      end.join();
      ASSERT_TRUE(token.ok()) << token;
      EXPECT_EQ(Released(host, token.text()), "1");
    }
  });
}

// Three threads of this process and two other processes, on the same two databases in different
// orders, of all kinds.
// Expected: all are had in the end, one after the other.
TEST(AcquisitionTest, SeveralBarriersInDifferentOrdersAllComeThrough) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db", {.journal_mode = "delete"});
    CreateDatabase(dir / "c.db");
    const std::string attach[] = {
        "attach " + Quote(dir / "a.db") + " as a; attach " + Quote(dir / "b.db") +
            " as b; attach " + Quote(dir / "c.db") + " as c",
        "attach " + Quote(dir / "c.db") + " as c; attach " + Quote(dir / "b.db") +
            " as b; attach " + Quote(dir / "a.db") + " as a",
        "attach " + Quote(dir / "b.db") + " as b; attach " + Quote(dir / "a.db") +
            " as a; attach " + Quote(dir / "c.db") + " as c"};
    const std::string kinds[] = {"snapshot", "write", "exclusive"};
    constexpr int kEach = 3;
    HostProcess others[2];
    std::vector<Answer> answers;
    for (int i = 0; i < 2; ++i) {
      others[i].Open("h", ":memory:");
      others[i].BusyTimeout("h", 20'000);  // ATTACH reads, and others may hold EXCLUSIVE
      others[i].Exec("h", attach[i]);
      for (int k = 0; k < kEach; ++k) {
        const std::string barrier =
            BarrierSql({.kind = kinds[(i + k) % 3], .timeout_ms = 20'000}).substr(7);
        answers.push_back(
            others[i].Start("h", "select lockscope_barrier_release((select " + barrier + "))"));
      }
    }
    std::vector<std::string> failures(3);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&, i] {
        Db host(":memory:");
        sqlite3_busy_timeout(host.handle(), 20'000);
        host.Exec(attach[i]);
        for (int k = 0; k < kEach; ++k) {
          const Reply token =
              host.Try(BarrierSql({.kind = kinds[(i + k) % 3], .timeout_ms = 20'000}));
          if (!token.ok()) failures[i] += Answered(token) + "\n";
          if (!token.ok()) continue;
          const std::string released = Released(host, token.text());
          if (released != "1") failures[i] += released + "\n";
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& failure : failures) EXPECT_EQ(failure, "");
    for (Answer& answer : answers) EXPECT_EQ(Answered(answer.Wait()), "1");
  });
}

// ---- Its end ----

// A checkpointer that has stopped with the checkpoint lock; the barrier would wait for 30 s.
// Expected: SQLITE_INTERRUPT well within a second, nothing held.
TEST(AcquisitionTest, InterruptEndsTheWait) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor checkpointer;
    checkpointer.Open("c", dir / "a.db");
    checkpointer.Exec("c", TransactionsSql(3));
    checkpointer.PauseAt("after shm-lock ckpt exclusive");
    Answer checkpoint = checkpointer.Start("c", "pragma wal_checkpoint");
    checkpointer.AwaitPoint();
    Db host(dir / "a.db");
    host.Exec("select count(*) from t");
    const auto before = OwnKernelLocks(dir / "a.db");
    StopWatch watch;
    std::thread interrupter([&host, &watch] {
      std::this_thread::sleep_for(milliseconds(100));
      watch = StopWatch();
      sqlite3_interrupt(host.handle());
    });
    const Reply reply = host.Try(BarrierSql({.timeout_ms = 30'000}));
    interrupter.join();
    EXPECT_EQ(reply.code, SQLITE_INTERRUPT) << reply;
    EXPECT_LE(watch.Elapsed(), milliseconds(1000));
    EXPECT_EQ(OwnKernelLocks(dir / "a.db"), before);
    checkpointer.Continue();
    EXPECT_TRUE(checkpoint.Wait().ok());
    const Reply again = host.Try(BarrierSql());
    EXPECT_TRUE(again.ok()) << again;  // the interrupt is not left over
  });
}

// Expected: with timeout 0 one attempt is made: granted where all is free, refused at once else.
TEST(AcquisitionTest, TimeoutZeroIsOneAttempt) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql({.timeout_ms = 0}));
    const StopWatch watch;
    EXPECT_EQ(host.Try(BarrierSql({.timeout_ms = 0})).code, SQLITE_BUSY);
    EXPECT_LE(watch.Elapsed(), milliseconds(1000));
    EXPECT_EQ(Released(host, token), "1");
  });
}

}  // namespace
}  // namespace lockscope::testing
