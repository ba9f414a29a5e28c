// lockscope_json() and the pragmas:
//   shapes    no rows, NULL, numbers, keys in the order of the columns, either name of a table
//   text      that is not UTF-8 is repaired
//   agrees    with the tables
//   pragmas   one row, one column

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "core/session.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Json = nlohmann::ordered_json;
using Lines = std::vector<std::string>;

class JsonTest : public ::testing::Test {
 protected:
  Json Ask(const std::string& table) {
    return Json::parse(
        look_.Value("select lockscope_json(" + Quote(table) + ", " + Quote(path_) + ")"));
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db db_{path_};
  Db look_{":memory:"};
};

// ---- shapes ----

TEST_F(JsonTest, NoRowsAreAnEmptyArray) {
  EXPECT_EQ(look_.Value("select lockscope_json('locks')"), "[]");
  db_.Exec("create table t(x)");
  EXPECT_EQ(look_.Value("select lockscope_json('wal', " + Quote(path_) + ")"), "[]");
}

TEST_F(JsonTest, KeysAreTheColumnsInOrder) {
  db_.Exec("pragma journal_mode=wal; create table t(x); begin immediate; select * from t");
  for (const char* table :
       {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
    const Json rows = Ask(table);
    ASSERT_FALSE(rows.empty()) << table;
    Lines keys;
    for (const auto& [key, value] : rows[0].items()) keys.push_back(key);
    EXPECT_EQ(keys, look_.Lines("select name from pragma_table_info('lockscope_" +
                                std::string(table) + "')"))
        << table;
  }
}

TEST_F(JsonTest, NumbersAreNumbersAndUnknownIsNull) {
  db_.Exec("pragma journal_mode=wal; create table t(x); begin; insert into t values (1)");
  const Json rows = Ask("connections");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_TRUE(rows[0]["pid"].is_number_integer());
  EXPECT_TRUE(rows[0]["application"].is_null());
  EXPECT_TRUE(rows[0]["last_busy"].is_null());
  EXPECT_EQ(rows[0]["autocommit"], 0);
  EXPECT_EQ(rows[0]["state"], "writing");
  EXPECT_EQ(rows[0]["sqlite_version"], sqlite3_libversion());
  EXPECT_EQ(rows[0]["sqlite_source_id"], sqlite3_sourceid());
}

TEST_F(JsonTest, ATableMayBeNamedWithItsPrefix) {
  db_.Exec("create table t(x); begin immediate");
  EXPECT_EQ(Ask("lockscope_locks").size(), 1U);
  EXPECT_EQ(Ask("locks").size(), 1U);
}

// ---- text ----

TEST_F(JsonTest, TextThatIsNotUtf8IsRepaired) {
  db_.Exec("create table t(x); begin; insert into t values ('\xff\xc3(\x01\"')");
  const Json rows = Ask("locks");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0]["sql"], "insert into t values ('\xef\xbf\xbd\xef\xbf\xbd(\x01\"')");
}

// ---- agrees ----

TEST_F(JsonTest, SaysWhatTheTableSays) {
  db_.Exec("pragma journal_mode=wal; create table t(x); begin; insert into t values (1)");
  Lines by_json;
  for (const Json& row : Ask("locks")) {
    by_json.push_back(row["resource"].get<std::string>() + " " + row["mode"].get<std::string>());
  }
  EXPECT_EQ(by_json,
            look_.Lines("select resource, mode from lockscope_locks(" + Quote(path_) + ")"));
  EXPECT_EQ(by_json.size(), 4U);  // database, wal-write, a read slot, wal-open
}

// ---- pragmas ----

TEST_F(JsonTest, ThePragmasAnswerInOneRowOfOneColumn) {
  db_.Exec("pragma journal_mode=wal; create table t(x); begin immediate");
  // Without the age at its end.
  const auto ask = [this](const std::string& pragma) {
    const std::string answer = db_.Value("pragma " + pragma);
    return answer.substr(0, answer.rfind(" for "));
  };
  const std::string wal = ask("lockscope_wal");
  EXPECT_TRUE(wal.starts_with("WAL, 4096-byte pages, 2 frames (8.3 kB), 0 checkpointed")) << wal;
  EXPECT_NE(wal.find("pinned by pid " + std::to_string(getpid())), std::string::npos) << wal;
  EXPECT_EQ(ask("wal_status"), wal);
  EXPECT_EQ(ask("LOCKSCOPE_WAL"), wal);
  const std::string locks = db_.Value("pragma lockscope_locks");
  EXPECT_NE(locks.find("wal-write EXCLUSIVE"), std::string::npos) << locks;
  EXPECT_NE(locks.find("pid " + std::to_string(getpid())), std::string::npos) << locks;
  EXPECT_EQ(db_.Query("pragma lockscope_locks").at(0).size(), 1U);
}

TEST_F(JsonTest, ThePragmasAnswerInRollbackModeToo) {
  db_.Exec("create table t(x)");
  EXPECT_TRUE(db_.Value("pragma lockscope_wal").starts_with("rollback journal, 4096-byte pages"));
  EXPECT_EQ(db_.Value("pragma lockscope_locks"), "no locks");
}

TEST_F(JsonTest, ThePragmasAreAboutTheSchemaTheyName) {
  Db other(dir_ / "b.db");
  other.Exec("create table t(x); attach " + Quote(path_) +
             " as a; create table a.t(x);"
             "begin; insert into a.t values (1)");
  EXPECT_EQ(other.Value("pragma main.lockscope_locks"), "no locks");
  EXPECT_NE(other.Value("pragma a.lockscope_locks").find("database RESERVED"), std::string::npos);
}

TEST_F(JsonTest, WithoutTheShimThePragmasAreUnknownToSqlite) {
  EXPECT_TRUE(look_.Lines("pragma lockscope_wal").empty());
  Db plain(path_, "unix");
  EXPECT_TRUE(plain.Lines("pragma lockscope_wal").empty());
}

}  // namespace
}  // namespace lockscope::testing
