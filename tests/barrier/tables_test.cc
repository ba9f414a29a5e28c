// What the tables show of a barrier: BarrierTablesTest.
#include <gtest/gtest.h>

#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "barrier/hosted.h"

namespace lockscope::testing {
namespace {

// Expected: the columns of the contract, in order; the values of this barrier; no row after it.
TEST(BarrierTablesTest, BarriersHasARowPerBarrier) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db", {.journal_mode = "delete"});
    Db host(dir / "a.db");
    host.Exec("attach " + Quote(dir / "b.db") + " as b");
    Db look(":memory:");
    EXPECT_EQ(look.Value("select group_concat(name, ' ') from pragma_table_info("
                         "'lockscope_barriers') where name <> 'target'"),
              "database pid process connection since age_ms sql source token label kind databases "
              "expires state");
    const std::string token = host.Value(BarrierSql({.kind = "write", .max_hold_ms = 90'000}));
    for (const std::string name : {"a.db", "b.db"}) {
      const std::string from = " from lockscope_barriers(" + Quote(dir / name) + ")";
      EXPECT_EQ(
          look.Value("select database, pid, source, token, label is null, kind, state" + from),
          (dir / name) + " " + std::to_string(getpid()) + " shim " + token + " 1 write held");
      EXPECT_EQ(look.Value("select age_ms between 0 and 60000 and julianday(since) <= "
                           "julianday('now') + 0.001 and (julianday(expires) - "
                           "julianday('now')) * 86400 between 60 and 91" +
                           from),
                "1");
      const auto paths = nlohmann::json::parse(look.Value("select databases" + from));
      EXPECT_EQ(paths, nlohmann::json::array({dir / "a.db", dir / "b.db"}));
    }
    EXPECT_EQ(Released(host, token), "1");
    EXPECT_EQ(look.Query("select 1 from lockscope_barriers(" + Quote(dir / "a.db") + ")").size(),
              0U);
    const std::string second = host.Value(BarrierSql());
    EXPECT_EQ(look.Value("select expires is null, kind from lockscope_barriers(" +
                         Quote(dir / "a.db") + ")"),
              "1 snapshot");
    EXPECT_EQ(Released(host, second), "1");
  });
}

// Expected: a row of this process in state `barrier`, which is not the host's own connection; the
// row of lockscope_barriers names it; no such row afterwards.
TEST(BarrierTablesTest, PrivateConnectionIsARowInStateBarrier) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host(dir / mode);
      host.Exec("select count(*) from t");
      Db look(":memory:");
      const std::string path = Quote(dir / mode);
      const std::string token = host.Value(BarrierSql());
      EXPECT_EQ(look.Lines("select state from lockscope_connections(" + path +
                           ") where source = 'shim' order by connection"),
                (std::vector<std::string>{"idle", "barrier"}));
      EXPECT_EQ(look.Value("select count(*) from lockscope_connections(" + path +
                           ") c join lockscope_barriers(" + path +
                           ") b on c.connection = b.connection where c.state = 'barrier'"),
                "1");
      EXPECT_EQ(Released(host, token), "1");
      EXPECT_EQ(look.Lines("select state from lockscope_connections(" + path + ")"),
                (std::vector<std::string>{"idle"}));
    }
  });
}

// Expected: its locks are own rows, granted and verified.
TEST(BarrierTablesTest, LocksOfTheBarrierAreVerified) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "wal");
    CreateDatabase(dir / "delete", {.journal_mode = "delete"});
    const std::map<std::string, std::vector<std::string>> expected = {
        {"wal snapshot",
         {"database SHARED", "wal-checkpoint EXCLUSIVE", "wal-open SHARED", "wal-read-0 SHARED",
          "wal-read-1 SHARED"}},
        {"wal write",
         {"database SHARED", "wal-checkpoint EXCLUSIVE", "wal-open SHARED", "wal-read-0 SHARED",
          "wal-read-1 SHARED", "wal-write EXCLUSIVE"}},
        {"delete snapshot", {"database RESERVED"}},
        {"delete exclusive", {"database EXCLUSIVE"}}};
    Db look(":memory:");
    for (const auto& [words, locks] : expected) {
      SCOPED_TRACE(words);
      const std::string mode = words.substr(0, words.find(' '));
      Db host(dir / mode);
      const std::string token = host.Value(BarrierSql({.kind = words.substr(mode.size() + 1)}));
      const std::string from = " from lockscope_locks(" + Quote(dir / mode) +
                               ") where connection = (select connection from lockscope_barriers(" +
                               Quote(dir / mode) + "))";
      EXPECT_EQ(look.Lines("select resource, mode" + from + " order by resource"), locks);
      EXPECT_EQ(look.Value("select min(granted), min(verified), min(source), max(source)" + from),
                "1 1 shim shim");
      EXPECT_EQ(Released(host, token), "1");
    }
  });
}

// Expected: the manifest is the rows of the table, keys as its columns.
TEST(BarrierTablesTest, ManifestIsTheTableAsJson) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db", {.journal_mode = "delete"});
    Db host(dir / "a.db");
    host.Exec(TransactionsSql(3) + "attach " + Quote(dir / "b.db") + " as b");
    const std::string token = host.Value(BarrierSql());
    const auto rows = host.Query("select * from lockscope_barrier_files(" + Quote(token) + ")");
    const auto manifest = nlohmann::json::parse(
        host.Value("select lockscope_barrier_manifest(" + Quote(token) + ")"));
    const char* columns[] = {"database", "schema", "path",   "role",
                             "bytes",    "frames", "device", "inode"};
    ASSERT_EQ(manifest.size(), 3U);
    ASSERT_EQ(rows.size(), 3U);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t k = 0; k < std::size(columns); ++k) {
        const auto& value = manifest[i].at(columns[k]);
        EXPECT_EQ(rows[i].at(k), value.is_null()     ? "NULL"
                                 : value.is_string() ? value.get<std::string>()
                                                     : value.dump());
      }
    }
    EXPECT_EQ(manifest[0].at("role"), "database");
    EXPECT_TRUE(manifest[0].at("frames").is_null());
    EXPECT_EQ(manifest[1].at("role"), "wal");
    EXPECT_EQ(manifest[1].at("database"), dir / "a.db");
    EXPECT_EQ(manifest[1].at("path"), dir / "a.db-wal");
    EXPECT_EQ(manifest[2].at("schema"), "b");
    EXPECT_EQ(Released(host, token), "1");
  });
}

}  // namespace
}  // namespace lockscope::testing
