// All connections of the process:
//   open     numbers, filters, what a failed opening leaves
//   closed   events stay until their record is needed again; totals survive
//   totals   many databases: the one closed longest ago is forgotten
//   threads  opening, recording, looking, closing at once

#include "ledger/ledger.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "recorded.h"

namespace lockscope::ledger {
namespace {

constexpr LockMode kShared = LockMode::kShared;

void OpenAndClose(int times) {
  for (int i = 0; i < times; ++i) Recorded other;
}

// ---- open ----

TEST(LedgerTest, NumbersAreNeverUsedTwice) {
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) {
    Recorded connection;
    EXPECT_GT(connection->id(), last);
    last = connection->id();
  }
}

TEST(LedgerTest, AFilterChoosesByPathOrByFile) {
  Recorded a;
  Connection* b = Ledger::Process().Open();
  ASSERT_NE(b, nullptr);
  const FileId id{.device = 4711, .inode = 42};
  ConnectionInfo info;
  info.path = NewPath();
  info.database = id;
  Ledger::Process().Opened(*b, info);
  const auto views = Ledger::Process().Connections(
      [&id](const std::string&, const FileId& other) { return other == id; });
  ASSERT_EQ(views.size(), 1U);
  EXPECT_EQ(views.at(0).info.id, b->id());
  Ledger::Process().Close(*b);
}

TEST(LedgerTest, AnOpeningThatFailedLeavesNoTrace) {
  const auto before = Ledger::Process().Connections({}).size();
  Connection* connection = Ledger::Process().Open();
  ASSERT_NE(connection, nullptr);
  Ledger::Process().Close(*connection);
  EXPECT_EQ(Ledger::Process().Connections({}).size(), before);
  for (const auto& events : Ledger::Process().Events({})) EXPECT_NE(events.info.id, 0U);
}

TEST(LedgerTest, TheWalIndexIsCopiedWhileItIsMapped) {
  alignas(8) std::array<std::uint8_t, format::kWalIndexHeadBytes> page{};
  page.fill(0x5a);
  std::array<std::uint8_t, format::kWalIndexHeadBytes> copy{};
  Recorded c;
  EXPECT_FALSE(Ledger::Process().CopyWalIndex(OfPath(c.path()), copy));
  Ledger::Process().Mapped(*c.operator->(), page.data());
  ASSERT_TRUE(Ledger::Process().CopyWalIndex(OfPath(c.path()), copy));
  EXPECT_EQ(copy, page);
  Ledger::Process().Unmapping(*c.operator->());
  EXPECT_FALSE(Ledger::Process().CopyWalIndex(OfPath(c.path()), copy));
}

// ---- closed ----

TEST(LedgerTest, AClosedConnectionsEventsStayUntilItsRecordIsNeeded) {
  Recorded c;
  c->DatabaseLocked(kShared, 100, {});
  c.Close();
  EXPECT_FALSE(c.Events().open);
  EXPECT_EQ(c.Story(), (std::vector<std::string>{"lock database NONE SHARED 0",
                                                 "unlock database SHARED NONE 0"}));
  OpenAndClose(16);
  EXPECT_EQ(c.Story().size(), 2U);
  OpenAndClose(100);
  EXPECT_TRUE(Ledger::Process().Events(OfPath(c.path())).empty());
}

TEST(LedgerTest, TotalsSurviveTheRecord) {
  Recorded c;
  c->DatabaseLocked(kShared, 100, {});
  c->DatabaseUnlocked(LockMode::kNone, 0, 600, {});
  c.Close();
  OpenAndClose(100);
  const StatCounts counts = c.Stats(Resource::kDatabase, kShared);
  EXPECT_EQ(counts.acquired, 1U);
  EXPECT_EQ(counts.released, 1U);
  EXPECT_EQ(counts.hold.max, 500U);
}

TEST(LedgerTest, TotalsOfOpenAndClosedConnectionsAreOneRow) {
  const std::string path = NewPath();
  for (int i = 0; i < 5; ++i) {
    Recorded closed(path);
    closed->DatabaseLocked(kShared, 10, {});
  }
  Recorded open(path);
  open->DatabaseLocked(kShared, 10, {});
  EXPECT_EQ(open.Stats(Resource::kDatabase, kShared).acquired, 6U);
  EXPECT_EQ(open.Stats(Resource::kDatabase, kShared).released, 5U);
}

TEST(LedgerTest, ARecordThatIsUsedAgainBeginsEmpty) {
  for (int i = 0; i < 100; ++i) {
    Recorded c;
    EXPECT_TRUE(c.Events().events.empty());
    EXPECT_EQ(c.Events().lost, 0U);
    EXPECT_EQ(c.View().held.Pack(), 0U);
    EXPECT_EQ(c.View().slot.busy_count, 0U);
    EXPECT_EQ(c.View().slot.sql_bytes.at(0), 0U);
    EXPECT_EQ(c.View().journal_mode, JournalMode::kDelete);
    EXPECT_TRUE(c.Stats(Resource::kDatabase, kShared).Empty());
    const auto text = std::make_unique<StatementText>();
    text->Assign("select 1");
    c->AskedJournalMode(JournalMode::kPersist);
    c->DatabaseLocked(kShared, 10, {.statement = text.get(), .autocommit = Autocommit::kOff});
    c->DatabaseRefused(LockMode::kReserved, kShared, 5, kNotMeasured, 20, {});
  }
}

// ---- totals ----

TEST(LedgerTest, OfVeryManyDatabasesTheOneClosedLongestAgoIsForgotten) {
  constexpr int kKept = 1024;
  std::vector<std::string> paths;
  for (int i = 0; i < kKept + 10; ++i) {
    Recorded c;
    c->DatabaseLocked(kShared, 10, {});
    paths.push_back(c.path());
  }
  EXPECT_TRUE(Ledger::Process().Stats(OfPath(paths.front())).empty());
  EXPECT_EQ(Ledger::Process().Stats(OfPath(paths.at(10))).size(), 1U);
  EXPECT_EQ(Ledger::Process().Stats(OfPath(paths.back())).size(), 1U);
}

// ---- threads ----

TEST(LedgerTest, ThreadsOpenRecordLookAndCloseAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  const std::string path = NewPath();
  std::atomic<int> wrong{0};
  std::atomic<bool> done{false};
  const auto record = [&] {
    for (int i = 0; i < kRounds; ++i) {
      Recorded c(path);
      c->DatabaseLocked(kShared, Now(), {});
      c->ShmMapped(Now());
      for (int j = 0; j < 20; ++j) {
        c->ShmLocked(4, 1, kShared, Now(), {}, {});
        c->ShmUnlocked(4, 1, kShared, 0, Now(), {});
      }
    }
  };
  std::thread looker([&] {
    for (bool more = true; more;) {
      more = !done;
      if (Ledger::Process().Connections(OfPath(path)).size() > kThreads) ++wrong;
      for (const auto& stats : Ledger::Process().Stats(OfPath(path))) {
        for (const StatCounts& counts : stats.kinds) {
          if (counts.released > counts.acquired) ++wrong;
        }
      }
      for (const auto& events : Ledger::Process().Events(OfPath(path))) {
        for (std::size_t i = 1; i < events.events.size(); ++i) {
          if (events.events[i].number != events.events[i - 1].number + 1) ++wrong;
        }
      }
    }
  });
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(record);
  for (std::thread& thread : threads) thread.join();
  done = true;
  looker.join();
  EXPECT_EQ(wrong, 0);
  const auto stats = Ledger::Process().Stats(OfPath(path));
  ASSERT_EQ(stats.size(), 1U);
  const auto& reads = stats[0].kinds.at(StatIndex(Resource::kWalRead1, kShared));
  EXPECT_EQ(reads.acquired, static_cast<std::uint64_t>(kThreads) * kRounds * 20);
  EXPECT_EQ(reads.released, reads.acquired);
}

}  // namespace
}  // namespace lockscope::ledger
