// Consistent cuts over two databases, while plain SQLite writes to both in one transaction:
// CutTest.
//
// A transaction moves some v from one database to the other and adds a row to each. So in every cut
// both have as many rows, and the two sums are 0 together.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "barrier/hosted.h"

namespace lockscope::testing {
namespace {

struct Pair {
  std::string first;
  std::string second;
};

// Which of the two is written first changes.
std::string CrossSql(int count) {
  std::string sql;
  for (int i = 0; i < count; ++i) {
    const std::string a = i % 2 == 0 ? "main" : "b";
    const std::string b = i % 2 == 0 ? "b" : "main";
    const std::string amount = std::to_string(1 + i % 50);
    sql += "begin immediate; update " + a + ".t set v = v - " + amount +
           " where id = " + std::to_string(1 + i % 200) + "; insert into " + a +
           ".t(v) values(0); update " + b + ".t set v = v + " + amount +
           " where id = " + std::to_string(200 - i % 200) + "; insert into " + b +
           ".t(v) values(0); commit;";
  }
  return sql;
}

// "ok ok 0 0": both are whole, the sums are 0 together, and neither has a row more.
std::string CutVerdict(const std::string& folder) {
  Actor reader;
  reader.Open("c", folder + "/a.db");
  reader.Exec("c", "attach " + Quote(folder + "/b.db") + " as b");
  return Answered(reader.Try("c", "pragma main.integrity_check")) + " " +
         Answered(reader.Try("c", "pragma b.integrity_check")) + " " +
         Answered(
             reader.Try("c", "select (select sum(v) from main.t) + (select sum(v) from b.t)")) +
         " " +
         Answered(
             reader.Try("c", "select (select count(*) from main.t) - (select count(*) from b.t)"));
}

void CutWhileOthersWrite(const TempDir& dir, const Pair& modes) {
  CreateDatabase(dir / "a.db", {.journal_mode = modes.first});
  CreateDatabase(dir / "b.db", {.journal_mode = modes.second});
  Actor writers[2];
  for (Actor& writer : writers) {
    writer.Open("w", dir / "a.db");
    writer.Exec("w", "attach " + Quote(dir / "b.db") +
                         " as b; pragma main.synchronous = off; pragma b.synchronous = off");
    writer.BusyTimeout("w", 20'000);
  }
  Db host(dir / "b.db");
  host.Exec("attach " + Quote(dir / "a.db") + " as a");
  std::vector<Answer> answers;
  int copies = 0;
  for (const std::string kind : {"snapshot", "write", "snapshot"}) {
    for (Actor& writer : writers) answers.push_back(writer.Start("w", CrossSql(60)));
    const std::string token = host.Value(BarrierSql({.kind = kind, .timeout_ms = 20'000}));
    const std::string folder = dir / ("copy" + std::to_string(++copies));
    CopyListed(host, token, folder, kind == "write" ? Copy::kWhole : Copy::kExact);
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
    EXPECT_EQ(CutVerdict(folder), "ok ok 0 0") << kind;
  }
  for (Answer& answer : answers) EXPECT_TRUE(answer.Wait().ok());
  EXPECT_EQ(CutVerdict(dir.path()), "ok ok 0 0");
}

// Expected, of all: no transaction is split.
TEST(CutTest, BothInWalMode) {
  EachRound([](const TempDir& dir) { CutWhileOthersWrite(dir, {"wal", "wal"}); });
}

TEST(CutTest, WalAndRollbackMode) {
  EachRound([](const TempDir& dir) { CutWhileOthersWrite(dir, {"wal", "delete"}); });
}

TEST(CutTest, RollbackModeAndWal) {
  EachRound([](const TempDir& dir) { CutWhileOthersWrite(dir, {"truncate", "wal"}); });
}

TEST(CutTest, BothInRollbackModes) {
  EachRound([](const TempDir& dir) { CutWhileOthersWrite(dir, {"delete", "persist"}); });
}

}  // namespace
}  // namespace lockscope::testing
