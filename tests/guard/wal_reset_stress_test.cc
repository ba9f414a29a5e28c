// Two processes write, a third checkpoints through the shim without a pause, each as fast as it
// can: no committed row is lost, and nothing breaks. The race has to be hit by chance here;
// wal_reset_guard_test.cc makes it happen. Built twice: for every run of the tests, and with many
// more transactions (label long).
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

#ifndef LOCKSCOPE_STRESS_TRANSACTIONS
#define LOCKSCOPE_STRESS_TRANSACTIONS 1500
#endif

namespace lockscope::testing {
namespace {

constexpr int kTransactions = LOCKSCOPE_STRESS_TRANSACTIONS;  // of each writer
constexpr int kRows = 100;

// Every tenth transaction is large, so that WALs of very different lengths follow each other.
int WriteAll(Actor& actor, int first_value) {
  int committed = 0;
  for (int i = 0; i < kTransactions; ++i) {
    const std::string insert =
        "insert into t(v, pad) values(" + std::to_string(first_value + i) + ", zeroblob(300))";
    const std::string large = "begin immediate; update t set pad = zeroblob(300) where id < 100; ";
    const bool is_large = i % 10 == 0;
    if (actor.Try("w", is_large ? large + insert + "; commit" : insert).ok()) ++committed;
  }
  return committed;
}

class Stress : public ::testing::TestWithParam<const char*> {};

TEST_P(Stress, NoCommittedRowIsLost) {
  const TempDir dir;
  const std::string path = dir / "stress.db";
  CreateDatabase(path, {.rows = kRows});

  std::vector<Actor> writers(2);
  for (Actor& writer : writers) {
    writer.Open("w", path);
    writer.BusyTimeout("w", 20000);
    writer.Exec("w", "pragma wal_autocheckpoint = 0");
    writer.Exec("w", "pragma synchronous = off");
  }
  Actor checkpointer({.env = {{"LOCKSCOPE_WAL_RESET_GUARD", "on"}}});
  checkpointer.Load("look", LOCKSCOPE_LOADABLE_FILE);
  checkpointer.Open("c", path);
  checkpointer.BusyTimeout("c", 20000);
  checkpointer.Exec("c", "pragma synchronous = off");

  std::atomic<int> writing{2};
  std::vector<int> committed(2);
  std::vector<std::thread> threads;
  threads.reserve(2);
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      committed[static_cast<std::size_t>(i)] =
          WriteAll(writers[static_cast<std::size_t>(i)], (i + 1) * 1000000);
      --writing;
    });
  }
  int complete = 0;
  while (writing.load() > 0) {
    checkpointer.Exec("c", "select 1 from t limit 1");
    const auto result = checkpointer.Checkpoint("c", GetParam());
    if (!result.busy && result.checkpointed_frames == result.log_frames) ++complete;
  }
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(committed, (std::vector<int>{kTransactions, kTransactions}));
  EXPECT_GT(complete, 0);
  checkpointer.Close("c");
  for (Actor& writer : writers) EXPECT_EQ(writer.Quit(), 0);
  EXPECT_EQ(IntegrityCheck(path), "ok");
  Actor reader;
  reader.Open("r", path);
  for (const int first : {1000000, 2000000}) {
    const std::string mine = " from t where v between " + std::to_string(first) + " and " +
                             std::to_string(first + kTransactions - 1);
    EXPECT_EQ(reader.Exec("r", "select count(distinct v), count(*)" + mine),
              (Row{std::to_string(kTransactions), std::to_string(kTransactions)}));
  }
}

INSTANTIATE_TEST_SUITE_P(Guard, Stress, ::testing::Values("passive", "full", "restart", "truncate"),
                         [](const auto& mode) { return std::string(mode.param); });

}  // namespace
}  // namespace lockscope::testing
