// Processes in different pid namespaces, as in containers that share a volume: what they publish is
// seen by each, with a pid where that means something to the one who looks. Making a namespace
// needs root; else skipped by name.
#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "barrier/hosted.h"
#include "registry/seen.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

const std::vector<std::string> kNewPidNamespace = {"unshare", "--pid", "--fork", "--kill-child",
                                                   "--mount-proc"};

class RegistryNamespacesTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::vector<std::string> argv = kNewPidNamespace;
    argv.emplace_back("true");
    if (!RunProgram({.argv = argv}).ok()) GTEST_SKIP() << "cannot make a pid namespace";
    CreateDatabase(db_, {.journal_mode = GetParam()});
  }

  // A process with lockscope, number 1 of a pid namespace of its own.
  class Inside : public HostProcess {
   public:
    Inside() : HostProcess({.run_by = kNewPidNamespace}) {}
    // As this process numbers it: the one child of the unshare that runs it.
    pid_t PidHere() const {
      const std::string unshare = std::to_string(pid());
      const ProgramResult child =
          RunProgram({.argv = {"cat", "/proc/" + unshare + "/task/" + unshare + "/children"}});
      return std::stoi(child.out);
    }
  };

  static void Read(Actor& host, const std::string& what = "select count(*) from t") {
    host.Exec("c", "begin");
    host.Exec("c", what);
  }

  Json SeenBy(Actor& host, const std::string& table) const {
    return Json::parse(host.Query(
        "loader", "select lockscope_json(" + Quote(table) + ", " + Quote(db_) + ")")[0][0]);
  }

  // The one connection of that statement, and no kernel row beside any.
  void ExpectSeen(const Json& connections, const Json& locks, const std::string& sql,
                  const Json& pid) const {
    const Json rows = Where(connections, "sql", sql);
    ASSERT_EQ(rows.size(), 1U) << connections.dump(2);
    EXPECT_EQ(rows.at(0).at("pid"), pid);
    EXPECT_EQ(rows.at(0).at("source"), "shim");
    EXPECT_EQ(rows.at(0).at("state"), "reading");
    EXPECT_EQ(rows.at(0).at("connection"), 1);
    EXPECT_NE(rows.at(0).at("process").get<std::string>().find("lockscope_actor"),
              std::string::npos);
    EXPECT_EQ(FromKernel(connections).size(), 0U) << connections.dump(2);
    EXPECT_EQ(FromKernel(locks).size(), 0U) << locks.dump(2);
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
};

INSTANTIATE_TEST_SUITE_P(Journals, RegistryNamespacesTest, ::testing::Values("wal", "delete"));

TEST_P(RegistryNamespacesTest, ProcessOutsideIsSeenWithoutAPid) {
  HostProcess outside;
  outside.Open("c", db_);
  Read(outside);
  Inside inside;
  const Json locks = SeenBy(inside, "locks");
  ExpectSeen(SeenBy(inside, "connections"), locks, "select count(*) from t", nullptr);
  EXPECT_EQ(Values(locks, "verified"), std::vector<Json>{1}) << locks.dump(2);
  const Json snapshots = SeenBy(inside, "snapshots");
  ASSERT_EQ(snapshots.size(), 1U);
  EXPECT_EQ(snapshots.at(0).at("sql"), "select count(*) from t");
  for (const char* table : {"events", "stats"}) {
    const Json rows = SeenBy(inside, table);
    EXPECT_GT(rows.size(), 0U) << table;
    EXPECT_EQ(Values(rows, "pid"), std::vector<Json>{nullptr}) << table;
    EXPECT_EQ(Values(rows, "process"), Values(locks, "process")) << table;
  }
  // It is gone with its locks.
  outside.Kill();
  EXPECT_EQ(SeenBy(inside, "connections").size(), 0U);
  EXPECT_EQ(SeenBy(inside, "locks").size(), 0U);
}

TEST_P(RegistryNamespacesTest, ProcessOfANamespaceBelowHasItsPidHere) {
  Inside inside;
  inside.Open("c", db_);
  Read(inside);
  ASSERT_EQ(inside.Query("loader", "select pid from lockscope_connections(" + Quote(db_) + ")"),
            (std::vector<Row>{{"1"}}));
  const pid_t pid = inside.PidHere();
  const Json locks = SeenHere("locks", db_);
  ExpectSeen(SeenHere("connections", db_), locks, "select count(*) from t", pid);
  EXPECT_EQ(Values(locks, "pid"), std::vector<Json>{pid});
  EXPECT_EQ(Values(locks, "verified"), std::vector<Json>{1}) << locks.dump(2);
  for (const char* table : {"events", "stats", "snapshots"}) {
    EXPECT_EQ(Values(SeenHere(table, db_), "pid"), std::vector<Json>{pid}) << table;
  }
  kill(pid, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !inside.alive(); }));  // unshare has waited for it
  EXPECT_EQ(SeenHere("connections", db_).size(), 0U);
}

TEST_P(RegistryNamespacesTest, ProcessesOfTwoNamespacesSeeEachOther) {
  Inside a;
  Inside b;
  a.Open("c", db_);
  b.Open("c", db_);
  Read(a, "select count(*) from t -- a");
  Read(b, "select count(*) from t -- b");
  // Both are number 1 of their own: neither takes the other for itself.
  for (Actor* host : {&a, &b}) {
    std::string own = "select count(*) from t -- a";
    std::string its = "select count(*) from t -- b";
    if (host == &b) std::swap(own, its);
    const Json connections = SeenBy(*host, "connections");
    const Json locks = SeenBy(*host, "locks");
    EXPECT_EQ(connections.size(), 2U);
    ExpectSeen(connections, locks, own, 1);
    ExpectSeen(connections, locks, its, nullptr);
    EXPECT_EQ(Values(OfPid(locks, 1), "verified"), std::vector<Json>{1});
    // Of two holders of the same bytes the kernel tells one, which may be oneself.
    for (const Json& row : Where(locks, "pid", nullptr)) EXPECT_NE(row.at("verified"), 0);
  }
  const Json connections = SeenHere("connections", db_);
  const Json locks = SeenHere("locks", db_);
  ExpectSeen(connections, locks, "select count(*) from t -- a", a.PidHere());
  ExpectSeen(connections, locks, "select count(*) from t -- b", b.PidHere());
  EXPECT_EQ(Values(locks, "verified"), std::vector<Json>{1});
}

TEST_P(RegistryNamespacesTest, WriterOutsideIsVerifiedByItsBytes) {
  HostProcess outside;
  outside.Open("c", db_);
  outside.Exec("c", "begin immediate");
  Inside inside;
  inside.Open("c", db_);
  Read(inside);
  const Json locks = Where(SeenBy(inside, "locks"), "pid", nullptr);
  const Json writing =
      Where(locks, "resource", GetParam() == std::string("wal") ? "wal-write" : "database");
  ASSERT_EQ(writing.size(), 1U) << locks.dump(2);
  EXPECT_EQ(writing.at(0).at("verified"), 1);
  EXPECT_EQ(writing.at(0).at("sql"), "begin immediate");
  EXPECT_EQ(FromKernel(SeenBy(inside, "locks")).size(), 0U);
}

// What holds no lock now, nothing ties to a number here.
TEST_P(RegistryNamespacesTest, IdleProcessOfANamespaceBelowIsShownByWhatItTold) {
  if (GetParam() == std::string("wal")) return;  // there it keeps SHARED
  Inside inside;
  inside.Open("c", db_);
  inside.Exec("c", "select count(*) from t");
  const Json rows = SeenHere("connections", db_);
  ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
  EXPECT_EQ(rows.at(0).at("pid"), nullptr);
  EXPECT_EQ(rows.at(0).at("state"), "idle");
  EXPECT_NE(rows.at(0).at("process").get<std::string>().find("lockscope_actor"), std::string::npos);
}

}  // namespace
}  // namespace lockscope::testing
