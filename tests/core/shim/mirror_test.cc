// The shim is as its base is:
//   files     iVersion 1, 2, 3 and newer; empty slots; every method reaches the base
//   VFS       the same for the VFS's methods, the system calls too
//   names     SQLITE_FCNTL_VFSNAME, a copied VFS struct, controls of our own
//   mmap      pages are fetched from below

#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "core/session.h"
#include "core/shim/fake_vfs.h"
#include "lockscope.h"
#include "shim/shim_file.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

// A fake base with the shim on top of it. They are registered for ever, and so never destroyed.
struct Pair {
  FakeVfs* fake;
  std::string shim;

  explicit Pair(const std::string& name, int version = 3, bool bare = false)
      : fake(new FakeVfs(name, version, bare)), shim("shim-on-" + name) {
    EXPECT_EQ(lockscope_register(fake->name(), shim.c_str(), 0), SQLITE_OK);
  }
  const sqlite3_vfs& vfs() const { return *sqlite3_vfs_find(shim.c_str()); }
};

sqlite3_file* FileOf(Db& db) {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
  return file;
}

std::string VfsName(Db& db) {
  char* name = nullptr;
  sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_VFSNAME, static_cast<void*>(&name));
  std::string text = name != nullptr ? name : "(none)";
  sqlite3_free(name);
  return text;
}

// Writes and reads what a table of a few pages needs.
void Use(Db& db) {
  db.Exec(
      "create table t(x); insert into t values (randomblob(9000)); insert into t select x from t");
  EXPECT_EQ(db.Value("select count(*), sum(length(x)) from t"), "2 18000");
  EXPECT_EQ(db.Value("pragma integrity_check"), "ok");
}

class MirrorTest : public ::testing::Test {
 protected:
  TempDir dir_;
};

// ---- files ----

TEST_F(MirrorTest, OnAFirstVersionBaseThereIsNoWal) {
  static const Pair pair("files-1");
  pair.fake->file_version = 1;
  Db db(dir_ / "a.db", pair.shim.c_str());
  const sqlite3_io_methods& methods = *FileOf(db)->pMethods;
  EXPECT_EQ(methods.iVersion, 1);
  EXPECT_EQ(methods.xShmMap, nullptr);
  EXPECT_EQ(methods.xShmLock, nullptr);
  EXPECT_EQ(methods.xShmBarrier, nullptr);
  EXPECT_EQ(methods.xShmUnmap, nullptr);
  EXPECT_EQ(methods.xFetch, nullptr);
  EXPECT_EQ(methods.xUnfetch, nullptr);
  EXPECT_EQ(db.Value("pragma journal_mode=wal"), "delete");
  Use(db);
}

TEST_F(MirrorTest, OnASecondVersionBaseThereIsWalAndNoMmap) {
  static const Pair pair("files-2");
  pair.fake->file_version = 2;
  Db db(dir_ / "a.db", pair.shim.c_str());
  const sqlite3_io_methods& methods = *FileOf(db)->pMethods;
  EXPECT_EQ(methods.iVersion, 2);
  EXPECT_NE(methods.xShmMap, nullptr);
  EXPECT_EQ(methods.xFetch, nullptr);
  EXPECT_EQ(methods.xUnfetch, nullptr);
  EXPECT_EQ(db.Value("pragma journal_mode=wal"), "wal");
  db.Exec("pragma mmap_size=1000000");
  Use(db);
  EXPECT_EQ(pair.fake->Calls("xFetch"), 0);
}

TEST_F(MirrorTest, OnAThirdVersionBaseThereIsEverything) {
  static const Pair pair("files-3");
  Db db(dir_ / "a.db", pair.shim.c_str());
  EXPECT_EQ(FileOf(db)->pMethods->iVersion, 3);
  EXPECT_NE(FileOf(db)->pMethods->xFetch, nullptr);
  EXPECT_NE(FileOf(db)->pMethods->xUnfetch, nullptr);
  Use(db);
}

TEST_F(MirrorTest, ANewerVersionThanWeKnowBecomesThree) {
  static const Pair pair("files-4");
  pair.fake->file_version = 4;
  Db db(dir_ / "a.db", pair.shim.c_str());
  EXPECT_EQ(FileOf(db)->pMethods->iVersion, 3);
  EXPECT_EQ(db.Value("pragma journal_mode=wal"), "wal");
  Use(db);
}

TEST_F(MirrorTest, ASlotThatIsEmptyBelowIsEmpty) {
  static const Pair pair("files-holes");
  pair.fake->without_sector_size = true;
  pair.fake->without_shm_map = true;
  Db db(dir_ / "a.db", pair.shim.c_str());
  const sqlite3_io_methods& methods = *FileOf(db)->pMethods;
  EXPECT_EQ(methods.iVersion, 3);
  EXPECT_EQ(methods.xSectorSize, nullptr);
  EXPECT_EQ(methods.xShmMap, nullptr);
  EXPECT_NE(methods.xShmLock, nullptr);
  EXPECT_EQ(db.Value("pragma journal_mode=wal"), "delete");  // SQLite asks for xShmMap
  Use(db);
}

TEST_F(MirrorTest, EveryFileMethodReachesTheBase) {
  static const Pair pair("files-calls");
  // Without powersafe overwrite SQLite asks for the sector size; an old journal makes it ask
  // whether somebody holds RESERVED.
  Db db("file:" + (dir_ / "a.db") + "?psow=0", pair.shim.c_str());
  db.Exec("pragma mmap_size=1000000; pragma journal_mode=persist");
  Use(db);
  db.Exec(
      "delete from t; vacuum; pragma journal_mode=delete; pragma journal_mode=wal; insert into t "
      "values (1)");
  db.Exec("select * from t");
  db.Close();
  for (const char* method :
       {"xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xFileControl",
        "xCheckReservedLock", "xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock",
        "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch"}) {
    EXPECT_GT(pair.fake->Calls(method), 0) << method;
  }
  EXPECT_EQ(pair.fake->Calls("xClose"), 1);
  EXPECT_EQ(pair.fake->open_files(), 0);
}

TEST_F(MirrorTest, OnlyTheMainDatabaseIsWrapped) {
  static const Pair pair("files-other");
  {
    Db db(dir_ / "a.db", pair.shim.c_str());
    db.Exec(
        "pragma temp_store=file; pragma cache_size=2; create temp table s(x);"
        "insert into s values (randomblob(100000)); create table t as select x from s");
  }
  EXPECT_GT(pair.fake->Calls("xOpen"), 1);   // journals and temporary files pass too…
  EXPECT_EQ(pair.fake->Calls("xClose"), 1);  // …but only the database is the fake's own file
}

// ---- VFS ----

TEST_F(MirrorTest, AVfsOfTheFirstVersionStaysOne) {
  static const Pair pair("vfs-1", 1);
  EXPECT_EQ(pair.vfs().iVersion, 1);
  EXPECT_EQ(pair.vfs().xCurrentTimeInt64, nullptr);
  EXPECT_EQ(pair.vfs().xSetSystemCall, nullptr);
  EXPECT_NE(pair.vfs().xDlOpen, nullptr);
  Db db(dir_ / "a.db", pair.shim.c_str());
  Use(db);
}

TEST_F(MirrorTest, AVfsOfTheSecondVersionHasNoSystemCalls) {
  static const Pair pair("vfs-2", 2);
  EXPECT_EQ(pair.vfs().iVersion, 2);
  EXPECT_NE(pair.vfs().xCurrentTimeInt64, nullptr);
  EXPECT_EQ(pair.vfs().xSetSystemCall, nullptr);
  EXPECT_EQ(pair.vfs().xNextSystemCall, nullptr);
}

TEST_F(MirrorTest, AVfsOfANewerVersionBecomesThree) {
  static const Pair pair("vfs-4", 4);
  EXPECT_EQ(pair.vfs().iVersion, 3);
  EXPECT_NE(pair.vfs().xNextSystemCall, nullptr);
}

TEST_F(MirrorTest, VfsSlotsThatAreEmptyBelowAreEmpty) {
  static const Pair pair("vfs-bare", 3, true);
  const sqlite3_vfs& vfs = pair.vfs();
  EXPECT_EQ(vfs.xDlOpen, nullptr);
  EXPECT_EQ(vfs.xDlError, nullptr);
  EXPECT_EQ(vfs.xDlSym, nullptr);
  EXPECT_EQ(vfs.xDlClose, nullptr);
  EXPECT_EQ(vfs.xGetLastError, nullptr);
  EXPECT_EQ(vfs.xCurrentTimeInt64, nullptr);
  EXPECT_EQ(vfs.xSetSystemCall, nullptr);
  EXPECT_EQ(vfs.xGetSystemCall, nullptr);
  EXPECT_EQ(vfs.xNextSystemCall, nullptr);
  EXPECT_NE(vfs.xOpen, nullptr);
}

TEST_F(MirrorTest, SizesComeFromTheBase) {
  static const Pair pair("vfs-sizes");
  EXPECT_EQ(pair.vfs().mxPathname, pair.fake->vfs()->mxPathname);
  EXPECT_GT(pair.vfs().szOsFile, pair.fake->vfs()->szOsFile);
}

TEST_F(MirrorTest, EveryVfsMethodReachesTheBaseAndAnswersAsItDoes) {
  static const Pair pair("vfs-calls");
  sqlite3_vfs* vfs = sqlite3_vfs_find(pair.shim.c_str());
  sqlite3_vfs* unix_vfs = pair.fake->unix_vfs();
  std::array<char, 2000> text{};
  std::array<char, 2000> expected{};
  int exists = -1;
  EXPECT_EQ(vfs->xAccess(vfs, "/", SQLITE_ACCESS_EXISTS, &exists), SQLITE_OK);
  EXPECT_EQ(exists, 1);
  EXPECT_EQ(vfs->xDelete(vfs, (dir_ / "none").c_str(), 0), SQLITE_IOERR_DELETE_NOENT);
  EXPECT_EQ(
      vfs->xFullPathname(vfs, "x", static_cast<int>(text.size()), text.data()),
      unix_vfs->xFullPathname(unix_vfs, "x", static_cast<int>(expected.size()), expected.data()));
  EXPECT_STREQ(text.data(), expected.data());
  EXPECT_GT(vfs->xRandomness(vfs, 64, text.data()), 0);
  EXPECT_GE(vfs->xSleep(vfs, 1), 1);
  double now = 0;
  EXPECT_EQ(vfs->xCurrentTime(vfs, &now), SQLITE_OK);
  EXPECT_GT(now, 2'450'000.0);
  sqlite3_int64 now_ms = 0;
  EXPECT_EQ(vfs->xCurrentTimeInt64(vfs, &now_ms), SQLITE_OK);
  EXPECT_NEAR(static_cast<double>(now_ms) / 86'400'000.0, now, 1.0);
  EXPECT_EQ(vfs->xDlOpen(vfs, (dir_ / "none.so").c_str()), nullptr);
  text.fill(0);
  vfs->xDlError(vfs, static_cast<int>(text.size()), text.data());
  EXPECT_NE(std::strstr(text.data(), "none.so"), nullptr);
  void* self = vfs->xDlOpen(vfs, nullptr);
  ASSERT_NE(self, nullptr);
  EXPECT_NE(vfs->xDlSym(vfs, self, "malloc"), nullptr);
  EXPECT_EQ(vfs->xDlSym(vfs, self, "lockscope_no_such_symbol"), nullptr);
  vfs->xDlClose(vfs, self);
  vfs->xGetLastError(vfs, 0, nullptr);
  for (const char* method :
       {"xAccess", "xDelete", "xFullPathname", "xRandomness", "xSleep", "xCurrentTime",
        "xCurrentTimeInt64", "xDlError", "xDlClose", "xGetLastError"}) {
    EXPECT_EQ(pair.fake->Calls(method), 1) << method;
  }
  EXPECT_EQ(pair.fake->Calls("xDlOpen"), 2);
  EXPECT_EQ(pair.fake->Calls("xDlSym"), 2);
}

TEST_F(MirrorTest, SystemCallsAreTheBasesOwn) {
  static const Pair pair("vfs-syscalls");
  sqlite3_vfs* vfs = sqlite3_vfs_find(pair.shim.c_str());
  sqlite3_vfs* unix_vfs = pair.fake->unix_vfs();
  int count = 0;
  const char* expected = unix_vfs->xNextSystemCall(unix_vfs, nullptr);
  for (const char* name = vfs->xNextSystemCall(vfs, nullptr); name != nullptr;
       name = vfs->xNextSystemCall(vfs, name)) {
    ASSERT_NE(expected, nullptr);
    EXPECT_STREQ(name, expected);
    EXPECT_EQ(vfs->xGetSystemCall(vfs, name), unix_vfs->xGetSystemCall(unix_vfs, name)) << name;
    expected = unix_vfs->xNextSystemCall(unix_vfs, expected);
    ++count;
  }
  EXPECT_EQ(expected, nullptr);
  EXPECT_GT(count, 10);
  EXPECT_EQ(vfs->xSetSystemCall(vfs, "open", nullptr), SQLITE_OK);
  EXPECT_EQ(pair.fake->last_system_call, "open");
}

// ---- names ----

TEST_F(MirrorTest, TheVfsNameTellsTheWholeStack) {
  Db db(dir_ / "a.db");
  EXPECT_EQ(VfsName(db), "lockscope/unix");
  static const Pair pair("names");
  Db stacked(dir_ / "b.db", pair.shim.c_str());
  EXPECT_EQ(VfsName(stacked), "shim-on-names/unix");
  pair.fake->deny_vfsname = true;  // a base that does not know the question is named itself
  EXPECT_EQ(VfsName(stacked), "shim-on-names/names");
}

// Others copy the struct under a name of their own: the shim finds itself through pAppData.
TEST_F(MirrorTest, ACopiedVfsStructWorks) {
  RegisterShim();
  static sqlite3_vfs copy = *sqlite3_vfs_find("lockscope");
  copy.zName = "copied";
  copy.pNext = nullptr;
  ASSERT_EQ(sqlite3_vfs_register(&copy, 0), SQLITE_OK);
  Db db(dir_ / "a.db", "copied");
  Use(db);
  EXPECT_EQ(VfsName(db), "lockscope/unix");
  EXPECT_EQ(db.Value("select count(*) from lockscope_connections"), "1");
}

TEST_F(MirrorTest, OurOwnControlsTellConnectionAndSettings) {
  Db db("file:" + (dir_ / "a.db") + "?lockscope_capture_sql=off");
  std::uint64_t number = 0;
  EXPECT_EQ(sqlite3_file_control(db.handle(), "main", shim::kFcntlConnection, &number), SQLITE_OK);
  EXPECT_EQ(db.Value("select connection from lockscope_connections"), std::to_string(number));
  settings::DatabaseSettings settings;
  EXPECT_EQ(sqlite3_file_control(db.handle(), "main", shim::kFcntlSettings, &settings), SQLITE_OK);
  EXPECT_EQ(settings.capture_sql, settings::Switch::kOff);
  EXPECT_EQ(settings.wal_reset_guard, settings::Switch::kUnset);
}

TEST_F(MirrorTest, UnknownControlsAreTheBasesToAnswer) {
  Db db(dir_ / "a.db");
  int argument = 0;
  EXPECT_EQ(sqlite3_file_control(db.handle(), "main", 0x7fff0001, &argument), SQLITE_NOTFOUND);
  int persist = 1;
  EXPECT_EQ(sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_PERSIST_WAL, &persist),
            SQLITE_OK);
  persist = -1;
  EXPECT_EQ(sqlite3_file_control(db.handle(), "main", SQLITE_FCNTL_PERSIST_WAL, &persist),
            SQLITE_OK);
  EXPECT_EQ(persist, 1);
}

// ---- mmap ----

TEST_F(MirrorTest, PagesAreMappedFromBelow) {
  static const Pair pair("mmap");
  Db db(dir_ / "a.db", pair.shim.c_str());
  EXPECT_EQ(db.Value("pragma mmap_size=1000000"), "1000000");
  Use(db);
  const int before = pair.fake->Calls("xFetch");
  EXPECT_EQ(db.Value("select count(*) from t"), "2");
  EXPECT_GT(pair.fake->Calls("xFetch"), before);
  EXPECT_GT(pair.fake->Calls("xUnfetch"), 0);
}

}  // namespace
}  // namespace lockscope::testing
