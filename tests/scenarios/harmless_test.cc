// Looking changes nothing. Groups:
//   HarmlessTest       locks, -wal, -shm and hot journals of others are as before
//   LateLoadTest       a process that had the database open before it loaded lockscope
//   LostLockTest       a close() that the application did not mean to be an unlock
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "looker.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

// Everything about a database's files that looking could change, but the time of the last access.
Lines Facts(const std::string& db) {
  Lines facts;
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    const std::string path = db + suffix;
    struct stat file = {};
    if (stat(path.c_str(), &file) != 0) {
      facts.push_back(std::string(suffix) + " absent");
      continue;
    }
    facts.push_back(std::string(suffix) + " inode " + std::to_string(file.st_ino) + " bytes " +
                    std::to_string(file.st_size) + " changed " +
                    std::to_string(file.st_mtim.tv_sec) + "." +
                    std::to_string(file.st_mtim.tv_nsec));
    facts.push_back(ReadBytes(path, 0, static_cast<std::size_t>(file.st_size)));
  }
  return facts;
}

Lines AllLocks(const std::string& db) {
  Lines locks = ReadLocksOf(db);
  const Lines shm = ReadLocksOf(db + "-shm");
  locks.insert(locks.end(), shm.begin(), shm.end());
  return locks;
}

// Looks by every means and expects that nothing has changed.
void ExpectHarmless(const std::string& db) {
  const Lines locks = AllLocks(db);
  const Lines facts = Facts(db);
  Looker looker;
  looker.LookEverywhere(db);
  looker.All("select lockscope_set('target', ?1)", {db});
  for (const char* table : kTables) {
    looker.All("select * from lockscope_" + std::string(table));
    looker.All("select lockscope_json(?1)", {table});
  }
  looker.All("select lockscope_set('target', 'default')");
  EXPECT_EQ(AllLocks(db), locks);
  EXPECT_TRUE(Facts(db) == facts);
}

// ---- Others ------------------------------------------------------------------------------------

TEST(HarmlessTest, LocksOfEveryKindStayAsTheyAre) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  const auto readers = HoldReadSlots(db);
  Actor writer;
  writer.Open("c", db);
  writer.Exec("c", "begin immediate; update t set v = v + 1");
  EXPECT_GE(AllLocks(db).size(), 12U);
  ExpectHarmless(db);
  writer.Exec("c", "commit");
}

TEST(HarmlessTest, WalAndWalIndexOfAnIdleConnectionStay) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  Actor a;
  a.Open("c", db);
  a.Exec("c", "update t set v = 0");
  ExpectHarmless(db);
  EXPECT_GT(FileSize(db + "-wal"), 0);
}

// Whoever opened this database with SQLite would recover it, and unlink the WAL at the end.
TEST(HarmlessTest, WalLeftByACrashIsNotRecovered) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  LeaveWalToRecover(db);
  ExpectHarmless(db);
  Actor a;
  a.Open("c", db);
  a.TellAt("after shm-lock recover exclusive");
  EXPECT_EQ(a.Exec("c", "select v from t where id = 1"), Row{"2"});
  EXPECT_EQ(a.AwaitPoint(), "after shm-lock 1+2 exclusive by=c");
}

TEST(HarmlessTest, NothingIsCreatedBesideAWalDatabaseThatNobodyUses) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  ExpectHarmless(db);
  EXPECT_EQ(FileSize(db + "-wal"), -1);
  EXPECT_EQ(FileSize(db + "-shm"), -1);
  EXPECT_EQ(Looker().One("select page_size, wal_bytes, frames, salt1 from lockscope_wal(?1)", {db}),
            (Row{"4096", "0", "NULL", "NULL"}));
}

TEST(HarmlessTest, HotJournalStaysHot) {
  for (const char* mode : {"delete", "truncate", "persist"}) {
    TempDir dir;
    const std::string db = dir / "a.db";
    CreateDatabase(db, {.journal_mode = mode});
    LeaveHotJournal(db);
    ExpectHarmless(db);
    Actor read_only;
    read_only.OpenReadOnly("c", db);
    EXPECT_EQ(read_only.Try("c", "select count(*) from t").code, SQLITE_READONLY_ROLLBACK) << mode;
    EXPECT_EQ(IntegrityCheck(db), "ok") << mode;
    EXPECT_EQ(read_only.Exec("c", "select count(*), sum(v) from t"), (Row{"200", "0"})) << mode;
  }
}

TEST(HarmlessTest, DatabaseLockedExclusivelyCanBeLookedAt) {
  for (const char* mode : {"delete", "wal"}) {
    TempDir dir;
    const std::string db = dir / "a.db";
    CreateDatabase(db, {.journal_mode = mode});
    Actor a;
    a.Open("c", db);
    a.Exec("c", "pragma locking_mode = exclusive; begin exclusive; update t set v = 1");
    Actor other;
    other.Open("c", db);
    ASSERT_EQ(other.Try("c", "select count(*) from t").code, SQLITE_BUSY) << mode;
    ExpectHarmless(db);
    const Looker looker;
    const std::string pid = std::to_string(a.pid());
    EXPECT_EQ(looker.One("select pid, mode from lockscope_locks(?1)", {db}),
              (Row{pid, "EXCLUSIVE"}));
    EXPECT_EQ(looker.One("select json_extract(lockscope_json('locks', ?1), '$[0].pid')", {db})[0],
              pid);
    a.Exec("c", "commit");
  }
}

TEST(HarmlessTest, AnotherConnectionOfThisProcessKeepsItsLocks) {
  for (const char* mode : {"wal", "delete"}) {
    TempDir dir;
    const std::string db = dir / "a.db";
    CreateDatabase(db, {.journal_mode = mode});
    const Looker own("file:" + db);  // not through the shim
    own.All("begin immediate");
    own.All("update t set v = v + 1");
    ExpectHarmless(db);
    EXPECT_NE(Looker().Locks(db, getpid()), Lines()) << mode;
    own.All("commit");
    EXPECT_EQ(own.One("pragma integrity_check")[0], "ok");
  }
}

// ---- Loaded late -------------------------------------------------------------------------------

class LateLoadTest : public ::testing::TestWithParam<const char*> {
 protected:
  LateLoadTest() {
    CreateDatabase(db_, {.journal_mode = GetParam()});
    actor_.Open("c", db_);
    actor_.Exec("c", "begin immediate; update t set v = v + 1");
    before_ = AllLocks(db_);
  }

  // Through connection `name` of the actor, which has lockscope loaded.
  void LookFromInside(const char* name) {
    for (const char* table : kTables) {
      actor_.Query(name, "select * from lockscope_" + std::string(table) + "('" + db_ + "')");
      actor_.Query(name, "select lockscope_json('" + std::string(table) + "', '" + db_ + "')");
    }
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Actor actor_;
  Lines before_;
};

INSTANTIATE_TEST_SUITE_P(Journals, LateLoadTest, ::testing::Values("wal", "delete"));

TEST_P(LateLoadTest, LooksThroughAnotherConnectionAndKeepsItsLocks) {
  ASSERT_FALSE(before_.empty());
  actor_.Load("looker", LOCKSCOPE_LOADABLE_FILE);
  EXPECT_EQ(AllLocks(db_), before_);
  LookFromInside("looker");
  EXPECT_EQ(AllLocks(db_), before_);
  actor_.Close("looker");
  EXPECT_EQ(AllLocks(db_), before_);
  // Its own locks are there, as the kernel tells them.
  actor_.Load("again", LOCKSCOPE_LOADABLE_FILE);
  EXPECT_EQ(actor_.Query("again",
                         "select distinct source, pid, connection, verified from "
                         "lockscope_locks('" +
                             db_ + "')"),
            (std::vector<Row>{{"kernel", std::to_string(actor_.pid()), "NULL", "NULL"}}));
  actor_.Exec("c", "commit");
  EXPECT_EQ(actor_.Exec("c", "select sum(v) from t"), Row{"200"});
}

TEST_P(LateLoadTest, LooksThroughTheSameConnectionAndKeepsItsLocks) {
  actor_.Load("c", LOCKSCOPE_LOADABLE_FILE);
  LookFromInside("c");
  EXPECT_EQ(AllLocks(db_), before_);
  EXPECT_EQ(actor_.Exec("c", "select mode from lockscope_locks where resource = 'database'"),
            Row{GetParam() == std::string("wal") ? "SHARED" : "RESERVED"});
  actor_.Exec("c", "commit");
}

TEST_P(LateLoadTest, OpensItAgainThroughTheShimAndKeepsItsLocks) {
  actor_.Load("looker", LOCKSCOPE_LOADABLE_FILE);
  actor_.Open("shim", db_);
  actor_.Exec("shim", "select count(*) from t");
  LookFromInside("shim");
  EXPECT_EQ(actor_.Exec("shim", "select count(*) from lockscope_connections where source = 'shim'"),
            Row{"1"});
  EXPECT_EQ(actor_.Try("shim", "begin immediate").code, SQLITE_BUSY);
  actor_.Close("shim");
  EXPECT_EQ(AllLocks(db_), before_);
  actor_.Exec("c", "commit");
}

// ---- Lost locks --------------------------------------------------------------------------------

class LostLockTest : public ::testing::Test {
 protected:
  void Prepare(const char* mode) {
    CreateDatabase(db_, {.journal_mode = mode});
    actor_.Load("looker", LOCKSCOPE_LOADABLE_FILE);
    actor_.Open("c", db_);
    actor_.Exec("c", "begin immediate");
  }

  std::vector<Row> Verified() {
    return actor_.Query("looker", "select resource, verified from lockscope_locks('" + db_ +
                                      "') where source = 'shim' order by 1");
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Actor actor_;
};

TEST_F(LostLockTest, StrayCloseOfTheDatabaseShowsAsNotVerified) {
  Prepare("delete");
  EXPECT_EQ(Verified(), (std::vector<Row>{{"database", "1"}}));
  actor_.StrayClose(db_);
  EXPECT_TRUE(ReadLocksOf(db_).empty());
  EXPECT_EQ(Verified(), (std::vector<Row>{{"database", "0"}}));
  // As other processes see it, whom the kernel would grant the lock.
  EXPECT_EQ(
      Looker().All("select pid, source, resource, mode, verified from lockscope_locks(?1)", {db_}),
      (std::vector<Row>{{std::to_string(actor_.pid()), "shim", "database", "RESERVED", "0"}}));
  actor_.Exec("c", "rollback; begin immediate");
  EXPECT_EQ(Verified(), (std::vector<Row>{{"database", "1"}}));
}

TEST_F(LostLockTest, StrayCloseOfTheWalIndexShowsOnlyItsLocksAsNotVerified) {
  Prepare("wal");
  const std::vector<Row> held = {
      {"database", "1"}, {"wal-open", "1"}, {"wal-read-0", "1"}, {"wal-write", "1"}};
  EXPECT_EQ(Verified(), held);
  actor_.StrayClose(db_ + "-shm");
  const std::vector<Row> lost = {
      {"database", "1"}, {"wal-open", "0"}, {"wal-read-0", "0"}, {"wal-write", "0"}};
  EXPECT_EQ(Verified(), lost);
  EXPECT_EQ(Looker().All("select resource, verified from lockscope_locks(?1) order by 1", {db_}),
            lost);
}

TEST_F(LostLockTest, StrayCloseOfAWalDatabaseShowsItsSharedAsNotVerified) {
  Prepare("wal");
  actor_.StrayClose(db_);
  EXPECT_EQ(Verified(),
            (std::vector<Row>{
                {"database", "0"}, {"wal-open", "1"}, {"wal-read-0", "1"}, {"wal-write", "1"}}));
}

// A sibling in the same process: SQLite counts locks once a process, and so does the kernel.
TEST_F(LostLockTest, SiblingsAreBothVerifiedAndBothLost) {
  Prepare("wal");
  actor_.Open("d", db_);
  actor_.Exec("d", "begin; select count(*) from t");
  const std::string sql = "select resource, connection, verified from lockscope_locks('" + db_ +
                          "') where resource = 'wal-read-0' order by 2";
  EXPECT_EQ(actor_.Query("looker", sql),
            (std::vector<Row>{{"wal-read-0", "1", "1"}, {"wal-read-0", "2", "1"}}));
  actor_.StrayClose(db_ + "-shm");
  EXPECT_EQ(actor_.Query("looker", sql),
            (std::vector<Row>{{"wal-read-0", "1", "0"}, {"wal-read-0", "2", "0"}}));
}

}  // namespace
}  // namespace lockscope::testing
