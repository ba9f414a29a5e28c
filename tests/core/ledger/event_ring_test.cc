// The ring of a connection's last lock calls:
//   filling   what was appended comes back, oldest first
//   wrapping  what is overwritten is counted as lost, to the event
//   reading   while the writer goes on: whole events, without a gap
//   events    packed into a word and back; hostile words

#include "ledger/event_ring.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace lockscope::ledger {
namespace {

// The event with this number: every field of the entry follows from it.
Event Numbered(std::uint64_t number) {
  return {.operation = static_cast<Operation>(number % kOperationCount),
          .resource = static_cast<Resource>(number % kResourceCount),
          .from = static_cast<LockMode>(number % 5),
          .to = static_cast<LockMode>((number + 1) % 5),
          .result = static_cast<std::uint16_t>(number % 1000)};
}

void AppendNumbered(EventRing& ring, std::uint64_t number) {
  ring.AppendMeasured(Numbered(number).Pack(), number * 3, number * 7);
}

bool IsWhole(const RecordedEvent& recorded) {
  return recorded.event.Pack() == Numbered(recorded.number).Pack() &&
         recorded.at == recorded.number * 3 && recorded.duration_ticks == recorded.number * 7;
}

class EventRingTest : public ::testing::Test {
 protected:
  void Fill(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) AppendNumbered(*ring_, i);
  }
  void Read() { events_ = ring_->Read(lost_); }

  std::unique_ptr<EventRing> ring_ = std::make_unique<EventRing>();
  std::uint64_t lost_ = 99;
  std::vector<RecordedEvent> events_;
};

// ---- filling and wrapping ----

TEST_F(EventRingTest, AnEmptyRingHasLostNothing) {
  Read();
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(lost_, 0U);
}

TEST_F(EventRingTest, ComesBackOldestFirst) {
  Fill(3);
  Read();
  ASSERT_EQ(events_.size(), 3U);
  EXPECT_EQ(lost_, 0U);
  for (std::uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(events_.at(i).number, i);
    EXPECT_TRUE(IsWhole(events_.at(i))) << i;
  }
}

// The entry's third word is not touched then: it still has the duration of 512 events ago.
TEST_F(EventRingTest, WithoutADurationNoneWasMeasured) {
  Fill(kRingEvents);
  ring_->Append(Numbered(0).Pack(), 1);
  AppendNumbered(*ring_, kRingEvents + 1);
  Read();
  ASSERT_EQ(events_.size(), kRingEvents - 1);
  EXPECT_EQ(events_.at(events_.size() - 3).duration_ticks, (kRingEvents - 1) * 7);
  EXPECT_EQ(events_.at(events_.size() - 2).duration_ticks, kNotMeasured);
  EXPECT_EQ(events_.back().duration_ticks, (kRingEvents + 1) * 7);
}

// One entry is always given up: the writer may be about to overwrite it.
TEST_F(EventRingTest, KeepsAllButOneOfItsEntries) {
  Fill(kRingEvents - 1);
  Read();
  EXPECT_EQ(events_.size(), kRingEvents - 1);
  EXPECT_EQ(lost_, 0U);
}

TEST_F(EventRingTest, CountsWhatItHasLost) {
  for (const std::uint64_t count : {kRingEvents, kRingEvents + 1, 3 * kRingEvents + 17}) {
    ring_ = std::make_unique<EventRing>();
    Fill(count);
    Read();
    ASSERT_EQ(events_.size(), kRingEvents - 1) << count;
    EXPECT_EQ(lost_, count - (kRingEvents - 1)) << count;
    EXPECT_EQ(events_.front().number, lost_) << count;
    EXPECT_EQ(events_.back().number, count - 1) << count;
    for (const RecordedEvent& event : events_) EXPECT_TRUE(IsWhole(event)) << event.number;
  }
}

TEST_F(EventRingTest, ClearingForgetsEverything) {
  Fill(kRingEvents + 5);
  ring_->Clear();
  Read();
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(lost_, 0U);
}

// ---- reading while it is written ----

TEST_F(EventRingTest, AReaderBesideTheWriterSeesWholeEventsWithoutAGap) {
  constexpr std::uint64_t kEvents = 300'000;
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (std::uint64_t i = 0; i < kEvents; ++i) {
      AppendNumbered(*ring_, i);
      if (i % 64 == 0) std::this_thread::yield();
    }
    done = true;
  });
  std::uint64_t torn = 0;
  std::uint64_t gaps = 0;
  std::uint64_t seen = 0;
  std::uint64_t last = 0;
  bool backwards = false;
  for (bool more = true; more;) {
    more = !done;  // once more after the end
    Read();
    for (std::size_t i = 0; i < events_.size(); ++i) {
      if (!IsWhole(events_.at(i))) ++torn;
      if (events_.at(i).number != lost_ + i) ++gaps;
    }
    seen += events_.size();
    if (events_.empty()) continue;
    if (events_.back().number < last) backwards = true;
    last = events_.back().number;
  }
  writer.join();
  EXPECT_EQ(torn, 0U);
  EXPECT_EQ(gaps, 0U);
  EXPECT_FALSE(backwards);
  EXPECT_GE(seen, kRingEvents - 1);
  EXPECT_EQ(last, kEvents - 1);
}

// ---- events ----

TEST(EventTest, SurvivesPacking) {
  const Event event{.operation = Operation::kShmUnlock,
                    .resource = Resource::kWalRead1,
                    .count = 4,
                    .from = LockMode::kExclusive,
                    .to = LockMode::kNone,
                    .result = 0xffff};
  const auto back = Event::Unpack(event.Pack());
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->Pack(), event.Pack());
  EXPECT_EQ(back->operation, Operation::kShmUnlock);
  EXPECT_EQ(back->count, 4);
  EXPECT_EQ(back->result, 0xffff);
  EXPECT_EQ(back->ResourceName(), "wal-read-1,wal-read-2,wal-read-3,wal-read-4");
}

TEST(EventTest, WordsThatNoEventHasAreRefused) {
  const std::uint64_t good = Event{}.Pack();
  ASSERT_TRUE(Event::Unpack(good).has_value());
  const auto with = [good](int shift, std::uint64_t value) {
    return (good & ~(std::uint64_t{0xff} << shift)) | value << shift;
  };
  EXPECT_FALSE(Event::Unpack(with(0, kOperationCount)).has_value());
  EXPECT_FALSE(Event::Unpack(with(8, kResourceCount)).has_value());
  EXPECT_FALSE(Event::Unpack(with(16, 0)).has_value());
  EXPECT_FALSE(Event::Unpack(with(16, kResourceCount + 1)).has_value());
  EXPECT_FALSE(Event::Unpack(with(24, 5)).has_value());
  EXPECT_FALSE(Event::Unpack(with(32, 255)).has_value());
  EXPECT_FALSE(Event::Unpack(~std::uint64_t{0}).has_value());
}

TEST(EventTest, NamesEveryOperation) {
  EXPECT_STREQ(Name(Operation::kLock), "lock");
  EXPECT_STREQ(Name(Operation::kUnlock), "unlock");
  EXPECT_STREQ(Name(Operation::kCheckReserved), "check-reserved");
  EXPECT_STREQ(Name(Operation::kShmLock), "shm-lock");
  EXPECT_STREQ(Name(Operation::kShmUnlock), "shm-unlock");
  EXPECT_STREQ(Name(Operation::kShmMap), "shm-map");
  EXPECT_STREQ(Name(Operation::kShmUnmap), "shm-unmap");
}

}  // namespace
}  // namespace lockscope::ledger
