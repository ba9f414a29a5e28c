// lockscope_register():
//   once     the same again, another base, an unknown one, no name, another VFS's name
//   default  taken when asked for
//   several  unix-excl, unix-dotfile and unix-none under names of their own, side by side

#include <gtest/gtest.h>

#include "core/session.h"
#include "lockscope.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class RegisterTest : public ::testing::Test {
 protected:
  RegisterTest() { RegisterShim(); }

  static std::string Default() { return sqlite3_vfs_find(nullptr)->zName; }

  TempDir dir_;
};

// ---- once ----

TEST_F(RegisterTest, TheSameNameAndBaseAgainIsFine) {
  sqlite3_vfs* vfs = sqlite3_vfs_find("lockscope");
  ASSERT_NE(vfs, nullptr);
  EXPECT_EQ(lockscope_register("unix", "lockscope", 0), SQLITE_OK);
  EXPECT_EQ(lockscope_register("unix", nullptr, 1), SQLITE_OK);
  EXPECT_EQ(lockscope_register(nullptr, nullptr, 1), SQLITE_OK);  // what is below the default
  EXPECT_EQ(sqlite3_vfs_find("lockscope"), vfs);
}

TEST_F(RegisterTest, AnotherBaseUnderTheSameNameIsMisuse) {
  const LogCapture log;
  EXPECT_EQ(lockscope_register("unix-none", "lockscope", 0), SQLITE_MISUSE);
  EXPECT_EQ(log.Count("the VFS lockscope is registered already, on top of unix"), 1);
  EXPECT_EQ(Default(), "lockscope");
}

TEST_F(RegisterTest, AnUnknownBaseIsAnError) {
  const LogCapture log;
  EXPECT_EQ(lockscope_register("no-such-vfs", "on-nothing", 0), SQLITE_ERROR);
  EXPECT_EQ(log.Count("no such vfs: no-such-vfs"), 1);
  EXPECT_EQ(sqlite3_vfs_find("on-nothing"), nullptr);
}

TEST_F(RegisterTest, AnUnknownBaseUnderATakenNameIsRefusedToo) {
  EXPECT_EQ(lockscope_register("no-such-vfs", "lockscope", 0), SQLITE_MISUSE);
}

TEST_F(RegisterTest, AnEmptyNameIsMisuse) {
  EXPECT_EQ(lockscope_register(nullptr, "", 0), SQLITE_MISUSE);
}

TEST_F(RegisterTest, AnotherVfssNameIsMisuse) {
  EXPECT_EQ(lockscope_register(nullptr, "unix", 0), SQLITE_MISUSE);
  EXPECT_EQ(lockscope_register("unix", "unix-dotfile", 1), SQLITE_MISUSE);
  EXPECT_EQ(Default(), "lockscope");
}

TEST_F(RegisterTest, AShimMayStandOnAShim) {
  EXPECT_EQ(lockscope_register("lockscope", "twice", 0), SQLITE_OK);
  Db db(dir_ / "a.db", "twice");
  db.Exec("create table t(x)");
  EXPECT_EQ(db.Lines("select distinct vfs from lockscope_connections order by vfs"),
            (std::vector<std::string>{"lockscope/unix", "twice/lockscope/unix"}));
}

TEST_F(RegisterTest, WithoutABaseNoShimStandsOnAShim) {
  ASSERT_EQ(Default(), "lockscope");
  EXPECT_EQ(lockscope_register(nullptr, "beside", 0), SQLITE_OK);
  Db db(dir_ / "a.db", "beside");
  db.Exec("create table t(x)");
  EXPECT_EQ(db.Lines("select vfs from lockscope_connections"),
            std::vector<std::string>{"beside/unix"});
}

// ---- default ----

TEST_F(RegisterTest, BecomesTheDefaultOnlyWhenAskedTo) {
  EXPECT_EQ(lockscope_register("unix", "quiet", 0), SQLITE_OK);
  EXPECT_EQ(Default(), "lockscope");
  EXPECT_EQ(lockscope_register("unix", "quiet", 1), SQLITE_OK);
  EXPECT_EQ(Default(), "quiet");
  EXPECT_EQ(lockscope_register("unix", "quiet", 0), SQLITE_OK);
  EXPECT_EQ(Default(), "quiet");
  EXPECT_EQ(lockscope_register("unix", "lockscope", 1), SQLITE_OK);
  EXPECT_EQ(Default(), "lockscope");
}

// ---- several ----

TEST_F(RegisterTest, OtherUnixVfsesStandBesideUnderNamesOfTheirOwn) {
  struct Case {
    const char* base;
    const char* name;
    const char* verified;  // of the database lock
  };
  for (const Case& c : {Case{"unix-excl", "excl", "1"}, Case{"unix-dotfile", "dotfile", "NULL"},
                        Case{"unix-none", "none", "NULL"}}) {
    SCOPED_TRACE(c.base);
    ASSERT_EQ(lockscope_register(c.base, c.name, 0), SQLITE_OK);
    EXPECT_EQ(lockscope_register("unix", c.name, 0), SQLITE_MISUSE);
    Db db(dir_ / (std::string(c.name) + ".db"), c.name);
    db.Exec("create table t(x); begin immediate");
    EXPECT_EQ(db.Value("select vfs, state from lockscope_connections"),
              std::string(c.name) + "/" + c.base + " writing");
    EXPECT_EQ(db.Value("select source, resource, mode, granted, verified from lockscope_locks"),
              std::string("shim database RESERVED 1 ") + c.verified);
  }
}

TEST_F(RegisterTest, TheirDatabasesAreNotMixedUp) {
  ASSERT_EQ(lockscope_register("unix", "other", 0), SQLITE_OK);
  Db a(dir_ / "a.db");
  Db b(dir_ / "b.db", "other");
  a.Exec("create table t(x)");
  b.Exec("create table t(x)");
  EXPECT_EQ(a.Value("select vfs from lockscope_connections"), "lockscope/unix");
  EXPECT_EQ(b.Value("select vfs from lockscope_connections"), "other/unix");
  EXPECT_EQ(a.Value("select vfs from lockscope_connections(" + Quote(dir_ / "b.db") + ")"),
            "other/unix");
}

TEST_F(RegisterTest, TheLibrarySaysItsVersion) {
  EXPECT_STREQ(lockscope_libversion(), LOCKSCOPE_VERSION);
  Db db(":memory:");
  const std::string version = db.Value("select lockscope_version()");
  EXPECT_NE(version.find(LOCKSCOPE_VERSION), std::string::npos) << version;
  EXPECT_NE(version.find(sqlite3_libversion()), std::string::npos) << version;
}

}  // namespace
}  // namespace lockscope::testing
