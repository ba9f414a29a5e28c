// kill -9 of `lockscope exec`: its command dies with it, and nothing is left behind but sidecars,
// of which nothing is believed, until lockscope is next there. KILL_ROUNDS times.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "running.h"
#include "support/actor.h"

namespace lockscope::testing {
namespace {

std::set<std::string> Names(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.insert(entry.path().filename());
  }
  return names;
}

std::set<std::string> NamesWithoutSidecars(const std::string& folder) {
  std::set<std::string> names = Names(folder);
  std::erase_if(names, [](const std::string& name) { return name.ends_with("-lockscope"); });
  return names;
}

constexpr const char* kTables[] = {"connections", "locks",    "snapshots", "wal",
                                   "barriers",    "blockers", "events",    "stats"};

bool IsTold(pid_t pid, const std::vector<std::string>& databases) {
  for (const char* table : kTables) {
    for (const Json& row : Rows(table, databases)) {
      for (const auto& [column, value] : row.items()) {
        const bool names_a_process = column.ends_with("pid") || column.ends_with("pinned_by");
        if (names_a_process && value == pid) return true;
      }
    }
  }
  return false;
}

TEST(ExecKillTest, LeavesNoCommandNoLockAndNoFile) {
  const TempDir dir;
  const TempDir scratch;
  const std::string wal = dir / "a.db";
  const std::string rollback = dir / "b.db";
  CreateDatabase(wal);
  CreateDatabase(rollback, {.journal_mode = "delete"});
  // Somebody has the WAL open before, and goes on afterwards.
  Actor other;
  other.Open("c", wal);
  other.Exec("c", "update t set v = 0 where id = 1");
  const auto locks = [&] {
    std::vector<std::string> all;
    for (const std::string& file : {wal, wal + "-shm", rollback}) {
      for (std::string& line : ReadLocksOf(file)) all.push_back(std::move(line));
    }
    return all;
  };
  const auto locks_before = locks();
  const auto files_before = NamesWithoutSidecars(dir.path());

  for (int round = 0; round < KILL_ROUNDS; ++round) {
    const std::string ready = scratch / std::to_string(round);
    const bool write = round % 2 == 1;
    const TempDir files;  // where exec keeps its manifest
    Running exec({"exec", "--kind", write ? "write" : "snapshot", "--db", wal, "--db", rollback,
                  "--", "sh", "-c",
                  "echo $$ >" + ready + ".new; mv " + ready + ".new " + ready +
                      "; while :; do sleep 0.01; done"},
                 {{"TMPDIR", files.path()}});
    ASSERT_TRUE(Eventually([&] { return Exists(ready); })) << exec.err();
    const pid_t command = static_cast<pid_t>(std::stol(TextOf(ready)));
    EXPECT_NE(locks(), locks_before);
    EXPECT_EQ(Names(files.path()).size(), 1U);
    EXPECT_TRUE(IsTold(exec.pid(), {wal}) && IsTold(exec.pid(), {rollback})) << "round " << round;
    kill(exec.pid(), SIGKILL);
    EXPECT_TRUE(Eventually([&] { return Gone(command); })) << "round " << round;
    EXPECT_EQ(exec.Wait().signal, SIGKILL);
    EXPECT_TRUE(Eventually([&] { return locks() == locks_before; })) << "round " << round;
    EXPECT_TRUE(Eventually([&] { return Names(files.path()).empty(); })) << "round " << round;
    EXPECT_EQ(NamesWithoutSidecars(dir.path()), files_before) << "round " << round;
    EXPECT_FALSE(IsTold(exec.pid(), {wal, rollback})) << "round " << round;
  }
  EXPECT_TRUE(Exists(wal + "-lockscope") && Exists(rollback + "-lockscope"));
  Actor next;
  next.Load("m", LOCKSCOPE_LOADABLE_FILE);
  for (const std::string& path : {wal, rollback}) {
    next.Open("c", path);
    next.Exec("c", "select count(*) from t");
    EXPECT_TRUE(Exists(path + "-lockscope"));
    next.Close("c");
  }
  EXPECT_EQ(Names(dir.path()), files_before);
  other.Exec("c", "update t set v = 0 where id = 1; pragma wal_checkpoint(truncate)");
  EXPECT_EQ(IntegrityCheck(wal), "ok");
  EXPECT_EQ(IntegrityCheck(rollback), "ok");
}

}  // namespace
}  // namespace lockscope::testing
