// Which database a question is about:
//   names     a schema, which wins, else a path: relative, through a symbolic link
//   none      without an argument: the setting, else every file database attached
//   refused   missing, in memory, temporary, sidecars, no database, directories, FIFOs, unreadable
//   joins     the argument as a hidden column

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/session.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;
namespace fs = std::filesystem;

class TargetsTest : public ::testing::Test {
 protected:
  TargetsTest() {
    db_.Exec("create table t(x); begin immediate");
    other_db_.Exec("create table t(x); begin immediate");
  }
  ~TargetsTest() override {
    fs::current_path(start_);
    look_.Exec("select lockscope_set('target', 'default')");
  }

  Lines Databases(const std::string& target) {
    return look_.Lines("select database from lockscope_locks(" + Quote(target) + ")");
  }
  // SQLite's code for looking at `target`, in each of the ways to do so.
  int Refusal(const std::string& target) {
    const Reply table = look_.Try("select * from lockscope_locks(" + Quote(target) + ")");
    const Reply json = look_.Try("select lockscope_json('wal', " + Quote(target) + ")");
    EXPECT_EQ(table.code, json.code) << target;
    EXPECT_EQ(table.message, json.message) << target;
    message_ = table.message;
    return table.code;
  }
  std::string Real(const std::string& name) {
    return fs::canonical(dir_.path()).string() + "/" + name;
  }
  bool Says(const std::string& text) { return message_.find(text) != std::string::npos; }

  fs::path start_ = fs::current_path();
  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  std::string other_ = dir_ / "b.db";
  Db db_{path_};
  Db other_db_{other_};
  Db look_{":memory:"};
  std::string message_;
};

// ---- names ----

TEST_F(TargetsTest, ASchemasNameOrAPath) {
  EXPECT_EQ(db_.Lines("select database from lockscope_locks('main')"), Lines{Real("a.db")});
  EXPECT_EQ(db_.Lines("select database from lockscope_locks('MAIN')"), Lines{Real("a.db")});
  EXPECT_EQ(Databases(path_), Lines{Real("a.db")});
}

TEST_F(TargetsTest, ASchemaWinsOverAFileOfItsName) {
  fs::current_path(dir_.path());
  Db file_called_main("main");
  file_called_main.Exec("create table t(x); begin immediate");
  EXPECT_EQ(db_.Lines("select database from lockscope_locks('main')"), Lines{Real("a.db")});
  EXPECT_EQ(db_.Lines("select database from lockscope_locks('./main')"), Lines{Real("main")});
}

TEST_F(TargetsTest, ASchemaWhoseFileWasDeletedWhileItIsOpen) {
  fs::remove(path_);
  EXPECT_EQ(db_.Lines("select database from lockscope_locks('main')"), Lines{Real("a.db")});
}

TEST_F(TargetsTest, AnAttachedSchemasName) {
  Db db(dir_ / "c.db");
  db.Exec("attach " + Quote(path_) + " as \"other one\"");
  EXPECT_EQ(db.Lines("select distinct database from lockscope_connections('other one')"),
            Lines{Real("a.db")});
}

TEST_F(TargetsTest, ARelativePath) {
  fs::current_path(dir_.path());
  EXPECT_EQ(Databases("a.db"), Lines{Real("a.db")});
  EXPECT_EQ(Databases("./a.db"), Lines{Real("a.db")});
  EXPECT_EQ(Databases("../" + fs::path(dir_.path()).filename().string() + "/a.db"),
            Lines{Real("a.db")});
}

TEST_F(TargetsTest, ASymbolicLink) {
  fs::create_symlink("a.db", dir_ / "link");
  fs::create_symlink("link", dir_ / "link-to-link");
  EXPECT_EQ(Databases(dir_ / "link"), Lines{Real("a.db")});
  EXPECT_EQ(Databases(dir_ / "link-to-link"), Lines{Real("a.db")});
}

TEST_F(TargetsTest, AHardLinkIsTheSameDatabase) {
  fs::create_hard_link(path_, dir_ / "hard");
  EXPECT_EQ(look_.Value("select database, source, connection is not null from lockscope_locks(" +
                        Quote(dir_ / "hard") + ")"),
            Real("hard") + " shim 1");
}

TEST_F(TargetsTest, ANameWithOddCharacters) {
  const std::string odd = dir_ / "it's a \"db\" (1)\t%41.db";
  Db db(odd);
  db.Exec("create table t(x); begin immediate");
  EXPECT_EQ(Databases(odd).size(), 1U);
  EXPECT_EQ(db.Value("select count(*) from lockscope_locks"), "1");
}

TEST_F(TargetsTest, SeveralTargetsInOneQuestion) {
  EXPECT_EQ(look_.Value("select count(distinct database) from lockscope_locks where target = " +
                        Quote(path_) + " and granted = 1 or target = " + Quote(other_) +
                        " and granted = 1"),
            "2");
}

// ---- none ----

TEST_F(TargetsTest, WithoutAnArgumentEveryFileDatabaseAttached) {
  EXPECT_EQ(look_.Lines("select * from lockscope_locks"), Lines{});
  db_.Exec("rollback; attach " + Quote(other_) + " as b; attach ':memory:' as m");
  EXPECT_EQ(db_.Lines("select distinct database from lockscope_connections order by 1"),
            (Lines{Real("a.db"), Real("b.db")}));
}

TEST_F(TargetsTest, ADatabaseAttachedTwiceIsToldOnce) {
  Db db(other_);
  db.Exec("attach " + Quote(path_) + " as one; attach " + Quote(path_) + " as two");
  EXPECT_EQ(
      db.Value("select count(*) from lockscope_locks where mode = 'RESERVED' and database = " +
               Quote(Real("a.db"))),
      "1");
}

TEST_F(TargetsTest, TheSettingIsUsedAlsoWhenDatabasesAreAttached) {
  look_.Exec("select lockscope_set('target', " + Quote(path_) + ")");
  EXPECT_EQ(look_.Lines("select database from lockscope_locks"), Lines{Real("a.db")});
  EXPECT_EQ(other_db_.Lines("select database from lockscope_locks"), Lines{Real("a.db")});
  EXPECT_EQ(other_db_.Lines("select database from lockscope_locks('main')"), Lines{Real("b.db")});
  EXPECT_NE(look_.Value("select lockscope_json('locks')").find(Real("a.db")), std::string::npos);
}

TEST_F(TargetsTest, ASettingThatLeadsNowhereIsToldWhenItIsUsed) {
  look_.Exec("select lockscope_set('target', '/no/such.db')");
  const Reply reply = look_.Try("select * from lockscope_locks");
  EXPECT_EQ(reply.code, SQLITE_CANTOPEN);
  EXPECT_NE(reply.message.find("/no/such.db"), std::string::npos);
}

// ---- refused ----

TEST_F(TargetsTest, AMissingPathIsCantopenAndNamed) {
  EXPECT_EQ(Refusal(dir_ / "none.db"), SQLITE_CANTOPEN);
  EXPECT_TRUE(Says(dir_ / "none.db")) << message_;
  EXPECT_TRUE(Says("No such file")) << message_;
  EXPECT_EQ(Refusal("/no/such/folder/x.db"), SQLITE_CANTOPEN);
  EXPECT_EQ(FileSize(dir_ / "none.db"), -1);
}

TEST_F(TargetsTest, NullAndNothingAreMisuse) {
  EXPECT_EQ(Refusal(""), SQLITE_MISUSE);
  EXPECT_EQ(look_.Try("select * from lockscope_locks(NULL)").code, SQLITE_MISUSE);
  EXPECT_EQ(look_.Try("select lockscope_json('locks', NULL)").code, SQLITE_MISUSE);
  EXPECT_EQ(look_.Try("select lockscope_json(NULL)").code, SQLITE_MISUSE);
  EXPECT_EQ(look_.Try("select lockscope_json('no_such')").code, SQLITE_MISUSE);
  EXPECT_EQ(look_.Try("select * from lockscope_locks(cast(x'612e64620078' as text))").code,
            SQLITE_MISUSE);
}

TEST_F(TargetsTest, InMemoryAndTemporarySchemasAreMisuse) {
  look_.Exec("attach ':memory:' as m; attach '' as e; create temp table x(y)");
  for (const char* schema : {"main", "temp", "TEMP", "m", "e"}) {
    EXPECT_EQ(Refusal(schema), SQLITE_MISUSE) << schema;
    EXPECT_TRUE(Says("in memory or temporary")) << message_;
  }
}

TEST_F(TargetsTest, WhatBelongsToADatabaseIsMisuse) {
  Db wal(dir_ / "w.db");
  wal.Exec("pragma journal_mode=wal; create table t(x)");
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    EXPECT_EQ(Refusal((dir_ / "w.db") + suffix), SQLITE_MISUSE) << suffix;
    EXPECT_TRUE(Says("belongs to " + (dir_ / "w.db"))) << message_;
  }
  fs::create_symlink("w.db-wal", dir_ / "innocent");
  EXPECT_EQ(Refusal(dir_ / "innocent"), SQLITE_MISUSE);
}

TEST_F(TargetsTest, ADatabaseMayBeCalledLikeASidecarOfNothing) {
  Db db(dir_ / "my-wal");
  db.Exec("create table t(x); begin immediate");
  EXPECT_EQ(Databases(dir_ / "my-wal"), Lines{Real("my-wal")});
}

TEST_F(TargetsTest, WithoutAHeaderItIsNoDatabase) {
  std::ofstream(dir_ / "text") << std::string(5000, 'x');
  std::ofstream(dir_ / "short") << "SQLite format 3";
  EXPECT_EQ(Refusal(dir_ / "text"), SQLITE_NOTADB);
  EXPECT_TRUE(Says(dir_ / "text")) << message_;
  EXPECT_EQ(Refusal(dir_ / "short"), SQLITE_NOTADB);
}

TEST_F(TargetsTest, AnEmptyFileIsADatabase) {
  std::ofstream(dir_ / "empty").flush();
  EXPECT_EQ(Refusal(dir_ / "empty"), SQLITE_OK);
  EXPECT_EQ(Databases(dir_ / "empty"), Lines{});
}

TEST_F(TargetsTest, DirectoriesFifosAndDevicesAreCantopen) {
  EXPECT_EQ(Refusal(dir_.path()), SQLITE_CANTOPEN);
  ASSERT_EQ(mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(Refusal(dir_ / "fifo"), SQLITE_CANTOPEN);  // and does not wait for a writer
  EXPECT_TRUE(Says("not a regular file")) << message_;
  EXPECT_EQ(Refusal("/dev/null"), SQLITE_CANTOPEN);
  fs::create_symlink("loop", dir_ / "loop");
  EXPECT_EQ(Refusal(dir_ / "loop"), SQLITE_CANTOPEN);
}

TEST_F(TargetsTest, WhatMayNotBeReadIsCantopen) {
  dir_.AllowEverybody();
  Actor nobody;
  nobody.Load("m", LOCKSCOPE_LOADABLE_FILE);
  if (geteuid() == 0) nobody.Become(65534, 65534);
  fs::permissions(path_, fs::perms::none);
  const Reply reply = nobody.Try("m", "select * from lockscope_locks(" + Quote(path_) + ")");
  EXPECT_EQ(reply.code, SQLITE_CANTOPEN) << reply;
  EXPECT_NE(reply.message.find(path_), std::string::npos) << reply;
  EXPECT_NE(reply.message.find("Permission denied"), std::string::npos) << reply;
}

// ---- joins ----

TEST_F(TargetsTest, TheArgumentMayComeFromAnotherTable) {
  look_.Exec("create table paths(p); insert into paths values (" + Quote(path_) + "), (" +
             Quote(other_) + ")");
  const Lines both = {Real("a.db") + " RESERVED", Real("b.db") + " RESERVED"};
  EXPECT_EQ(look_.Lines("select database, mode from paths, lockscope_locks(paths.p) order by 1"),
            both);
  EXPECT_EQ(look_.Lines("select database, mode from lockscope_locks l join paths on l.target = p "
                        "order by 1"),
            both);
  EXPECT_EQ(look_.Lines("select database, mode from lockscope_locks(paths.p), paths order by 1"),
            both);
  EXPECT_EQ(look_.Lines("select target = p from paths, lockscope_locks(paths.p)"),
            (Lines{"1", "1"}));
}

TEST_F(TargetsTest, ATargetThatIsNotGivenIsNull) {
  EXPECT_EQ(db_.Lines("select target from lockscope_locks"), Lines{"NULL"});
}

TEST_F(TargetsTest, RowsCanBeFilteredSortedAndJoinedWithThemselves) {
  EXPECT_EQ(db_.Value("select count(*) from lockscope_locks a, lockscope_connections b "
                      "where a.connection = b.connection and a.rowid = 1"),
            "1");
}

}  // namespace
}  // namespace lockscope::testing
