// Databases out of the ordinary: each works, or gets a clear error.
//   no file     in memory, temporary, a VFS whose names are no files, deleted while open
//   read-only   mode=ro, immutable=1, a folder without write permission
//   VFSes       unix-excl in WAL mode (the others: shim/register_test)
//   modes       locking_mode=EXCLUSIVE, mmap, every journal mode
//   wal-index   zeros, noise, cut short: by path

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "core/session.h"
#include "lockscope.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;
namespace fs = std::filesystem;

class OddTest : public ::testing::Test {
 protected:
  std::string Of(const std::string& path) { return "(" + Quote(path) + ")"; }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

// ---- no file ----

TEST_F(OddTest, InMemoryDatabasesHaveNoRows) {
  for (const char* name : {":memory:", "", "file::memory:?cache=shared", "file:x?mode=memory"}) {
    SCOPED_TRACE(name);
    Db db(name);
    db.Exec("create table t(x); begin; insert into t values (1)");
    for (const char* table :
         {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
      EXPECT_EQ(db.Value("select count(*) from lockscope_" + std::string(table)), "0") << table;
    }
    EXPECT_EQ(db.Try("select * from lockscope_locks('main')").code, SQLITE_MISUSE);
    db.Exec("commit");
  }
}

TEST_F(OddTest, AVfsWhoseNamesAreNoFilesIsPassedOver) {
  if (sqlite3_vfs_find("memdb") == nullptr) GTEST_SKIP() << "this SQLite has no memdb";
  Db db("file:/shared-in-memory?vfs=memdb");
  db.Exec("create table t(x); begin; insert into t values (1)");
  EXPECT_EQ(db.Value("select count(*) from lockscope_locks"), "0");
  db.Exec("commit");
}

TEST_F(OddTest, ADatabaseDeletedWhileItIsOpenIsStillToldOfByItsConnection) {
  Db db(path_);
  db.Exec("create table t(x); begin immediate");
  fs::remove(path_);
  EXPECT_EQ(db.Value("select source, state from lockscope_connections"), "shim writing");
  EXPECT_EQ(db.Value("select resource, mode, verified from lockscope_locks"),
            "database RESERVED 1");
  EXPECT_EQ(look_.Try("select * from lockscope_locks" + Of(path_)).code, SQLITE_CANTOPEN);
}

TEST_F(OddTest, ADatabaseReplacedWhileItIsOpenIsNotTakenForTheOldOne) {
  Db old(path_);
  old.Exec("create table t(x); begin immediate");
  fs::rename(path_, dir_ / "moved.db");
  Db young(path_);
  young.Exec("create table t(x)");
  EXPECT_EQ(look_.Lines("select mode, verified from lockscope_locks" + Of(dir_ / "moved.db")),
            Lines{"RESERVED 1"});
}

// ---- read-only ----

TEST_F(OddTest, OpenedReadOnly) {
  for (const char* mode : {"delete", "wal"}) {
    SCOPED_TRACE(mode);
    const std::string path = dir_ / (std::string(mode) + ".db");
    CreateDatabase(path, {.journal_mode = mode});
    Db db("file:" + path + "?mode=ro");
    db.Exec("begin; select * from t limit 1");
    EXPECT_EQ(db.Value("select state, journal_mode from lockscope_connections"),
              std::string("reading ") + mode);
    EXPECT_EQ(db.Value("select min(verified) from lockscope_locks"), "1");
    EXPECT_EQ(db.Value("select count(*) from lockscope_snapshots"), "1");
    EXPECT_FALSE(db.Try("insert into t values (1, 1, 1)").ok());
  }
}

TEST_F(OddTest, ImmutableTakesNoLocks) {
  CreateDatabase(path_);
  Db db("file:" + path_ + "?immutable=1");
  db.Exec("begin; select * from t limit 1");
  EXPECT_EQ(db.Value("select source, state from lockscope_connections"), "shim idle");
  EXPECT_EQ(db.Value("select count(*) from lockscope_locks"), "0");
  EXPECT_EQ(db.Value("select count(*) from lockscope_snapshots"), "0");
}

TEST_F(OddTest, AFolderWithoutWritePermissionCanBeLookedAt) {
  CreateDatabase(dir_ / "wal.db");
  CreateDatabase(dir_ / "delete.db", {.journal_mode = "delete"});
  for (const char* name : {"wal.db", "delete.db"}) {
    fs::permissions(dir_ / name,
                    fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  }
  fs::permissions(dir_.path(), fs::perms(0555));
  Actor nobody;
  nobody.Load("m", LOCKSCOPE_LOADABLE_FILE);
  if (geteuid() == 0) nobody.Become(65534, 65534);
  EXPECT_EQ(nobody.Query("m", "select page_size, frames, wal_bytes from lockscope_wal" +
                                  Of(dir_ / "wal.db")),
            (std::vector<Row>{{"4096", "NULL", "0"}}));
  nobody.OpenReadOnly("c", dir_ / "delete.db");
  nobody.Exec("c", "begin; select * from t limit 1");
  EXPECT_EQ(nobody.Query(
                "m", "select source, mode, verified from lockscope_locks" + Of(dir_ / "delete.db")),
            (std::vector<Row>{{"shim", "SHARED", "1"}}));
  EXPECT_EQ(FileSize(dir_ / "wal.db-shm"), -1);
}

// ---- VFSes ----

TEST_F(OddTest, UnixExclHasItsWalIndexInMemory) {
  ASSERT_EQ(lockscope_register("unix-excl", "excl", 0), SQLITE_OK);
  Db db(path_, "excl");
  ASSERT_EQ(db.Value("pragma journal_mode=wal"), "wal");
  db.Exec("create table t(x); insert into t values (1); begin; select * from t");
  EXPECT_EQ(FileSize(path_ + "-shm"), -1);
  const std::string frames = db.Value("select frames from lockscope_wal");
  EXPECT_GT(std::stol(frames), 0);
  EXPECT_EQ(db.Value("select slot, mark, frame, behind_frames, pins from lockscope_snapshots"),
            "1 " + frames + " " + frames + " 0 restart");
  // Of the locks only the one on the database file reaches the kernel.
  EXPECT_EQ(db.Lines("select resource, mode, verified from lockscope_locks order by 1"),
            (Lines{"database SHARED 1", "wal-open SHARED NULL", "wal-read-1 SHARED NULL"}));
  EXPECT_TRUE(HoldsByte(path_, getpid(), kWrite, kSharedFirst));
}

// ---- modes ----

TEST_F(OddTest, ExclusiveLockingModeKeepsItsLocks) {
  Db db(path_);
  db.Exec("create table t(x); pragma locking_mode=exclusive; insert into t values (1)");
  EXPECT_EQ(db.Value("select mode, verified from lockscope_locks"), "EXCLUSIVE 1");
  db.Exec("pragma locking_mode=normal; select * from t");
  EXPECT_EQ(db.Value("select count(*) from lockscope_locks where mode = 'EXCLUSIVE'"), "0");
}

TEST_F(OddTest, ExclusiveLockingModeWithAWalHasNoSharedWalIndex) {
  Db db(path_);
  db.Exec(
      "pragma locking_mode=exclusive; pragma journal_mode=wal; create table t(x);"
      "insert into t values (1)");
  EXPECT_EQ(FileSize(path_ + "-shm"), -1);
  EXPECT_EQ(db.Lines("select resource, mode, verified from lockscope_locks"),
            Lines{"database EXCLUSIVE 1"});
  EXPECT_EQ(look_.Value("select frames, wal_bytes > 0 from lockscope_wal" + Of(path_)), "NULL 1");
}

TEST_F(OddTest, EveryJournalModeIsNamed) {
  for (const char* mode : {"delete", "truncate", "persist", "memory", "off", "wal"}) {
    Db db(dir_ / (std::string(mode) + ".db"));
    ASSERT_EQ(db.Value("pragma journal_mode=" + std::string(mode)), mode);
    db.Exec("create table t(x); begin immediate");
    EXPECT_EQ(db.Value("select journal_mode, state from lockscope_connections"),
              std::string(mode) + " writing");
  }
}

TEST_F(OddTest, MappedDatabasesCanBeLookedAt) {
  CreateDatabase(path_);
  Db db(path_);
  db.Exec("pragma mmap_size=10000000; begin; select sum(length(pad)) from t");
  EXPECT_EQ(db.Value("select min(verified), max(verified) from lockscope_locks"), "1 1");
  EXPECT_EQ(db.Value("select count(*) from t"), "200");
}

TEST_F(OddTest, ADatabaseThatIsStillEmptyIsOne) {
  Db db(path_);
  EXPECT_EQ(FileSize(path_), 0);
  EXPECT_EQ(look_.Value("select state, autocommit from lockscope_connections" + Of(path_)),
            "idle NULL");
  EXPECT_EQ(look_.Value("select count(*) from lockscope_locks" + Of(path_)), "0");
  // The SELECT itself reads the schema that the table is in.
  EXPECT_EQ(db.Value("select mode, verified from lockscope_locks"), "SHARED 1");
}

TEST_F(OddTest, AFileThatIsNoDatabaseCannotBeLookedAtThroughItsOwnConnection) {
  {
    Db db(path_);
    db.Exec("create table t(x)");
  }
  WriteNoise(path_, 0, 4096, 1);
  Db db(path_);
  EXPECT_EQ(db.Try("select * from lockscope_locks").code, SQLITE_NOTADB);
  EXPECT_EQ(db.Try("select lockscope_json('locks', 'main')").code, SQLITE_NOTADB);
}

// ---- wal-index ----

class WalIndexTest : public OddTest {
 protected:
  // A database with frames in its WAL and a wal-index that no process has open.
  WalIndexTest() {
    CreateDatabase(original_);
    LeaveWalToRecover(original_);
    CopyDatabase(original_, path_);
  }
  void ExpectUnknown() {
    EXPECT_EQ(look_.Value("select page_size, frames, backfilled, wal_bytes > 0, live_bytes, "
                          "database_pages, salt1, oldest_snapshot_frame from lockscope_wal" +
                          Of(path_)),
              "4096 NULL NULL 1 NULL NULL NULL NULL");
    for (const char* table : {"connections", "locks", "snapshots", "blockers", "events", "stats"}) {
      EXPECT_EQ(look_.Value("select count(*) from lockscope_" + std::string(table) + Of(path_)),
                "0")
          << table;
    }
  }

  std::string original_ = dir_ / "o.db";
};

TEST_F(WalIndexTest, LeftByACrashItIsRead) {
  EXPECT_EQ(look_.Value("select page_size, frames > 0, backfilled, pending_frames = frames from "
                        "lockscope_wal" +
                        Of(path_)),
            "4096 1 0 1");
}

TEST_F(WalIndexTest, OfZerosItIsUnknown) {
  WriteZeros(path_ + "-shm", 0, 32768);
  ExpectUnknown();
}

TEST_F(WalIndexTest, OfNoiseItIsUnknown) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    WriteNoise(path_ + "-shm", 0, 200, seed);
    ExpectUnknown();
  }
}

TEST_F(WalIndexTest, WithHeadersThatDifferItIsUnknown) {
  WriteNoise(path_ + "-shm", 48 + 16, 4,
             1);  // mxFrame in the second copy: as if a writer died there
  ExpectUnknown();
}

TEST_F(WalIndexTest, WithAWrongChecksumItIsUnknown) {
  const std::string wrong(1, '\x7f');
  WriteBytes(path_ + "-shm", 16, wrong);
  WriteBytes(path_ + "-shm", 48 + 16, wrong);
  ExpectUnknown();
}

TEST_F(WalIndexTest, CutShortItIsUnknown) {
  for (const std::uintmax_t bytes : {135U, 48U, 1U, 0U}) {
    SCOPED_TRACE(bytes);
    fs::resize_file(path_ + "-shm", bytes);
    ExpectUnknown();
  }
}

TEST_F(WalIndexTest, ReadMarksOfNoiseAreReadAsTheyStand) {
  WriteNoise(path_ + "-shm", 96, 40, 3);  // nBackfill and the read marks, which no checksum guards
  const Reply reply =
      look_.Try("select frames, backfilled, pending_frames from lockscope_wal" + Of(path_));
  EXPECT_TRUE(reply.ok()) << reply;
  EXPECT_TRUE(look_.Try("select * from lockscope_snapshots" + Of(path_)).ok());
  EXPECT_EQ(look_.Value("select pending_frames is null or pending_frames >= 0 from lockscope_wal" +
                        Of(path_)),
            "1");
}

}  // namespace
}  // namespace lockscope::testing
