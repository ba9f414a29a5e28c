// A connection that reads already when it asks for the lock to write: what it is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/session.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using ::testing::HasSubstr;

const auto kEndWhateverItReads = HasSubstr(
    "since this one began to read, so it cannot write. Waiting does not help: end whatever it "
    "reads, and run this again.");

class UpgradeTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode +
              "; create table t(x); insert into t values (1)");
  }
  std::string Explanation() {
    return look_.Value("select explanation from lockscope_waits(" + Quote(path_) + ") limit 1");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

// The SQL function f(): another commits, and then the connection whose statement calls it writes.
class Overtaker {
 public:
  Overtaker(Db& db, const std::string& path) : db_(db), other_(path) {
    sqlite3_create_function_v2(db.handle(), "f", 0, SQLITE_UTF8, this, Call, nullptr, nullptr,
                               nullptr);
  }
  int code() const { return code_; }

 private:
  static void Call(sqlite3_context* context, int, sqlite3_value**) {
    auto& self = *static_cast<Overtaker*>(sqlite3_user_data(context));
    self.other_.Exec("insert into t values (2)");
    self.code_ = self.db_.Try("update t set x = x + 1").code;
  }

  Db& db_;
  Db other_;
  int code_ = SQLITE_OK;
};

// There is no transaction to roll back, and no SELECT of the application's to reset. Run again, the
// statement takes its locks the short way.
TEST_F(UpgradeTest, AFunctionThatWritesInAStaleSelectIsToldToRunItAgain) {
  Make("wal");
  Db db(path_);
  Overtaker overtaker(db, path_);
  Statement select(db, "select f() from t limit 1");
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    select.Step();
    select.Reset();
    EXPECT_EQ(overtaker.code(), SQLITE_BUSY_SNAPSHOT);
    EXPECT_THAT(Explanation(), kEndWhateverItReads);
  }
}

TEST_F(UpgradeTest, AWriterBesideAnUnfinishedSelectIsToldToFinishItThoughTheTraceIsReplaced) {
  Make("wal");
  Db db(path_);
  Db other(path_);
  Statement select(db, "select x from t");
  for (const bool replaced : {false, true}) {
    SCOPED_TRACE(replaced);
    select.Step();
    if (replaced) sqlite3_trace_v2(db.handle(), 0, nullptr, nullptr);
    other.Exec("insert into t values (2)");
    EXPECT_EQ(db.Try("update t set x = x + 1").code, SQLITE_BUSY_SNAPSHOT);
    EXPECT_THAT(Explanation(), HasSubstr("reset that SELECT"));
    select.Reset();
  }
}

TEST_F(UpgradeTest, AWriterBesideAnOpenBlobIsToldToEndThat) {
  Make("wal");
  Db db(path_);
  Db other(path_);
  db.Exec("insert into t values (zeroblob(10))");
  sqlite3_blob* blob = nullptr;
  ASSERT_EQ(sqlite3_blob_open(db.handle(), "main", "t", "x", 2, 0, &blob), SQLITE_OK);
  other.Exec("insert into t values (2)");
  EXPECT_EQ(db.Try("delete from t where x = 1").code, SQLITE_BUSY_SNAPSHOT);
  EXPECT_THAT(Explanation(), kEndWhateverItReads);
  sqlite3_blob_close(blob);
}

// SQLite ends no read transaction while a statement that was refused has not been reset.
TEST_F(UpgradeTest, AWriterBesideOneThatWasRefusedIsToldToEndThat) {
  Make("wal");
  Db db(path_);
  Db other(path_);
  db.Exec("select * from t");
  other.Exec("begin immediate");
  Statement refused(db, "delete from t where x = 7");
  EXPECT_EQ(refused.Step(), SQLITE_BUSY);
  db.Exec("select * from t");
  other.Exec("insert into t values (2); commit");
  EXPECT_EQ(db.Try("update t set x = x + 1").code, SQLITE_BUSY_SNAPSHOT);
  EXPECT_THAT(Explanation(), kEndWhateverItReads);
  refused.Reset();
  db.Exec("update t set x = x + 1");
}

// SQLite calls no busy handler where any connection of a cache was reading, whose state nobody
// tells another one.
TEST_F(UpgradeTest, OfASharedCacheItIsNotKnownWhetherWaitingHelps) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    path_ = dir_ / (std::string(mode) + ".db");
    Make(mode);
    const std::string uri = "file:" + path_ + "?cache=shared";
    Db one(uri);
    Db two(uri);
    Db other(path_);
    sqlite3_busy_timeout(two.handle(), 60'000);
    Statement select(one, "select x from t");
    select.Step();
    other.Exec("begin immediate");
    EXPECT_EQ(two.Try("update t set x = x + 1").code, SQLITE_BUSY);
    const auto says_so = HasSubstr(
        "If another connection of the shared cache was reading before, "
        "waiting does not help: end that; otherwise set a busy timeout.");
    EXPECT_THAT(Explanation(), says_so);
    EXPECT_THAT(two.Value("select lockscope_why()"), says_so);
    other.Exec("rollback");
    EXPECT_THAT(two.Value("select lockscope_why()"), says_so);
  }
}

// Nor that it is a statement of its own that reads.
TEST_F(UpgradeTest, OfASharedCacheAStaleSnapshotMayBeAnothersToo) {
  Make("wal");
  const std::string uri = "file:" + path_ + "?cache=shared";
  Db one(uri);
  Db two(uri);
  Db other(path_);
  Statement select(one, "select x from t");
  select.Step();
  other.Exec("insert into t values (2)");
  EXPECT_EQ(two.Try("update t set x = x + 1").code & 0xff, SQLITE_BUSY);
  EXPECT_THAT(two.Value("select lockscope_why()"), HasSubstr("waiting does not help: end that"));
}

}  // namespace
}  // namespace lockscope::testing
