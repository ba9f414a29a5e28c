// Counters by resource and mode:
//   kinds   every pair that SQLite uses has an index of its own, and back
//   counts  copying, merging, clearing

#include "ledger/lock_stats.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace lockscope::ledger {
namespace {

TEST(LockStatsTest, EveryKindHasAnIndexOfItsOwn) {
  std::set<std::pair<Resource, LockMode>> kinds;
  for (std::size_t i = 0; i < kStatKinds; ++i) {
    const StatKind kind = StatKindOf(i);
    EXPECT_EQ(StatIndex(kind.resource, kind.mode), i);
    kinds.emplace(kind.resource, kind.mode);
  }
  EXPECT_EQ(kinds.size(), kStatKinds);
}

TEST(LockStatsTest, TheKindsAreSqlitesOwn) {
  EXPECT_EQ(StatIndex(Resource::kDatabase, LockMode::kShared), 0U);
  EXPECT_EQ(StatIndex(Resource::kDatabase, LockMode::kExclusive), 3U);
  EXPECT_EQ(StatIndex(Resource::kWalWrite, LockMode::kExclusive), 4U);
  EXPECT_EQ(StatIndex(Resource::kWalRecover, LockMode::kExclusive), 6U);
  EXPECT_EQ(StatIndex(Resource::kWalRead0, LockMode::kShared), 7U);
  EXPECT_EQ(StatIndex(Resource::kWalRead4, LockMode::kExclusive), 16U);
  EXPECT_EQ(StatIndex(Resource::kWalOpen, LockMode::kShared), 17U);
}

TEST(LockStatsTest, ACopyHasWhatWasCounted) {
  const auto stats = std::make_unique<LockStats>();
  stats->counters(3).acquired.Add(2);
  stats->counters(3).released.Add(1);
  stats->counters(3).refused.Add(7);
  stats->hold(3).Record(1'000);
  stats->wait(3).Record(50'000);
  const StatCounts counts = stats->Copy(3);
  EXPECT_EQ(counts.acquired, 2U);
  EXPECT_EQ(counts.released, 1U);
  EXPECT_EQ(counts.refused, 7U);
  EXPECT_EQ(counts.hold.max, 1'000U);
  EXPECT_EQ(counts.wait.max, 50'000U);
  EXPECT_FALSE(counts.Empty());
  EXPECT_TRUE(stats->Copy(4).Empty());
}

TEST(LockStatsTest, OnlyRefusedIsNotEmpty) {
  const auto stats = std::make_unique<LockStats>();
  stats->counters(0).refused.Add(1);
  EXPECT_FALSE(stats->Copy(0).Empty());
}

TEST(LockStatsTest, MergingAddsEverything) {
  StatCounts sum;
  sum.acquired = 1;
  sum.released = 1;
  sum.refused = 2;
  sum.hold.max = 10;
  StatCounts more;
  more.acquired = 10;
  more.released = 9;
  more.refused = 5;
  more.hold.max = 7;
  more.wait.max = 3;
  sum.Merge(more);
  EXPECT_EQ(sum.acquired, 11U);
  EXPECT_EQ(sum.released, 10U);
  EXPECT_EQ(sum.refused, 7U);
  EXPECT_EQ(sum.hold.max, 10U);
  EXPECT_EQ(sum.wait.max, 3U);
}

TEST(LockStatsTest, ClearingForgetsWhatWasOnlyRefusedToo) {
  const auto stats = std::make_unique<LockStats>();
  stats->counters(0).refused.Add(1);
  stats->wait(0).Record(5'000);
  stats->counters(5).acquired.Add(1);
  stats->Clear();
  EXPECT_TRUE(stats->Copy(0).Empty());
  EXPECT_TRUE(stats->Copy(5).Empty());
  stats->counters(0).refused.Add(1);
  EXPECT_EQ(stats->Copy(0).wait.total, 0U);
}

}  // namespace
}  // namespace lockscope::ledger
