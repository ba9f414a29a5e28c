// A process that forks with databases open:
//   parent  keeps its locks and its records
//   child   has no connections, sees the parent's as any other process's, opens its own, and may
//           end without harm
//   both    beside threads that use lockscope while the fork happens

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "core/session.h"
#include "insight/look.h"
#include "settings/settings.h"
#include "shim/recovery.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

// Runs `body` in a forked child: true where it returned true within 20 seconds.
bool InChild(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    bool good = false;
    try {
      good = body();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "child: %s\n", e.what());
    }
    _exit(good ? 0 : 1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// The application's own fork handler, installed before lockscope's, so that it runs in the child
// while lockscope still holds its mutexes there.
std::function<void()>* g_in_child = nullptr;
void AtFork() {
  if (g_in_child != nullptr) (*g_in_child)();
}
__attribute__((constructor(101))) void InstallEarly() { pthread_atfork(nullptr, nullptr, AtFork); }

class ForkTest : public ::testing::Test {
 protected:
  ForkTest() {
    db_.Exec("pragma journal_mode=wal; create table t(x); insert into t values (1)");
    db_.Exec("begin immediate");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  std::string other_ = dir_ / "b.db";
  Db db_{path_};
  Db look_{":memory:"};
};

// What the parent publishes is told as any other process's is.
TEST_F(ForkTest, TheChildHasNoConnectionsAndSeesTheParents) {
  const std::string of = "(" + Quote(path_) + ")";
  const std::string number = look_.Value("select connection from lockscope_connections" + of);
  EXPECT_TRUE(InChild([&] {
    const std::string parent = std::to_string(getppid());
    return look_.Value("select pid, source, connection, state from lockscope_connections" + of) ==
               parent + " shim " + number + " writing" &&
           look_.Value("select min(pid), max(pid), count(*) > 0 from lockscope_events" + of) ==
               parent + " " + parent + " 1" &&
           look_.Value("select min(pid), max(pid), count(*) > 0 from lockscope_stats" + of) ==
               parent + " " + parent + " 1" &&
           look_.Value("select source, pid, connection, verified, sql from lockscope_locks" + of +
                       " where resource = 'wal-write'") ==
               "shim " + parent + " " + number + " 1 begin immediate";
  }));
}

TEST_F(ForkTest, TheChildOfAPrivateParentSeesWhatTheKernelTells) {
  look_.Exec("select lockscope_set('registry', 'private')");
  EXPECT_TRUE(InChild([this] {
    const std::string of = "(" + Quote(path_) + ")";
    return look_.Value("select count(*) from lockscope_connections" + of +
                       " where source = 'shim'") == "0" &&
           look_.Value("select count(*) from lockscope_events" + of) == "0" &&
           look_.Value("select count(*) from lockscope_stats" + of) == "0" &&
           look_.Value("select source, pid from lockscope_locks" + of +
                       " where resource = 'wal-write'") == "kernel " + std::to_string(getppid());
  }));
  look_.Exec("select lockscope_set('registry', 'default')");
}

TEST_F(ForkTest, TheParentKeepsItsLocksAndItsRecords) {
  const auto locks = ReadLocksOf(path_);
  const auto shm_locks = ReadLocksOf(path_ + "-shm");
  EXPECT_TRUE(InChild([this] {
    look_.Exec("select * from lockscope_locks(" + Quote(path_) + ")");
    return true;
  }));
  EXPECT_EQ(ReadLocksOf(path_), locks);
  EXPECT_EQ(ReadLocksOf(path_ + "-shm"), shm_locks);
  EXPECT_EQ(look_.Value("select source, verified from lockscope_locks(" + Quote(path_) +
                        ") where resource = 'wal-write'"),
            "shim 1");
  db_.Exec("insert into t values (2); commit");
  EXPECT_EQ(db_.Value("select count(*) from t"), "2");
}

TEST_F(ForkTest, TheChildOpensItsOwnAndSeesThem) {
  EXPECT_TRUE(InChild([this] {
    Db own(other_);
    own.Exec("create table t(x); begin immediate");
    Db same(path_);
    same.Exec("select * from t");
    return own.Value("select source, pid, verified from lockscope_locks where mode = 'RESERVED'") ==
               "shim " + std::to_string(getpid()) + " 1" &&
           same.Value(
               "select count(*), group_concat(distinct source) from lockscope_connections "
               "where pid = " +
               std::to_string(getpid())) == "1 shim" &&
           same.Value(
               "select count(*), group_concat(distinct source) from lockscope_connections "
               "where pid = " +
               std::to_string(getppid())) == "1 shim" &&
           same.Try("begin immediate").code == SQLITE_BUSY;
  }));
  EXPECT_EQ(look_.Value("select verified from lockscope_locks(" + Quote(path_) +
                        ") where resource = 'wal-write'"),
            "1");
}

// As others see it: neither a child that ends, nor one that enters and leaves the registry, nor one
// that goes on with what it inherited, takes the parent out of it.
TEST_F(ForkTest, TheParentStaysPublishedWhateverTheChildDoes) {
  const std::string of = "(" + Quote(path_) + ")";
  const std::string events = "select count(*), max(seq) from lockscope_events" + of;
  const std::string before = look_.Value(events);
  Actor other;
  other.Load("look", LOCKSCOPE_LOADABLE_FILE);
  const auto seen = [&] {
    return other.Query("look", "select pid, source, verified from lockscope_locks" + of +
                                   " where resource = 'wal-write'");
  };
  const std::vector<Row> writing = {{std::to_string(getpid()), "shim", "1"}};
  EXPECT_EQ(seen(), writing);
  EXPECT_TRUE(InChild([] { return true; }));
  EXPECT_EQ(seen(), writing);
  EXPECT_TRUE(InChild([this] {
    Db same(path_);
    return same.Value("select count(*) from t") == "1";
  }));
  EXPECT_EQ(seen(), writing);
  // Forbidden by SQLite; what it records there is nobody's.
  EXPECT_TRUE(InChild([this] {
    db_.Try("select count(*) from t");
    db_.Close();
    return true;
  }));
  EXPECT_EQ(seen(), writing);
  EXPECT_EQ(look_.Value(events), before);
}

// By them a connection of the child, in the thread that forked, would take a journal for one that
// its parent rolls back.
TEST_F(ForkTest, TheChildHasNoneOfTheFilesThatItsParentHoldsExclusive) {
  Db(other_).Exec("pragma journal_mode=wal; create table t(x)");
  Db exclusive(other_);
  exclusive.Exec("pragma locking_mode=exclusive");
  exclusive.Exec("select * from t");  // takes EXCLUSIVE straight from SHARED
  const std::string journal = other_ + "-journal";
  ASSERT_NE(shim::ExclusiveFiles::Find(journal.c_str()), nullptr);
  EXPECT_TRUE(InChild([&] { return shim::ExclusiveFiles::Find(journal.c_str()) == nullptr; }));
  EXPECT_NE(shim::ExclusiveFiles::Find(journal.c_str()), nullptr);
}

TEST_F(ForkTest, TheApplicationsForkHandlerMayUseSqlite) {
  bool used = false;
  std::function<void()> use = [&] {
    Db db(other_);
    used = db.Value("select count(*) from lockscope_connections") == "1";
  };
  g_in_child = &use;
  EXPECT_TRUE(InChild([&] { return used; }));
  g_in_child = nullptr;
}

TEST_F(ForkTest, TheApplicationsForkHandlerMayOpenWhatItsParentHasOpen) {
  bool used = false;
  std::size_t others = 0;
  std::function<void()> use = [&] {
    Db db(path_);
    used = db.Value("select count(*) from lockscope_connections") == "2";
  };
  g_in_child = &use;
  EXPECT_TRUE(InChild([&] { return used; }));
  g_in_child = nullptr;
  // What it opened was its own, in no record of its parent's.
  EXPECT_TRUE(InChild([&] {
    const insight::Look look = insight::Look::At({path_});
    others = look.databases().at(0).others.size();
    if (others != 1) std::fprintf(stderr, "%zu connections\n", others);
    return others == 1;
  }));
}

TEST_F(ForkTest, AForkBesideBusyThreadsLeavesAWorkingChild) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "AddressSanitizer's allocator keeps its locks in a child forked beside threads";
#endif
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    while (!done) {
      Db db(other_);
      db.Try("create table if not exists t(x)");
    }
  });
  threads.emplace_back([&] {
    Db look(":memory:");
    while (!done) look.Exec("select * from lockscope_locks(" + Quote(path_) + ")");
  });
  int good = 0;
  for (int i = 0; i < 20; ++i) {
    // SQLite's own mutexes may be held by threads that the child does not have: it does not ask
    // through SQL.
    const bool child_looked = InChild([this] {
      const insight::Look look = insight::Look::At({path_});
      return look.databases().at(0).own.empty() && look.databases().at(0).wal_mode &&
             settings::Get("target", {}).ok();
    });
    good += child_looked ? 1 : 0;
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 20);
}

}  // namespace
}  // namespace lockscope::testing
