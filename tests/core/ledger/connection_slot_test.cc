// What one connection publishes of itself:
//   layout   the same for every process that reads it
//   held     packed into a word and back; hostile words
//   reading  while the writer is in the middle of an update, and under a busy writer: never torn

#include "ledger/connection_slot.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace lockscope::ledger {
namespace {

// ---- layout ----

static_assert(offsetof(SlotCopy, held) == 0);
static_assert(offsetof(SlotCopy, call) == 32);
static_assert(offsetof(SlotCopy, want) == 40);
static_assert(offsetof(SlotCopy, shm_since) == 48);
static_assert(offsetof(SlotCopy, database_since) == 112);
static_assert(offsetof(SlotCopy, open_since) == 144);
static_assert(offsetof(SlotCopy, sleeping) == 184);
static_assert(offsetof(SlotCopy, sql_bytes) == 208);
static_assert(kSlotWords == 31);
static_assert(offsetof(ConnectionSlot, sql) == 8 + 248);
static_assert(alignof(ConnectionSlot) == 64);

// ---- held ----

TEST(HeldBitsTest, SurvivesPacking) {
  const HeldBits bits{.database = LockMode::kExclusive,
                      .database_levels = 0b10110,
                      .shm_shared = 0b01000000,
                      .shm_exclusive = 0b10000101,
                      .autocommit = Autocommit::kOff,
                      .wal_open = true};
  const HeldBits back = HeldBits::Unpack(bits.Pack());
  EXPECT_EQ(back.Pack(), bits.Pack());
  EXPECT_EQ(back.database, LockMode::kExclusive);
  EXPECT_TRUE(back.Holds(LockMode::kShared));
  EXPECT_TRUE(back.Holds(LockMode::kReserved));
  EXPECT_FALSE(back.Holds(LockMode::kPending));
  EXPECT_TRUE(back.Holds(LockMode::kExclusive));
  EXPECT_EQ(back.Shm(0), LockMode::kExclusive);
  EXPECT_EQ(back.Shm(1), LockMode::kNone);
  EXPECT_EQ(back.Shm(6), LockMode::kShared);
  EXPECT_EQ(back.Shm(7), LockMode::kExclusive);
  EXPECT_EQ(back.autocommit, Autocommit::kOff);
  EXPECT_TRUE(back.wal_open);
}

TEST(HeldBitsTest, AHostileWordBecomesTheWeakestValues) {
  const HeldBits bits = HeldBits::Unpack(~std::uint64_t{0});
  EXPECT_EQ(bits.database, LockMode::kNone);
  EXPECT_EQ(bits.autocommit, Autocommit::kUnknown);
  EXPECT_EQ(bits.Shm(3), LockMode::kExclusive);
}

TEST(HeldBitsTest, EveryResourceHasATextOfItsOwnKind) {
  EXPECT_EQ(SqlSlotOf(Resource::kDatabase), SqlSlot::kDatabase);
  EXPECT_EQ(SqlSlotOf(Resource::kWalWrite), SqlSlot::kWrite);
  EXPECT_EQ(SqlSlotOf(Resource::kWalCheckpoint), SqlSlot::kCheckpoint);
  EXPECT_EQ(SqlSlotOf(Resource::kWalRecover), SqlSlot::kCheckpoint);
  EXPECT_EQ(SqlSlotOf(Resource::kWalRead0), SqlSlot::kRead);
  EXPECT_EQ(SqlSlotOf(Resource::kWalRead4), SqlSlot::kRead);
}

// ---- reading ----

// A slot and its texts.
struct Whole {
  SlotCopy slot;
  SqlCopy texts;
};

void StoreEverywhere(ConnectionSlot& slot, std::uint64_t value) {
  const Update update(slot.sequence);
  auto* words = reinterpret_cast<Word*>(&slot.words);
  for (std::size_t i = 0; i < kSlotWords; ++i) words[i].Store(value);
  for (auto& text : slot.sql) {
    for (Word& word : text) word.Store(value);
  }
}

bool AllAre(const Whole& copy, std::uint64_t value) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(&copy.slot);
  for (std::size_t i = 0; i < kSlotWords; ++i) {
    if (words[i] != value) return false;
  }
  for (const auto& text : copy.texts) {
    for (const std::uint64_t word : text) {
      if (word != value) return false;
    }
  }
  return true;
}

TEST(ConnectionSlotTest, AReaderGetsWhatWasWritten) {
  const auto slot = std::make_unique<ConnectionSlot>();
  const auto copy = std::make_unique<Whole>();
  StoreEverywhere(*slot, 17);
  ASSERT_TRUE(slot->Read(copy->slot, &copy->texts));
  EXPECT_TRUE(AllAre(*copy, 17));
  EXPECT_EQ(copy->slot.want_refusals, 17U);
}

TEST(ConnectionSlotTest, AWriterThatStoppedInMidUpdateIsToldNotWaitedFor) {
  const auto slot = std::make_unique<ConnectionSlot>();
  const auto copy = std::make_unique<Whole>();
  {
    const Update update(slot->sequence);
    slot->words.held.Store(5);
    EXPECT_FALSE(slot->Read(copy->slot, &copy->texts));
  }
  ASSERT_TRUE(slot->Read(copy->slot, &copy->texts));
  EXPECT_EQ(copy->slot.held, 5U);
}

TEST(ConnectionSlotTest, CopiesAreNeverTornAndNeverGoBack) {
  constexpr std::uint64_t kUpdates = 20'000;
  const auto slot = std::make_unique<ConnectionSlot>();
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<std::uint64_t> backwards{0};
  std::atomic<std::uint64_t> copies{0};
  const auto look = [&] {
    const auto copy = std::make_unique<Whole>();
    std::uint64_t last = 0;
    for (bool more = true; more;) {
      more = !done;
      if (!slot->Read(copy->slot, &copy->texts)) continue;
      ++copies;
      if (!AllAre(*copy, copy->slot.held)) ++torn;
      if (copy->slot.held < last) ++backwards;
      last = copy->slot.held;
    }
    EXPECT_EQ(last, kUpdates);
  };
  std::vector<std::thread> readers;
  readers.emplace_back(look);
  readers.emplace_back(look);
  for (std::uint64_t value = 1; value <= kUpdates; ++value) {
    StoreEverywhere(*slot, value);
    if (value % 16 == 0) std::this_thread::yield();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0U);
  EXPECT_EQ(backwards, 0U);
  EXPECT_GE(copies, 2U);
}

}  // namespace
}  // namespace lockscope::ledger
