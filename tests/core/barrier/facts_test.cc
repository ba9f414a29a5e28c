// What a barrier notes and compares, without any database:
//   files     which belong to a copy, and how much of each
//   changes   what may move under which kind, and what may not
//   words     kinds by their names
//   backoff   grows, stays within its limits
#include "barrier/facts.h"

#include <gtest/gtest.h>

#include <functional>

#include "barrier/backoff.h"
#include "ledger/barrier_board.h"

namespace lockscope::barrier {
namespace {

Facts WalFacts() {
  Facts facts;
  facts.database = {.device = 1, .inode = 10};
  facts.database_bytes = 8192;
  facts.change_counter = 3;
  facts.wal = true;
  facts.wal_file = {.device = 1, .inode = 11};
  facts.shm = {.device = 1, .inode = 12};
  facts.wal_file_bytes = 50'000;
  facts.max_frame = 5;
  facts.page_size = 4096;
  facts.salt1 = 7;
  facts.salt2 = 8;
  facts.backfilled = 2;
  facts.backfill_attempted = 2;
  return facts;
}

// What WhatChanged() says after `change`.
std::string After(const std::function<void(Facts&)>& change, Kind kind = Kind::kSnapshot) {
  const Facts then = WalFacts();
  Facts now = then;
  change(now);
  return WhatChanged(then, now, kind);
}

// ---- files ----

TEST(FactsTest, AWalsBytesAreThoseOfItsFrames) {
  const auto files = FilesOf({.schema = "main", .path = "/a.db", .vfs = ""}, WalFacts());
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].role, Role::kDatabase);
  EXPECT_EQ(files[0].bytes, 8192U);
  EXPECT_FALSE(files[0].frames);
  EXPECT_EQ(files[1].path, "/a.db-wal");
  EXPECT_EQ(files[1].bytes, 32U + 5 * (24 + 4096));
  EXPECT_EQ(files[1].frames, 5U);
}

TEST(FactsTest, PagesOf64KilobytesAndManyFramesDoNotOverflow) {
  Facts facts = WalFacts();
  facts.page_size = 65536;
  facts.max_frame = 4'000'000'000;
  facts.wal_file_bytes = ~std::uint64_t{0};
  EXPECT_EQ(facts.WalBytes(), 32U + std::uint64_t{4'000'000'000} * 65560);
}

TEST(FactsTest, AWalWithoutFramesIsLeftOut) {
  Facts facts = WalFacts();
  facts.max_frame = 0;
  EXPECT_EQ(FilesOf({.schema = "main", .path = "/a.db", .vfs = ""}, facts).size(), 1U);
}

// ---- changes ----

TEST(FactsTest, NothingIsNoChange) {
  for (const Kind kind : {Kind::kSnapshot, Kind::kWrite, Kind::kExclusive}) {
    EXPECT_EQ(After([](Facts&) {}, kind), "");
  }
}

TEST(FactsTest, UnderASnapshotWritersGoOn) {
  EXPECT_EQ(After([](Facts& facts) { facts.max_frame = 9; }), "");
  EXPECT_EQ(After([](Facts& facts) { facts.wal_file_bytes = 90'000; }), "");
  EXPECT_EQ(After([](Facts& facts) { facts.wal_file_bytes = 30'000; }), "");  // its tail was cut
}

TEST(FactsTest, UnderAWriteBarrierNothingMoves) {
  for (const Kind kind : {Kind::kWrite, Kind::kExclusive}) {
    EXPECT_NE(After([](Facts& facts) { facts.max_frame = 9; }, kind), "");
    EXPECT_NE(After([](Facts& facts) { facts.wal_file_bytes = 90'000; }, kind), "");
  }
}

TEST(FactsTest, WhatMayNeverMoveIsNamed) {
  const std::vector<std::pair<std::function<void(Facts&)>, std::string>> changes = {
      {[](Facts& facts) { facts.database.inode = 99; }, "the database is another file"},
      {[](Facts& facts) { facts.database_bytes = 4096; }, "8192 to 4096"},
      {[](Facts& facts) { facts.change_counter = 4; }, "change counter went from 3 to 4"},
      {[](Facts& facts) { facts.database_written_ns = 1; }, "somebody wrote"},
      {[](Facts& facts) { facts.wal = false; }, "journal mode"},
      {[](Facts& facts) { facts.wal_file.inode = 99; }, "-wal is another file"},
      {[](Facts& facts) { facts.shm.inode = 99; }, "-shm is another file"},
      {[](Facts& facts) { facts.max_frame = 4; }, "5 to 4"},
      {[](Facts& facts) { facts.salt1 = 9; }, "restarted"},
      {[](Facts& facts) { facts.salt2 = 9; }, "restarted"},
      {[](Facts& facts) { facts.backfilled = 5; }, "2 to 5"},
      {[](Facts& facts) { facts.backfill_attempted = 5; }, "checkpoint was begun"},
  };
  for (const auto& [change, words] : changes) {
    EXPECT_NE(After(change).find(words), std::string::npos) << words << ": " << After(change);
  }
}

TEST(FactsTest, AnEmptyWalsFirstWriterChoosesItsSalts) {
  Facts then = WalFacts();
  then.max_frame = then.backfilled = then.backfill_attempted = 0;
  Facts now = then;
  now.salt1 = 100;
  now.max_frame = 3;
  EXPECT_EQ(WhatChanged(then, now, Kind::kSnapshot), "");
}

// ---- words ----

TEST(KindsTest, AreReadInAnyCase) {
  EXPECT_EQ(ParseKind("snapshot"), Kind::kSnapshot);
  EXPECT_EQ(ParseKind("Write"), Kind::kWrite);
  EXPECT_EQ(ParseKind("EXCLUSIVE"), Kind::kExclusive);
  for (const char* none : {"", "snap", "snapshots", " write"}) EXPECT_FALSE(ParseKind(none));
}

// ---- backoff ----

TEST(BackoffTest, GrowsAndStaysWithinItsLimits) {
  Backoff backoff;
  std::chrono::microseconds last{0};
  EXPECT_LE(backoff.Next(true).count(), 75);
  for (int i = 0; i < 100; ++i) last = backoff.Next(false);
  EXPECT_GE(last.count(), 1'000);
  EXPECT_LE(last.count(), 3'000);
  for (int i = 0; i < 100; ++i) last = backoff.Next(true);
  EXPECT_GE(last.count(), 5'000);
  EXPECT_LE(last.count(), 15'000);
}

// ---- board ----

TEST(BarrierBoardTest, TellsWhatWasPostedUntilItIsRemoved) {
  auto& board = ledger::BarrierBoard::Process();
  ledger::BarrierNotice notice;
  notice.token = "t1";
  board.Post(notice);
  ASSERT_EQ(board.All().size(), 1U);
  board.SetState("t1", ledger::BarrierState::kExpired);
  board.SetState("unknown", ledger::BarrierState::kLost);
  EXPECT_STREQ(Name(board.All().front().state), "expired");
  board.Remove("t1");
  EXPECT_TRUE(board.All().empty());
}

}  // namespace
}  // namespace lockscope::barrier
