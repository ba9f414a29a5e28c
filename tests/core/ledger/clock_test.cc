// Ticks and time:
//   Now        never goes back
//   Timeline   places ticks by the line through two anchors
//   FormatUtc  as SQLite's date functions read it, before 1970 too

#include "ledger/clock.h"

#include <gtest/gtest.h>
#include <time.h>

#include <cstdint>

namespace lockscope::ledger {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::uint64_t MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec * kSecond + now.tv_nsec);
}

// ---- Now ----

TEST(ClockTest, NeverGoesBack) {
  PrepareClock();
  Ticks last = Now();
  int backwards = 0;
  for (int i = 0; i < 100'000; ++i) {
    const Ticks now = Now();
    if (now < last) ++backwards;
    last = now;
  }
  EXPECT_EQ(backwards, 0);
}

// Where ticks are of the coarse clock, that is some milliseconds behind.
TEST(ClockTest, TicksBecomeTheTimeAtWhichTheyWereTaken) {
  constexpr std::uint64_t kCoarse = 11'000'000;
  constexpr std::uint64_t kLater = 20'000'000;
  PrepareClock();
  const std::uint64_t before_ns = MonotonicNow();
  const Ticks tick = Now();
  const std::uint64_t after_ns = MonotonicNow();
  while (MonotonicNow() < after_ns + kLater) {
  }
  const Timeline timeline(ProcessAnchor(), ClockAnchor::Take());
  EXPECT_GE(timeline.MonotonicNs(tick) + kCoarse, before_ns);
  EXPECT_LE(timeline.MonotonicNs(tick), after_ns + kCoarse);
  EXPECT_GE(timeline.AgeNs(tick) + kCoarse, kLater);
}

// ---- Timeline ----

// Two ticks a nanosecond.
constexpr ClockAnchor kBegin{.ticks = 1'000, .monotonic_ns = 5'000, .realtime_ns = 900};
constexpr ClockAnchor kNow{.ticks = 21'000, .monotonic_ns = 15'000, .realtime_ns = 10'900};

TEST(TimelineTest, LiesOnTheLineThroughItsAnchors) {
  const Timeline timeline(kBegin, kNow);
  EXPECT_EQ(timeline.MonotonicNs(21'000), 15'000U);
  EXPECT_EQ(timeline.MonotonicNs(11'000), 10'000U);
  EXPECT_EQ(timeline.MonotonicNs(1'000), 5'000U);
  EXPECT_EQ(timeline.AgeNs(11'000), 5'000U);
  EXPECT_EQ(timeline.RealtimeNs(11'000), 5'900);
  EXPECT_EQ(timeline.DurationNs(500), 250U);
}

TEST(TimelineTest, ATickAfterNowHasNoAge) {
  const Timeline timeline(kBegin, kNow);
  EXPECT_EQ(timeline.AgeNs(30'000), 0U);
  EXPECT_EQ(timeline.MonotonicNs(30'000), 15'000U);
}

TEST(TimelineTest, FollowsTheWallClockAsItStandsNow) {
  ClockAnchor stepped = kNow;
  stepped.realtime_ns -= 3'600 * kSecond;  // set back by an hour
  const Timeline timeline(kBegin, stepped);
  EXPECT_EQ(timeline.RealtimeNs(11'000), 5'900 - 3'600 * kSecond);
}

TEST(TimelineTest, AnchorsOfOneMomentCountANanosecondATick) {
  const Timeline timeline(kBegin, kBegin);
  EXPECT_EQ(timeline.DurationNs(7), 7U);
  EXPECT_EQ(timeline.AgeNs(1'000), 0U);
}

TEST(TimelineTest, YearsOfTicksDoNotOverflow) {
  constexpr std::uint64_t kYearNs = 365ULL * 86'400 * 1'000'000'000;
  const ClockAnchor later{.ticks = 1'000 + 10 * kYearNs * 3,  // 3 GHz, ten years
                          .monotonic_ns = 5'000 + 10 * kYearNs,
                          .realtime_ns = 0};
  const Timeline timeline(kBegin, later);
  EXPECT_EQ(timeline.DurationNs(3 * kYearNs), kYearNs);
  EXPECT_EQ(timeline.AgeNs(1'000), 10 * kYearNs);
}

// ---- FormatUtc ----

TEST(FormatUtcTest, IsWhatSqliteReads) {
  EXPECT_EQ(FormatUtc(0), "1970-01-01 00:00:00.000");
  EXPECT_EQ(FormatUtc(1), "1970-01-01 00:00:00.000");
  EXPECT_EQ(FormatUtc(999'999), "1970-01-01 00:00:00.000");
  EXPECT_EQ(FormatUtc(1'000'000), "1970-01-01 00:00:00.001");
  EXPECT_EQ(FormatUtc(951'782'400 * kSecond), "2000-02-29 00:00:00.000");
  EXPECT_EQ(FormatUtc(1'700'000'000 * kSecond + 123'456'789), "2023-11-14 22:13:20.123");
  EXPECT_EQ(FormatUtc(4'102'444'799 * kSecond + 999'999'999), "2099-12-31 23:59:59.999");
}

// Rounded down, as after 1970: a moment is never shown later than it was.
TEST(FormatUtcTest, BeforeNineteenSeventy) {
  EXPECT_EQ(FormatUtc(-1), "1969-12-31 23:59:59.999");
  EXPECT_EQ(FormatUtc(-999'999), "1969-12-31 23:59:59.999");
  EXPECT_EQ(FormatUtc(-1'000'000), "1969-12-31 23:59:59.999");
  EXPECT_EQ(FormatUtc(-1'000'001), "1969-12-31 23:59:59.998");
  EXPECT_EQ(FormatUtc(-kSecond), "1969-12-31 23:59:59.000");
  EXPECT_EQ(FormatUtc(-86'400 * kSecond), "1969-12-31 00:00:00.000");
  EXPECT_EQ(FormatUtc(-2'208'988'800 * kSecond), "1900-01-01 00:00:00.000");
}

}  // namespace
}  // namespace lockscope::ledger
