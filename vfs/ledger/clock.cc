#include "ledger/clock.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <mutex>
#include <string_view>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lockscope::ledger {
namespace clock_internal {

constinit bool g_use_tsc = false;

}  // namespace clock_internal

namespace {

constinit ClockAnchor g_anchor{};

std::uint64_t ReadClock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(t.tv_nsec);
}

#if defined(__x86_64__)
bool CpuHasInvariantTsc() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & (1U << 8)) != 0;
}

// The kernel's own verdict: it tests the counters of all cores against each other and gives the
// clock source up when they disagree.
bool KernelTrustsTsc() {
  const int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                      O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<char, 32> text{};
  const ssize_t n = read(fd, text.data(), text.size());
  close(fd);
  const std::string_view name(text.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  return name == "tsc\n" || name == "kvm-clock\n";
}
#endif

}  // namespace

namespace clock_internal {

Ticks CoarseNow() noexcept { return ReadClock(CLOCK_MONOTONIC_COARSE); }

}  // namespace clock_internal

void PrepareClock() {
  static std::once_flag once;
  std::call_once(once, [] {
#if defined(__x86_64__)
    clock_internal::g_use_tsc = CpuHasInvariantTsc() && KernelTrustsTsc();
#endif
    g_anchor = ClockAnchor::Take();
  });
}

ClockAnchor ClockAnchor::Take() {
  // The narrowest of a few readings: one that was interrupted in the middle is wide.
  ClockAnchor best;
  Ticks best_width = ~Ticks{0};
  for (int i = 0; i < 4; ++i) {
    const Ticks before = Now();
    const std::uint64_t monotonic = ReadClock(CLOCK_MONOTONIC);
    const Ticks after = Now();
    if (after - before < best_width) {
      best_width = after - before;
      best.ticks = before + (after - before) / 2;
      best.monotonic_ns = monotonic;
    }
  }
  const std::uint64_t monotonic = ReadClock(CLOCK_MONOTONIC);
  const auto realtime = static_cast<std::int64_t>(ReadClock(CLOCK_REALTIME));
  best.realtime_ns = realtime - static_cast<std::int64_t>(monotonic - best.monotonic_ns);
  return best;
}

TickSource CurrentTickSource() noexcept {
  return clock_internal::g_use_tsc ? TickSource::kTsc : TickSource::kCoarse;
}

const ClockAnchor& ProcessAnchor() { return g_anchor; }

Timeline::Timeline(const ClockAnchor& begin, const ClockAnchor& now) : begin_(begin), now_(now) {}

std::uint64_t Timeline::DurationNs(Ticks ticks) const {
  const Ticks span = now_.ticks - begin_.ticks;
  if (span == 0 || now_.ticks < begin_.ticks) return ticks;
  const std::uint64_t span_ns = now_.monotonic_ns - begin_.monotonic_ns;
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(ticks) * span_ns / span);
}

std::uint64_t Timeline::AgeNs(Ticks ticks) const {
  return ticks >= now_.ticks ? 0 : DurationNs(now_.ticks - ticks);
}

std::uint64_t Timeline::MonotonicNs(Ticks ticks) const { return now_.monotonic_ns - AgeNs(ticks); }

std::int64_t Timeline::RealtimeNs(Ticks ticks) const {
  return now_.realtime_ns - static_cast<std::int64_t>(AgeNs(ticks));
}

std::string FormatUtc(std::int64_t realtime_ns) {
  std::int64_t ms = realtime_ns / 1'000'000;
  if (realtime_ns % 1'000'000 < 0) ms -= 1;
  time_t seconds = static_cast<time_t>(ms / 1000);
  std::int64_t rest = ms % 1000;
  if (rest < 0) {
    rest += 1000;
    seconds -= 1;
  }
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 64> text{};
  const int n = std::snprintf(text.data(), text.size(), "%04d-%02d-%02d %02d:%02d:%02d.%03d",
                              parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                              parts.tm_min, parts.tm_sec, static_cast<int>(rest));
  return {text.data(), static_cast<std::size_t>(n)};
}

}  // namespace lockscope::ledger
