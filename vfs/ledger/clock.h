// The ledger's time stamps: raw ticks on the hot path, turned into time only when somebody looks.
//
// Where the kernel itself keeps time by an invariant time stamp counter, a tick is one of its
// counts. Elsewhere it is a nanosecond of CLOCK_MONOTONIC_COARSE, which moves every 4 ms or so.
// (Alone in a loop the counter looks dearer, 20 ns to 8 on some machines; between the other work of
// a lock call it costs 3 ns to the coarse clock's 15, whose code and data have to be fetched anew.)
#pragma once

#include <cstdint>
#include <string>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace lockscope::ledger {

using Ticks = std::uint64_t;

namespace clock_internal {
extern bool g_use_tsc __attribute__((visibility("hidden")));  // written once, by PrepareClock()
[[gnu::cold]] Ticks CoarseNow() noexcept;
}  // namespace clock_internal

enum class TickSource : std::uint8_t { kCoarse = 1, kTsc = 2 };

// Chooses the source of ticks. Called before the first registration; later calls do nothing.
void PrepareClock();

// What PrepareClock() chose. Ticks of processes with the same source are on one scale.
TickSource CurrentTickSource() noexcept;

inline Ticks Now() noexcept {
#if defined(__x86_64__)
  if (clock_internal::g_use_tsc) return __rdtsc();
#endif
  return clock_internal::CoarseNow();
}

// One moment on all clocks.
struct ClockAnchor {
  Ticks ticks = 0;
  std::uint64_t monotonic_ns = 0;
  std::int64_t realtime_ns = 0;  // since 1970, UTC

  static ClockAnchor Take();
};

// Places ticks in time by the straight line through two anchors: one from when recording began, one
// from now. The rate of the counter is never assumed; the error is that of reading two clocks at
// once (well under a microsecond), however long ago the tick was.
class Timeline {
 public:
  Timeline(const ClockAnchor& begin, const ClockAnchor& now);

  std::uint64_t MonotonicNs(Ticks ticks) const;
  std::uint64_t AgeNs(Ticks ticks) const;       // 0 for a tick after `now`
  std::int64_t RealtimeNs(Ticks ticks) const;   // by the wall clock as it stands now
  std::uint64_t DurationNs(Ticks ticks) const;  // of a span of so many ticks

 private:
  ClockAnchor begin_;
  ClockAnchor now_;
};

// The anchor taken by PrepareClock().
const ClockAnchor& ProcessAnchor();

// "YYYY-MM-DD HH:MM:SS.SSS", UTC: what SQLite's date functions read.
std::string FormatUtc(std::int64_t realtime_ns);

}  // namespace lockscope::ledger
