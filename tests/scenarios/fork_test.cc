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

  // What this process holds, and what others are told of it.
  void ExpectLocksUntouched() {
    EXPECT_EQ(ReadLocksOf(db_), locks_);
    EXPECT_EQ(ReadLocksOf(db_ + "-shm"), shm_locks_);
    other_.Load("look", LOCKSCOPE_LOADABLE_FILE);
    EXPECT_EQ(other_.Query("look", "select distinct pid, source, verified from lockscope_locks('" +
                                       db_ + "')"),
              (std::vector<Row>{{std::to_string(getpid()), "shim", "1"}}));
    EXPECT_EQ(other_.Query("look", "select state from lockscope_connections('" + db_ + "')"),
              std::vector<Row>{{"writing"}});
    other_.Close("look");
  }
  // This process's one connection to the database, as the tables number it.
  std::string Number() const {
    return own_->One("select connection from lockscope_connections where source = 'shim'")[0];
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  std::unique_ptr<Looker> own_;
  Actor other_;
  Lines locks_;
  Lines shm_locks_;
};

INSTANTIATE_TEST_SUITE_P(Journals, ForkTest, ::testing::Values("wal", "delete"));

TEST_P(ForkTest, ChildSeesItsParentAsAnyOtherProcessDoesAndNothingOfItsOwn) {
  const pid_t parent = getpid();
  const std::string number = Number();
  InChild([&] {
    const Looker looker;
    looker.LookEverywhere(db_);
    const auto rows = looker.All(
        "select distinct pid, source, connection, verified from lockscope_locks(?1)", {db_});
    const auto events =
        looker.All("select distinct pid, connection from lockscope_events(?1)", {db_});
    const std::string pid = std::to_string(parent);
    return rows == std::vector<Row>{{pid, "shim", number, "1"}} &&
           events == std::vector<Row>{{pid, number}} && looker.State(db_, parent) == "writing";
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
    const auto rows = mine.All("select pid, source from lockscope_connections(?1)", {db_});
    // Its own first.
    return mine.Try("begin immediate").code == SQLITE_BUSY &&
           rows == std::vector<Row>{{std::to_string(getpid()), "shim"},
                                    {std::to_string(getppid()), "shim"}};
  });
  ExpectLocksUntouched();
  own_->All("commit");
}

// Carrying a connection across fork() is forbidden; it must still do no harm to the parent.
TEST_P(ForkTest, ChildThatUsesAndDropsTheInheritedConnectionLeavesTheParentsLocks) {
  const std::string events = "select count(*), max(seq) from lockscope_events(?1)";
  const Row before = Looker().One(events, {db_});
  InChild([&] {
    (void)own_->Try("select count(*) from t");
    own_.reset();
    return Looker().All("select distinct pid, source, verified from lockscope_locks(?1)", {db_}) ==
           std::vector<Row>{{std::to_string(getppid()), "shim", "1"}};
  });
  ExpectLocksUntouched();
  EXPECT_EQ(Looker().One(events, {db_}), before);
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
