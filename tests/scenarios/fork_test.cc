// A process that forks with databases open through the shim: ForkTest. Not under TSan.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lockscope.h"
#include "looker.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

class ForkTest : public ::testing::TestWithParam<const char*> {
 protected:
  ForkTest() {
    EXPECT_EQ(lockscope_register(nullptr, nullptr, 0), SQLITE_OK);
    CreateDatabase(db_, {.journal_mode = GetParam()});
    own_ = std::make_unique<Looker>("file:" + db_ + "?vfs=lockscope");
    own_->All("begin immediate");
    own_->All("update t set v = v + 1");
    locks_ = ReadLocksOf(db_);
    shm_locks_ = ReadLocksOf(db_ + "-shm");
  }

  // Runs `body` in a forked child, which must return true.
  static void InChild(const std::function<bool()>& body) {
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

  void ExpectLocksUntouched() const {
    EXPECT_EQ(ReadLocksOf(db_), locks_);
    EXPECT_EQ(ReadLocksOf(db_ + "-shm"), shm_locks_);
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  std::unique_ptr<Looker> own_;
  Lines locks_;
  Lines shm_locks_;
};

INSTANTIATE_TEST_SUITE_P(Journals, ForkTest, ::testing::Values("wal", "delete"));

TEST_P(ForkTest, ChildSeesItsParentAsTheKernelDoesAndNothingOfItsOwn) {
  const pid_t parent = getpid();
  InChild([&] {
    const Looker looker;
    looker.LookEverywhere(db_);
    const auto rows =
        looker.All("select distinct pid, source, connection from lockscope_locks(?1)", {db_});
    const auto events = looker.All("select 1 from lockscope_events(?1)", {db_});
    return rows == std::vector<Row>{{std::to_string(parent), "kernel", "NULL"}} && events.empty() &&
           looker.State(db_, parent) == "writing";
  });
  ExpectLocksUntouched();
  EXPECT_EQ(own_->One("select count(*), min(verified) from lockscope_locks where source = 'shim'"),
            (Row{GetParam() == std::string("wal") ? "4" : "1", "1"}));
  own_->All("commit");
  EXPECT_EQ(own_->One("select sum(v) from t")[0], "200");
}

TEST_P(ForkTest, ChildOpensItsOwnConnectionAndIsRefusedTheWriteLock) {
  InChild([&] {
    const Looker mine("file:" + db_ + "?vfs=lockscope");
    const auto rows =
        mine.All("select distinct pid from lockscope_connections(?1) where source = 'shim'", {db_});
    return mine.Try("begin immediate").code == SQLITE_BUSY &&
           rows == std::vector<Row>{{std::to_string(getpid())}};
  });
  ExpectLocksUntouched();
  own_->All("commit");
}

// Carrying a connection across fork() is forbidden; it must still do no harm to the parent.
TEST_P(ForkTest, ChildThatDropsTheInheritedConnectionLeavesTheParentsLocks) {
  InChild([&] {
    own_.reset();
    return Looker().All("select 1 from lockscope_locks(?1) where source = 'shim'", {db_}).empty();
  });
  ExpectLocksUntouched();
}

TEST_P(ForkTest, ParentGoesOnRecordingAfterTheFork) {
  InChild([] { return true; });
  own_->All("commit");
  own_->All("begin immediate");
  EXPECT_EQ(
      Looker().One("select state from lockscope_connections(?1) where source = 'shim'", {db_})[0],
      "writing");
}

}  // namespace
}  // namespace lockscope::testing
