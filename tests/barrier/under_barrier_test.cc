// What others do while a barrier is held, and what becomes of the copies.
//
//   UnderBarrierTest   who may do what, by kind and mode
//                      the WAL: a writer that would restart it, has half restarted it, cuts it off
//                      others: journal mode, VACUUM, backup API, checkpoints, last connection
//                      closing sizes: pages of 64 KB
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "barrier/hosted.h"

namespace lockscope::testing {
namespace {

// ---- Who may do what ----

struct Allowed {
  std::string mode;
  std::string kind;
  bool read;
  bool write;
  bool checkpoint;
};

// Expected: the table. Refusals are SQLITE_BUSY, and leave no trace.
TEST(UnderBarrierTest, OthersMayDoWhatTheKindSays) {
  const Allowed table[] = {
      {"wal", "snapshot", true, true, false},   {"wal", "write", true, false, false},
      {"wal", "exclusive", true, false, false}, {"delete", "snapshot", true, false, true},
      {"delete", "write", true, false, true},   {"delete", "exclusive", false, false, true}};
  EachRound([&table](const TempDir& dir) {
    for (const Allowed& allowed : table) {
      SCOPED_TRACE(allowed.kind + " " + allowed.mode);
      const std::string path = dir / (allowed.kind + allowed.mode);
      CreateDatabase(path, {.journal_mode = allowed.mode});
      Actor other;
      other.Open("c", path);
      other.Exec("c", TransactionsSql(2));
      Db host(path);
      const std::string token = host.Value(BarrierSql({.kind = allowed.kind}));
      EXPECT_EQ(other.Try("c", "select count(*) from t").code,
                allowed.read ? SQLITE_OK : SQLITE_BUSY);
      EXPECT_EQ(other.Try("c", "begin immediate; update t set v = v where id = 1; commit").code,
                allowed.write ? SQLITE_OK : SQLITE_BUSY);
      if (allowed.mode == "wal") {
        EXPECT_TRUE(other.Checkpoint("c", "passive").busy);
        EXPECT_TRUE(other.Checkpoint("c", "truncate").busy);
      }
      EXPECT_EQ(Checked(host, token), "1");
      EXPECT_EQ(Verdict(CopyListed(host, token, path + "-copy", Copy::kExact)), "ok 0 202");
      EXPECT_EQ(Released(host, token), "1");
      EXPECT_TRUE(other.Try("c", TransactionsSql(1)).ok());
      EXPECT_FALSE(other.Checkpoint("c", "passive").busy);
    }
  });
}

// The bytes in the kernel, of the barrier alone: the host has read nothing.
// Expected: SHARED on the database, checkpoint lock, a slot from 1 on, the write lock for `write`;
// RESERVED or EXCLUSIVE in the rollback modes.
TEST(UnderBarrierTest, KernelHasTheLocks) {
  EachRound([](const TempDir& dir) {
    const std::string wal = dir / "wal";
    const std::string rollback = dir / "delete";
    UnreadDb host(wal, "wal");
    UnreadDb other(rollback, "delete");
    const pid_t own = getpid();
    for (const std::string kind : {"snapshot", "write", "exclusive"}) {
      SCOPED_TRACE(kind);
      const std::string token = host.Value(BarrierSql({.kind = kind}));
      EXPECT_TRUE(HoldsByte(wal, own, kRead, kSharedFirst));
      EXPECT_TRUE(HoldsByte(wal + "-shm", own, kWrite, kWalCkptByte));
      EXPECT_TRUE(HoldsByte(wal + "-shm", own, kRead, kWalReadByte));
      EXPECT_TRUE(HoldsByte(wal + "-shm", own, kRead, kWalReadByte + 1));
      EXPECT_TRUE(HoldsByte(wal + "-shm", own, kRead, kShmOpenByte));
      EXPECT_EQ(HoldsByte(wal + "-shm", own, kWrite, kWalWriteByte), kind != "snapshot");
      EXPECT_EQ(Released(host, token), "1");
      EXPECT_EQ(OwnKernelLocks(wal), std::vector<std::string>());

      const std::string second = other.Value(BarrierSql({.kind = kind}));
      EXPECT_TRUE(HoldsByte(rollback, own, kWrite, kReservedByte));
      EXPECT_EQ(HoldsByte(rollback, own, kWrite, kSharedFirst), kind == "exclusive");
      EXPECT_EQ(Released(other, second), "1");
      EXPECT_EQ(OwnKernelLocks(rollback), std::vector<std::string>());
    }
  });
}

// ---- The WAL ----

// All of the WAL is checkpointed when the barrier is had, so that the next writer would begin it
// anew; a copier is half way through it then. Either file first.
// Expected: the WAL is appended to. The exact copy is the barrier's instant, the whole one a later
// state; a read transaction alone gives corrupt copies here.
TEST(UnderBarrierTest, FullyCheckpointedWalIsNotRestartedUnderTheCopy) {
  EachRound([](const TempDir& dir) {
    for (const bool wal_first : {false, true}) {
      for (const bool exact : {false, true}) {
        const std::string name = std::string(wal_first ? "w" : "d") + (exact ? "e" : "a");
        SCOPED_TRACE(name);
        const std::string path = dir / name;
        CreateDatabase(path);
        Actor writer;
        writer.Open("w", path);
        writer.Exec("w", "pragma wal_autocheckpoint = 0");
        writer.Exec("w", TransactionsSql(30));
        ASSERT_FALSE(writer.Checkpoint("w", "full").busy);
        Db host(path);
        const std::string token = host.Value(BarrierSql());
        const auto files = ListedFiles(host, token);
        ASSERT_EQ(Roles(files), "database wal");
        const std::int64_t wal_bytes = files[1].bytes;
        EXPECT_EQ(wal_bytes, FileSize(path + "-wal"));
        const std::string copy = path + ".copy";
        const auto copy_database = [&] { CopyRange(path, copy, 0, files[0].bytes); };
        if (!wal_first) copy_database();
        CopyRange(path + "-wal", copy + "-wal", 0, wal_bytes / 2);
        writer.Exec("w", TransactionsSql(40));
        EXPECT_GT(FileSize(path + "-wal"), wal_bytes);
        CopyRange(path + "-wal", copy + "-wal", wal_bytes / 2,
                  exact ? wal_bytes : FileSize(path + "-wal"));
        if (wal_first) copy_database();
        EXPECT_EQ(Released(host, token), "1");
        EXPECT_EQ(Verdict(copy), exact ? "ok 0 230" : "ok 0 270");
      }
    }
  });
}

// A writer has restarted the wal-index and has not yet written the WAL's header, or has written
// some and rolls back, or dies there. The file still is the old WAL; the next writer overwrites it
// while the listed files are copied whole.
// Expected: the WAL is not listed; the database alone is the copy, of the moment before.
TEST(UnderBarrierTest, HalfRestartedWalIsNotListed) {
  enum class End { kCommits, kDies, kRollsBack };
  EachRound([](const TempDir& dir) {
    for (const End end : {End::kCommits, End::kDies, End::kRollsBack}) {
      SCOPED_TRACE(static_cast<int>(end));
      const std::string path = dir / ("a" + std::to_string(static_cast<int>(end)));
      CreateDatabase(path);
      Actor next;
      next.Open("w", path);
      next.Exec("w", "pragma wal_autocheckpoint = 0");
      next.Exec("w", TransactionsSql(30));
      ASSERT_FALSE(next.Checkpoint("w", "full").busy);
      Actor first;
      first.Open("w", path);
      first.Exec("w", "pragma cache_size = 5; begin immediate");
      if (end == End::kRollsBack) {
        first.Exec("w", "update t set pad = randomblob(300), v = v + 1");  // spills
        first.Exec("w", "rollback");
      } else {
        first.Exec("w", "insert into t(v, pad) values(0, 'first')");
        first.PauseAt("before write wal");
      }
      Answer commit = first.Start("w", end == End::kRollsBack ? "select 1" : "commit");
      if (end != End::kRollsBack) first.AwaitPoint();
      if (end == End::kDies) first.Kill();

      Db host(path);
      const std::string token = host.Value(BarrierSql());
      const auto files = ListedFiles(host, token);
      EXPECT_EQ(Roles(files), "database");
      ASSERT_GT(FileSize(path + "-wal"), 0);  // the old one: whoever copied it as well would lose
      CopyRange(path, path + ".copy", 0, files[0].bytes / 2);
      if (end == End::kCommits) {
        first.Continue();
        EXPECT_TRUE(commit.Wait().ok());
      }
      next.Exec("w", TransactionsSql(5));
      CopyRange(path, path + ".copy", files[0].bytes / 2, FileSize(path));
      next.Exec("w", TransactionsSql(5));
      EXPECT_EQ(Checked(host, token), "1");
      EXPECT_EQ(Released(host, token), "1");
      EXPECT_EQ(Verdict(path + ".copy"), "ok 0 230");
      EXPECT_EQ(next.Exec("w", "select count(*) from t")[0], end == End::kCommits ? "241" : "240");
    }
  });
}

// A transaction restarted the WAL before the barrier, and has spilled some of itself into it; when
// it commits, journal_size_limit cuts the file's unused tail off.
// Expected: that is no violation, and the copy is the moment before it.
TEST(UnderBarrierTest, WalMayLoseItsUnusedTail) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", "pragma wal_autocheckpoint = 0");
    writer.Exec("w", TransactionsSql(60));
    ASSERT_FALSE(writer.Checkpoint("w", "full").busy);
    writer.Exec("w", "pragma journal_size_limit = 0; pragma cache_size = 5");
    writer.Exec("w", "begin immediate; update t set v = v + 1, pad = randomblob(300)");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    const std::int64_t before = FileSize(dir / "a.db-wal");
    writer.Exec("w", "update t set v = v - 1; commit");
    EXPECT_LT(FileSize(dir / "a.db-wal"), before);
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kWhole)), "ok 0 260");
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// A writer that has stopped between the two copies of the wal-index header, holding the write lock:
// slow, and not dead.
// Expected: the barrier is kept, and proves itself once the writer has gone on.
TEST(UnderBarrierTest, SlowWriterInTheWalIndexIsNotTakenForDead) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(3));
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    writer.Exec("w", "begin immediate; update t set v = v where id < 9");
    writer.PauseAt("before shm-barrier");
    Answer commit = writer.Start("w", "commit");
    writer.AwaitPoint();
    const StopWatch watch;
    while (watch.Elapsed() < std::chrono::milliseconds(250)) {
      EXPECT_EQ(Checked(host, token), "1");
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    writer.Continue();
    EXPECT_TRUE(commit.Wait().ok());
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// The same writer at release.
// Expected: release waits for it, for nothing was violated.
TEST(UnderBarrierTest, ReleaseWaitsForASlowWriterInTheWalIndex) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(3));
    HostProcess host;
    host.Open("h", dir / "a.db");
    const std::string token = host.Exec("h", BarrierSql())[0];
    writer.Exec("w", "begin immediate; update t set v = v where id < 9");
    writer.PauseAt("before shm-barrier");
    Answer commit = writer.Start("w", "commit");
    writer.AwaitPoint();
    Answer released = host.Start("h", "select lockscope_barrier_release(" + Quote(token) + ")");
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    writer.Continue();
    EXPECT_TRUE(commit.Wait().ok());
    EXPECT_EQ(Answered(released.Wait()), "1");
  });
}

// Five readers, one on each read slot, and a commit after the last of them.
// Expected: the barrier shares a slot, and its copy has the last commit too.
TEST(UnderBarrierTest, ReadSlotIsSharedWhereAllAreInUse) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    const auto readers = HoldReadSlots(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(1));
    const std::string verdict = "ok 0 " + writer.Exec("w", "select count(*) from t")[0];
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    writer.Exec("w", TransactionsSql(5));
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), verdict);
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Expected: `bytes` is a WAL header and as many frames, and the copy is whole.
TEST(UnderBarrierTest, PagesOf64KilobytesAreCounted) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db", {.page_size = 65536});
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(5));
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    const auto files = ListedFiles(host, token);
    ASSERT_EQ(Roles(files), "database wal");
    EXPECT_GT(files[1].frames, 0);
    EXPECT_EQ(files[1].bytes, 32 + files[1].frames * (24 + 65536));
    writer.Exec("w", TransactionsSql(5));
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 205");
    EXPECT_EQ(Released(host, token), "1");
  });
}

// ---- What others try ----

// Expected: the changer is refused with SQLITE_BUSY, the mode stays.
TEST(UnderBarrierTest, JournalModeCannotBeChanged) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        SCOPED_TRACE(mode + " " + kind);
        const std::string path = dir / (mode + kind);
        CreateDatabase(path, {.journal_mode = mode});
        Actor other;
        other.Open("c", path);
        other.Exec("c", "select count(*) from t");
        Db host(path);
        const std::string token = host.Value(BarrierSql({.kind = kind}));
        const std::string change =
            std::string("pragma journal_mode = ") + (mode == "wal" ? "delete" : "wal");
        EXPECT_EQ(other.Try("c", change).code & 0xff, SQLITE_BUSY);
        EXPECT_EQ(Verdict(CopyListed(host, token, path + "-copy", Copy::kExact)), "ok 0 200");
        EXPECT_EQ(Released(host, token), "1");
        EXPECT_EQ(other.Exec("c", "pragma journal_mode")[0], mode);
      }
    }
  });
}

// Expected: in WAL mode it goes into the WAL, and the copy does not have it; else it is refused.
TEST(UnderBarrierTest, VacuumAndBackupOntoItDoNotReachTheCopy) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "source.db", {.journal_mode = "delete", .rows = 120});
    for (const bool vacuum : {true, false}) {
      for (const std::string kind : {"snapshot", "write"}) {
        for (const std::string mode : {"wal", "delete"}) {
          SCOPED_TRACE(std::string(vacuum ? "vacuum " : "backup ") + kind + " " + mode);
          const std::string path = dir / (std::string(vacuum ? "v" : "b") + kind + mode);
          CreateDatabase(path, {.journal_mode = mode});
          Actor other;
          other.Open("c", path);
          other.Exec("c", TransactionsSql(3) + "delete from t where id > 190 and v = 0");
          const std::string verdict = "ok 0 " + other.Exec("c", "select count(*) from t")[0];
          Db host(path);
          const std::string token = host.Value(BarrierSql({.kind = kind}));
          const Reply reply =
              vacuum ? other.Try("c", "vacuum") : other.Backup("c", dir / "source.db");
          const bool goes_on = mode == "wal" && kind == "snapshot";
          EXPECT_EQ(reply.code & 0xff, goes_on ? SQLITE_OK : SQLITE_BUSY) << reply;
          EXPECT_EQ(Verdict(CopyListed(host, token, path + "-copy", Copy::kExact)), verdict);
          EXPECT_EQ(Released(host, token), "1");
          EXPECT_EQ(Verdict(path), goes_on && !vacuum ? "ok 0 120" : verdict);
        }
      }
    }
  });
}

// The last other connection closes; it would checkpoint and unlink the WAL. The host may have
// closed nothing: it holds the barrier, and has never read. Expected: database and WAL stay as they
// are, the copy is whole, and the next to open finds all.
TEST(UnderBarrierTest, LastConnectionThatClosesLeavesTheWal) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    auto writer = std::make_unique<Actor>();
    writer->Open("w", dir / "a.db");
    writer->Exec("w", TransactionsSql(20));
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    const std::int64_t database_bytes = FileSize(dir / "a.db");
    const std::int64_t wal_bytes = FileSize(dir / "a.db-wal");
    writer->Quit();
    EXPECT_EQ(FileSize(dir / "a.db"), database_bytes);
    EXPECT_EQ(FileSize(dir / "a.db-wal"), wal_bytes);
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kWhole)), "ok 0 220");
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
    EXPECT_EQ(Verdict(dir / "a.db"), "ok 0 220");
  });
}

// Processes come, read, write and go under the barrier, with autocheckpoint after every commit.
// Expected: no frame is checkpointed, the database file does not change, release says 1.
TEST(UnderBarrierTest, WritersWithAutocheckpointGoOn) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    const std::int64_t bytes = FileSize(dir / "a.db");
    for (int i = 0; i < 3; ++i) {
      Actor writer;
      writer.Open("w", dir / "a.db");
      writer.Exec("w", "pragma wal_autocheckpoint = 1");
      writer.Exec("w", TransactionsSql(10));
      writer.Quit();
    }
    EXPECT_EQ(FileSize(dir / "a.db"), bytes);
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
    EXPECT_EQ(Verdict(dir / "a.db"), "ok 0 230");
  });
}

// The host itself goes on with its own connection while it holds the barrier.
// Expected: its reads and, under a snapshot, its writes do no harm to the barrier's locks.
TEST(UnderBarrierTest, HostGoesOnWithItsOwnConnections) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    host.Exec(TransactionsSql(5));
    for (int i = 0; i < 5; ++i) {
      Db second(dir / "a.db");
      second.Exec("begin; select count(*) from t");
      host.Exec(TransactionsSql(1));
      second.Exec("commit; pragma wal_checkpoint(passive)");
    }
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
    EXPECT_EQ(Released(host, token), "1");
  });
}

}  // namespace
}  // namespace lockscope::testing
