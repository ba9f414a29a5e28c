// HoldWatch: tells whoever wants to know of locks that were held for long, when they are let go,
// and of long waits, when they end.
//
// Nobody wants to know by default, and then it costs one comparison.
#pragma once

#include <atomic>
#include <cstdint>

#include "ledger/clock.h"
#include "model/resource.h"

namespace lockscope::ledger {

struct LongHold {
  std::uint64_t connection = 0;  // its number
  Resource resource = Resource::kDatabase;
  LockMode mode = LockMode::kNone;
  Ticks since = 0;
  Ticks until = 0;
};

// Called by the thread that lets go, inside the call of SQLite that does, after it is recorded; no
// mutex is held. Not for connections that are being closed, whose number is 0.
using HoldWatcher = void (*)(const LongHold& hold) noexcept;

// `longer_than` kNobodyWatches: no more. The watcher is the same for the life of the process.
inline constexpr Ticks kNobodyWatches = ~Ticks{0};
void WatchHolds(Ticks longer_than, HoldWatcher watcher) noexcept;

// Likewise of waits that have ended; the connection's newest note tells the rest.
using WaitWatcher = void (*)(std::uint64_t connection) noexcept;
void WatchWaits(Ticks longer_than, WaitWatcher watcher) noexcept;
void WaitEnded(std::uint64_t connection, Ticks waited) noexcept;

// Of a hold that IsLongHold().
[[gnu::cold]] void TellOfHold(const LongHold& hold) noexcept;

namespace internal {
extern std::atomic<Ticks> g_long_hold __attribute__((visibility("hidden")));
}  // namespace internal

// Whether somebody wants to know.
inline bool IsLongHold(Ticks since, Ticks now) noexcept {
  // A tick of another processor may be a little older.
  return now > since && since != 0 &&
         now - since > internal::g_long_hold.load(std::memory_order_relaxed);
}

}  // namespace lockscope::ledger
