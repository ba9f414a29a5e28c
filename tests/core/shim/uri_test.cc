// Settings in a database's URI:
//   good   in force for that database only; below the process's own word
//   bad    SQLITE_CANTOPEN for opening and ATTACH, the reason in SQLite's log
//   SQL    lockscope_set and lockscope_get, and their errors

#include <gtest/gtest.h>

#include "core/session.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class UriTest : public ::testing::Test {
 protected:
  ~UriTest() override {
    Db db(":memory:");
    for (const char* name :
         {"application", "capture_sql", "registry", "target", "wal_reset_guard"}) {
      db.Exec("select lockscope_set('" + std::string(name) + "', 'default')");
    }
  }
  std::string Uri(const std::string& parameters) const {
    return "file:" + path_ + "?" + parameters;
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
};

// ---- good ----

TEST_F(UriTest, AParameterIsInForceForItsDatabase) {
  Db off(Uri("lockscope_capture_sql=off&lockscope_wal_reset_guard=off"));
  Db on(path_);
  EXPECT_EQ(off.Value("select lockscope_get('capture_sql'), lockscope_get('wal_reset_guard')"),
            "off off");
  EXPECT_EQ(on.Value("select lockscope_get('capture_sql')"), "on");
}

TEST_F(UriTest, ADatabaseMayBePrivate) {
  Db secret(Uri("lockscope_registry=Private"));
  Db shown(path_);
  EXPECT_EQ(secret.Value("select lockscope_get('registry')"), "private");
  EXPECT_EQ(shown.Value("select lockscope_get('registry')"), "shared");
  EXPECT_EQ(secret.Value("select lockscope_set('registry', 'shared')"), "shared");
  EXPECT_EQ(secret.Value("select lockscope_set('registry', 'default')"), "private");
}

TEST_F(UriTest, CaptureOffMeansNoSqlInTheTables) {
  Db off(Uri("lockscope_capture_sql=off"));
  off.Exec("create table t(x); begin immediate");
  EXPECT_EQ(off.Lines("select sql from lockscope_locks"), std::vector<std::string>{"NULL"});
}

TEST_F(UriTest, TheProcesssWordGoesFirstAndCanBeTakenBack) {
  Db db(Uri("lockscope_capture_sql=off"));
  db.Exec("create table t(x)");
  EXPECT_EQ(db.Value("select lockscope_set('capture_sql', 'on')"), "on");
  db.Exec("begin immediate");
  EXPECT_EQ(db.Value("select sql from lockscope_locks"), "begin immediate");
  db.Exec("rollback");
  EXPECT_EQ(db.Value("select lockscope_set('capture_sql', 'default')"), "off");
  db.Exec("begin immediate");
  EXPECT_EQ(db.Value("select sql from lockscope_locks"), "NULL");
}

TEST_F(UriTest, TheProcesssWordIsInForceFromTheNextStatementOnEverywhere) {
  Db a(path_);
  Db b(":memory:");
  a.Exec("create table t(x)");
  EXPECT_EQ(b.Value("select lockscope_set('capture_sql', 'off')"), "off");
  a.Exec("begin immediate");
  EXPECT_EQ(a.Value("select sql from lockscope_locks"), "NULL");
}

TEST_F(UriTest, AttachedDatabasesHaveTheirOwn) {
  Db db(path_);
  db.Exec("attach " + Quote("file:" + (dir_ / "b.db") + "?lockscope_capture_sql=off") + " as b");
  db.Exec("create table main.t(x); create table b.t(x); begin immediate");
  EXPECT_EQ(db.Value("select sql from lockscope_locks('main')"), "begin immediate");
  EXPECT_EQ(db.Value("select sql from lockscope_locks('b')"), "NULL");
}

TEST_F(UriTest, ParametersThatAreNotOursAreLeftAlone) {
  Db db(Uri("cache=private&locks=cope&lockscope=1&Lockscope_X=1"));
  EXPECT_EQ(db.Value("select lockscope_get('capture_sql')"), "on");
}

// ---- bad ----

TEST_F(UriTest, ABadParameterIsCantopenWithTheReasonInTheLog) {
  struct Case {
    const char* parameter;
    const char* reason;
  };
  for (const Case& c :
       {Case{"lockscope_capture_sql=maybe", "capture_sql is 'on' or 'off', not 'maybe'"},
        Case{"lockscope_capture_sql=", "capture_sql is 'on' or 'off', not ''"},
        Case{"lockscope_capture_sql", "capture_sql is 'on' or 'off', not ''"},
        Case{"lockscope_wal_reset_guard=2", "wal_reset_guard is 'on' or 'off'"},
        Case{"lockscope_no_such=1", "'no_such'"}, Case{"lockscope_=1", "''"},
        Case{"lockscope_registry=on", "registry is 'shared' or 'private', not 'on'"},
        Case{"lockscope_application=x", "application is no setting of a single database"},
        Case{"lockscope_target=x", "target is no setting of a single database"},
        Case{"lockscope_log=debug", "log is no setting of a single database"},
        Case{"lockscope_wait_log_ms=5", "wait_log_ms is no setting of a single database"},
        Case{"lockscope_recovery_wait_ms=soon", "recovery_wait_ms is a number of milliseconds"}}) {
    SCOPED_TRACE(c.parameter);
    const LogCapture log;
    EXPECT_EQ(OpenCode(Uri(c.parameter)), SQLITE_CANTOPEN);
    EXPECT_EQ(log.Count(c.reason), 1);
    EXPECT_EQ(log.Count("lockscope: cannot open " + path_), 1);
  }
  Db look(":memory:");
  EXPECT_EQ(look.Try("select * from lockscope_connections(" + Quote(path_) + ")").code,
            SQLITE_CANTOPEN);  // no file was made
}

TEST_F(UriTest, ABadParameterBehindAGoodOneIsBadToo) {
  EXPECT_EQ(OpenCode(Uri("lockscope_capture_sql=off&cache=private&lockscope_x=1")),
            SQLITE_CANTOPEN);
}

TEST_F(UriTest, ABadParameterMakesAttachFail) {
  Db db(path_);
  const LogCapture log;
  const Reply reply =
      db.Try("attach " + Quote("file:" + (dir_ / "b.db") + "?lockscope_capture_sql=x") + " as b");
  EXPECT_EQ(reply.code & 0xff, SQLITE_CANTOPEN) << reply;
  EXPECT_EQ(log.Count("not 'x'"), 1);
  EXPECT_EQ(db.Value("select count(*) from pragma_database_list"), "1");
}

// ---- SQL ----

TEST_F(UriTest, SetAnswersTheValueInForce) {
  Db db(":memory:");
  EXPECT_EQ(db.Value("select lockscope_set('capture_sql', 0)"), "off");
  EXPECT_EQ(db.Value("select lockscope_get('capture_sql')"), "off");
  EXPECT_EQ(db.Value("select lockscope_set('target', '/x.db')"), "/x.db");
  EXPECT_EQ(db.Value("select lockscope_set('target', 'default')"), "NULL");
  EXPECT_EQ(db.Value("select typeof(lockscope_get('target'))"), "null");
  EXPECT_EQ(db.Value("select lockscope_set('registry', 'PRIVATE')"), "private");
  EXPECT_EQ(db.Value("select lockscope_get('registry')"), "private");
  EXPECT_EQ(db.Value("select lockscope_set('application', 'import')"), "import");
  EXPECT_EQ(db.Value("select lockscope_get('application')"), "import");
  EXPECT_EQ(db.Value("select lockscope_set('application', 'default')"), "NULL");
}

TEST_F(UriTest, WhatMeansNothingIsMisuseWithTheReason) {
  Db db(":memory:");
  struct Case {
    const char* sql;
    const char* reason;
  };
  for (const Case& c : {Case{"select lockscope_set('no_such', 'on')", "no_such"},
                        Case{"select lockscope_set('log', 'loud')", "not 'loud'"},
                        Case{"select lockscope_set('log', 'info:/dev/null/x')", "/dev/null/x: "},
                        Case{"select lockscope_set('wait_log_ms', -1)", "not '-1'"},
                        Case{"select lockscope_set('recovery_wait_ms', 1.5)", "not '1.5'"},
                        Case{"select lockscope_set('registry', 'off')",
                             "registry is 'shared' or 'private', not 'off'"},
                        Case{"select lockscope_set('application', '')", "application"},
                        Case{"select lockscope_set('capture_sql', 'maybe')", "'maybe'"},
                        Case{"select lockscope_set('capture_sql', '')", "''"},
                        Case{"select lockscope_set('capture_sql', NULL)", "NULL"},
                        Case{"select lockscope_set(NULL, 'on')", "NULL"},
                        Case{"select lockscope_set('target', '')", "target"},
                        Case{"select lockscope_get('no_such')", "no_such"},
                        Case{"select lockscope_get(NULL)", "NULL"}}) {
    const Reply reply = db.Try(c.sql);
    EXPECT_EQ(reply.code, SQLITE_MISUSE) << c.sql;
    EXPECT_NE(reply.message.find(c.reason), std::string::npos) << reply;
  }
  EXPECT_EQ(db.Value("select lockscope_get('capture_sql')"), "on");
}

TEST_F(UriTest, SettingsCannotBeChangedFromASchema) {
  Db db(path_);
  db.Exec(
      "create table t(x);"
      "create view v as select lockscope_set('capture_sql', 'off') as x;"
      "create trigger r after insert on t begin select lockscope_set('capture_sql', 'off'); end");
  for (const char* sql : {"select * from v", "insert into t values (1)"}) {
    const Reply reply = db.Try(sql);
    EXPECT_FALSE(reply.ok()) << sql;
    EXPECT_NE(reply.message.find("unsafe use"), std::string::npos) << reply;
  }
  EXPECT_EQ(db.Value("select lockscope_get('capture_sql')"), "on");
}

}  // namespace
}  // namespace lockscope::testing
