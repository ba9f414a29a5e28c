// A process that forks with a barrier held: BarrierForkTest. Not under TSan.
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "barrier/hosted.h"

namespace lockscope::testing {
namespace {

// Runs `body` in a forked child, which must return true.
void InChild(const std::function<bool()>& body) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool well = false;
    try {
      well = body();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "in the child: %s\n", e.what());
    }
    _exit(well ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// With a limit, there is a thread in the parent that the child does not have.
// Expected: to the child the token is unknown, and the table has the parent's barrier as the
// parent's; it is refused one by that; the parent's is intact.
TEST(BarrierForkTest, ChildHasNoBarrierAndTheParentKeepsIts) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      for (const int max_hold_ms : {0, 60'000}) {
        const std::string path = dir / (mode + std::to_string(max_hold_ms));
        CreateDatabase(path, {.journal_mode = mode});
        Db host(path);
        const std::string token = host.Value(BarrierSql({.max_hold_ms = max_hold_ms}));
        const auto locks = OwnKernelLocks(path);
        InChild([&] {
          Db mine(":memory:");
          if (mine.Try("select lockscope_barrier_check(" + Quote(token) + ")").code !=
              SQLITE_MISUSE) {
            return false;
          }
          if (Released(mine, token).substr(0, 3) != "21 ") return false;
          return mine.Query("select pid, token, source, state from lockscope_barriers(" +
                            Quote(path) + ")") ==
                 std::vector<Row>{{std::to_string(getppid()), token, "shim", "held"}};
        });
        InChild([&] {
          Db mine(path);
          return mine.Try(BarrierSql({.timeout_ms = 10})).code == SQLITE_BUSY;
        });
        EXPECT_EQ(OwnKernelLocks(path), locks);
        EXPECT_EQ(Checked(host, token), "1");
        EXPECT_EQ(Released(host, token), "1");
      }
    }
  });
}

// Expected: the child can have one of its own, on another database.
TEST(BarrierForkTest, ChildMayHaveItsOwnBarrier) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db");
    Db host(dir / "a.db");
    const std::string token = host.Value(BarrierSql());
    InChild([&] {
      Db mine(dir / "b.db");
      const std::string own = mine.Value(BarrierSql({.max_hold_ms = 60'000}));
      return Checked(mine, own) == "1" && Released(mine, own) == "1";
    });
    EXPECT_EQ(Checked(host, token), "1");
    EXPECT_EQ(Released(host, token), "1");
  });
}

}  // namespace
}  // namespace lockscope::testing
