// What lies where in a sidecar, and what is written into it by more than a plain store:
//   layout   the same for every process that reads it
//   flags    packed into a word and back; hostile words
//   texts    cut on a character's border; hostile lengths
//   adding   what closed connections counted: up to the counters' limit, and no further

#include "ledger/registry_layout.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <limits>
#include <memory>
#include <string>

namespace lockscope::ledger {
namespace {

// ---- layout ----
//
// Two processes need not run the same lockscope. Whoever has to change a number below raises
// kRegistryVersion too: then neither reads the other's sidecar.

static_assert(kRegistryVersion == 4);
static_assert(kRegistryPage == 4096);
static_assert(kBlockRecords == 8);
static_assert(kBlocksMax == 1024);
static_assert(kMutexByte == 0x40000000);
static_assert(kBlockByte == 0x40000002);

static_assert(offsetof(RegistryHeader, magic) == 0);
static_assert(offsetof(RegistryHeader, byte_order) == 16);
static_assert(offsetof(RegistryHeader, version) == 20);
static_assert(offsetof(RegistryHeader, block_bytes) == 24);
static_assert(offsetof(RegistryHeader, record_bytes) == 28);
static_assert(offsetof(RegistryHeader, database_device) == 32);
static_assert(offsetof(RegistryHeader, database_inode) == 40);

using Process = ProcessLayout<std::uint64_t>;
static_assert(offsetof(Process, instance) == 0);
static_assert(offsetof(Process, pid) == 8);
static_assert(offsetof(Process, pid_namespace) == 16);
static_assert(offsetof(Process, start_boottime) == 24);
static_assert(offsetof(Process, flags) == 32);
static_assert(offsetof(Process, anchor_ticks) == 40);
static_assert(offsetof(Process, anchor_monotonic) == 48);
static_assert(offsetof(Process, anchor_realtime) == 56);
static_assert(offsetof(Process, application) == 64);
static_assert(offsetof(Process, command) == 200);
static_assert(offsetof(Process, sqlite_version) == 1008);
static_assert(offsetof(Process, sqlite_source) == 1048);
static_assert(sizeof(Process) == 1184);

using Identity = IdentityLayout<std::uint64_t>;
static_assert(offsetof(Identity, state) == 0);
static_assert(offsetof(Identity, number) == 8);
static_assert(offsetof(Identity, opened) == 16);
static_assert(offsetof(Identity, thread) == 24);
static_assert(offsetof(Identity, flags) == 32);
static_assert(offsetof(Identity, journal_mode) == 40);
static_assert(offsetof(Identity, locking_mode) == 48);
static_assert(offsetof(Identity, database_device) == 56);
static_assert(offsetof(Identity, database_inode) == 64);
static_assert(offsetof(Identity, shm_device) == 72);
static_assert(offsetof(Identity, shm_inode) == 80);
static_assert(offsetof(Identity, vfs) == 88);
static_assert(sizeof(Identity) == 160);

using Note = BarrierNoteLayout<std::uint64_t>;
static_assert(offsetof(Note, present) == 0);
static_assert(offsetof(Note, state) == 8);
static_assert(offsetof(Note, since) == 16);
static_assert(offsetof(Note, expires) == 24);
static_assert(offsetof(Note, token) == 32);
static_assert(offsetof(Note, kind) == 104);
static_assert(offsetof(Note, label) == 128);
static_assert(offsetof(Note, databases) == 264);
static_assert(sizeof(Note) == 2320);

using Wait = WaitNoteLayout<std::uint64_t>;
static_assert(offsetof(Wait, wanted) == 0);
static_assert(offsetof(Wait, began) == 8);
static_assert(offsetof(Wait, asked) == 32);
static_assert(offsetof(Wait, refusals) == 40);
static_assert(offsetof(Wait, outcome) == 48);
static_assert(offsetof(Wait, reason) == 56);
static_assert(offsetof(Wait, upgrade) == 64);
static_assert(offsetof(Wait, blocker_pid) == 72);
static_assert(offsetof(Wait, blocker_connection) == 80);
static_assert(offsetof(Wait, sql) == 88);
static_assert(offsetof(Wait, blocker_sql) == 352);
static_assert(offsetof(Wait, explanation) == 616);
static_assert(sizeof(Wait) == 1136);

using Text = TextLayout<std::uint64_t, 2>;
static_assert(offsetof(Text, bytes) == 0 && offsetof(Text, words) == 8 && sizeof(Text) == 24);

// The sequence before its words.
static_assert(sizeof(Published<IdentityLayout>) == 8 + sizeof(Identity));
static_assert(offsetof(ConnectionSlot, words) == 8);

static_assert(sizeof(Histogram) == 8 + kBuckets * 4);
static_assert(sizeof(LockStats) == kStatKinds * 1280);
static_assert(sizeof(EventRing) == 64 + kRingEvents * 24);

static_assert(offsetof(ConnectionRecord, identity) == 0);
static_assert(offsetof(ConnectionRecord, slot) == 192);
static_assert(offsetof(ConnectionRecord, ring) == 5568);
static_assert(offsetof(ConnectionRecord, stats) == 17920);
static_assert(offsetof(ConnectionRecord, barrier) == 40960);
static_assert(sizeof(ConnectionRecord) == 54784);

static_assert(offsetof(RegistryBlock, page) == 0);
static_assert(offsetof(RegistryBlock, closed) == 4096);
static_assert(offsetof(RegistryBlock, records) == kFirstRecord && kFirstRecord == 27136);
static_assert(kBlockBytes == 466944 && kBlockBytes % kRegistryPage == 0);
static_assert(BlockOffset(0) == 4096 && BlockOffset(2) == 4096 + 2 * 466944);

std::uint64_t WordAt(const void* memory, std::size_t offset) {
  std::uint64_t word = 0;
  std::memcpy(&word, static_cast<const char*>(memory) + offset, sizeof word);
  return word;
}

TEST(RegistryLayoutTest, ARingIsItsHeadItsEntriesTheirDurations) {
  const auto ring = std::make_unique<EventRing>();
  ring->Append(3, 100);
  ring->AppendMeasured(5, 200, 7);
  EXPECT_EQ(WordAt(ring.get(), 0), 2U);
  EXPECT_EQ(WordAt(ring.get(), 64), 3U);
  EXPECT_EQ(WordAt(ring.get(), 72), 100U);
  EXPECT_EQ(WordAt(ring.get(), 80), 5U | kMeasured);
  EXPECT_EQ(WordAt(ring.get(), 88), 200U);
  EXPECT_EQ(WordAt(ring.get(), 64 + kRingEvents * 16 + 8), 7U);
}

TEST(RegistryLayoutTest, AKindIsItsCountersThenHowLongItWasHeldThenWaitedFor) {
  const auto stats = std::make_unique<LockStats>();
  stats->counters(2).acquired.Store(11);
  stats->counters(2).released.Store(12);
  stats->counters(2).refused.Store(13);
  stats->hold(2).Record(1000);
  stats->wait(2).Record(2000);
  constexpr std::size_t kKind = 2 * std::size_t{1280};
  EXPECT_EQ(WordAt(stats.get(), kKind), 11U);
  EXPECT_EQ(WordAt(stats.get(), kKind + 8), 12U);
  EXPECT_EQ(WordAt(stats.get(), kKind + 16), 13U);
  EXPECT_EQ(WordAt(stats.get(), kKind + 24), 1000U);
  EXPECT_EQ(WordAt(stats.get(), kKind + 24 + sizeof(Histogram)), 2000U);
  EXPECT_EQ(WordAt(stats.get(), kKind + 32 + BucketOf(1000) * 4) & 0xffffffff, 1U);
}

TEST(RegistryLayoutTest, AHeaderNamesTheDatabaseThatItWasMadeFor) {
  const RegistryHeader header = HeaderFor({.device = 7, .inode = 99});
  EXPECT_EQ(std::memcmp(&header, "lockscope-ledger", 16), 0);
  EXPECT_EQ(header.block_bytes, kBlockBytes);
  EXPECT_EQ(header.record_bytes, sizeof(ConnectionRecord));
  EXPECT_EQ(header.database_device, 7U);
  EXPECT_EQ(header.database_inode, 99U);
}

// ---- flags ----

TEST(RegistryLayoutTest, FlagsSurvivePacking) {
  for (const bool hidden : {false, true}) {
    for (const TickSource ticks : {TickSource::kCoarse, TickSource::kTsc}) {
      const ProcessFlags flags{.hidden = hidden, .ticks = ticks};
      const ProcessFlags back = ProcessFlags::Unpack(flags.Pack());
      EXPECT_EQ(back.hidden, hidden);
      EXPECT_EQ(back.ticks, ticks);
    }
  }
  const IdentityFlags of_barrier{.posix_shm_locks = true, .barrier = true};
  EXPECT_EQ(of_barrier.Pack(), 6U);
  EXPECT_FALSE(IdentityFlags::Unpack(6).posix_locks);
  EXPECT_TRUE(IdentityFlags::Unpack(6).posix_shm_locks);
  EXPECT_TRUE(IdentityFlags::Unpack(~std::uint64_t{0}).barrier);
}

TEST(RegistryLayoutTest, HostileFlagsAreOfNoTicksOfOurs) {
  const ProcessFlags flags = ProcessFlags::Unpack(~std::uint64_t{0});
  EXPECT_TRUE(flags.hidden);
  EXPECT_NE(flags.ticks, TickSource::kCoarse);
  EXPECT_NE(flags.ticks, TickSource::kTsc);
}

// ---- texts ----

// What a reader gets of a text for which there is room for 16 bytes.
std::string Stored(std::string_view text) {
  TextLayout<Word, 2> live;
  StoreText(live, "what was there before");
  StoreText(live, text);
  TextLayout<std::uint64_t, 2> copy{};
  static_assert(sizeof live == sizeof copy);
  std::memcpy(&copy, static_cast<const void*>(&live), sizeof copy);
  return LoadText(copy);
}

TEST(RegistryLayoutTest, AShortTextComesBack) {
  EXPECT_EQ(Stored(""), "");
  EXPECT_EQ(Stored("a"), "a");
  EXPECT_EQ(Stored("seven b"), "seven b");
  EXPECT_EQ(Stored("eight by"), "eight by");
  EXPECT_EQ(Stored("nine byte"), "nine byte");
  const std::string_view with_zero("a\0b", 3);
  EXPECT_EQ(Stored(with_zero), with_zero);
}

TEST(RegistryLayoutTest, ATextThatJustFitsIsWhole) {
  EXPECT_EQ(Stored("sixteen bytes, 1"), "sixteen bytes, 1");
  EXPECT_EQ(Stored("sixteen byte\U0001F512"), "sixteen byte\U0001F512");
}

TEST(RegistryLayoutTest, ALongTextIsCutOnACharactersBorder) {
  EXPECT_EQ(Stored("sixteen bytes, 1 and more"), "sixteen bytes, 1");
  EXPECT_EQ(Stored("fifteen bytes, \u00e9"), "fifteen bytes, ");
  EXPECT_EQ(Stored("fourteen bytes\u00e9 and"), "fourteen bytes\u00e9");
  EXPECT_EQ(Stored("fourteen bytes\u20ac"), "fourteen bytes");
  EXPECT_EQ(Stored("fifteen bytes, \U0001F512"), "fifteen bytes, ");
  EXPECT_EQ(Stored("thirteen byte\U0001F512"), "thirteen byte");
}

TEST(RegistryLayoutTest, WhatIsNoTextIsCutSomewhere) {
  EXPECT_LE(Stored(std::string(40, '\x80')).size(), 16U);
}

TEST(RegistryLayoutTest, AHostileLengthEndsWithTheRoom) {
  TextLayout<std::uint64_t, 2> copy{};
  std::memset(copy.words.data(), 'x', sizeof copy.words);
  for (const std::uint64_t bytes : {std::uint64_t{17}, ~std::uint64_t{0}}) {
    copy.bytes = bytes;
    EXPECT_EQ(LoadText(copy), std::string(16, 'x'));
  }
}

// ---- adding ----

constexpr std::uint64_t kMostInABucket = std::numeric_limits<std::uint32_t>::max();

HistogramCounts CountsOf(Ticks duration, std::uint64_t count) {
  HistogramCounts counts;
  counts.counts.at(BucketOf(duration)) = count;
  counts.total = count;
  counts.max = duration;
  return counts;
}

TEST(RegistryLayoutTest, AddedCountsComeToThoseThatAreThere) {
  Histogram histogram;
  histogram.Record(1000);
  histogram.Add(CountsOf(1000, 4));
  histogram.Add(CountsOf(500'000, 2));
  const HistogramCounts counts = histogram.Copy();
  EXPECT_EQ(counts.total, 7U);
  EXPECT_EQ(counts.counts.at(BucketOf(1000)), 5U);
  EXPECT_EQ(counts.counts.at(BucketOf(500'000)), 2U);
  EXPECT_EQ(counts.max, 500'000U);
}

TEST(RegistryLayoutTest, NothingAddedChangesNothing) {
  Histogram histogram;
  histogram.Record(1000);
  histogram.Add({});
  EXPECT_EQ(histogram.Copy().total, 1U);
  EXPECT_EQ(histogram.Copy().max, 1000U);
}

TEST(RegistryLayoutTest, AFullBucketStaysFull) {
  Histogram histogram;
  histogram.Record(1000);
  histogram.Add(CountsOf(1000, kMostInABucket - 1));
  EXPECT_EQ(histogram.Copy().total, kMostInABucket);
  histogram.Add(CountsOf(1000, 1));
  EXPECT_EQ(histogram.Copy().total, kMostInABucket);
  histogram.Add(CountsOf(1000, kMostInABucket * 16));
  EXPECT_EQ(histogram.Copy().total, kMostInABucket);
  histogram.Add(CountsOf(5000, kMostInABucket + 1));
  EXPECT_EQ(histogram.Copy().counts.at(BucketOf(5000)), kMostInABucket);
}

TEST(RegistryLayoutTest, StatsAddCountersAndBothHistograms) {
  const auto stats = std::make_unique<LockStats>();
  StatCounts counts;
  counts.acquired = 3;
  counts.released = 2;
  counts.refused = 1;
  counts.hold = CountsOf(1000, kMostInABucket * 2);
  counts.wait = CountsOf(2000, 5);
  stats->Add(6, counts);
  stats->Add(6, counts);
  const StatCounts sum = stats->Copy(6);
  EXPECT_EQ(sum.acquired, 6U);
  EXPECT_EQ(sum.released, 4U);
  EXPECT_EQ(sum.refused, 2U);
  EXPECT_EQ(sum.hold.total, kMostInABucket);
  EXPECT_EQ(sum.wait.total, 10U);
  EXPECT_TRUE(stats->Copy(5).Empty());
}

}  // namespace
}  // namespace lockscope::ledger
