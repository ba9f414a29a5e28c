#include "ledger/hold_watch.h"

namespace lockscope::ledger {
namespace internal {

constinit std::atomic<Ticks> g_long_hold{kNobodyWatches};

}  // namespace internal

namespace {

constinit std::atomic<HoldWatcher> g_watcher{nullptr};
constinit std::atomic<Ticks> g_long_wait{kNobodyWatches};
constinit std::atomic<WaitWatcher> g_wait_watcher{nullptr};

}  // namespace

void WatchHolds(Ticks longer_than, HoldWatcher watcher) noexcept {
  g_watcher.store(watcher, std::memory_order_release);
  internal::g_long_hold.store(longer_than, std::memory_order_release);
}

void TellOfHold(const LongHold& hold) noexcept {
  if (hold.connection == 0) return;
  if (const HoldWatcher watcher = g_watcher.load(std::memory_order_acquire)) watcher(hold);
}

void WatchWaits(Ticks longer_than, WaitWatcher watcher) noexcept {
  g_wait_watcher.store(watcher, std::memory_order_release);
  g_long_wait.store(longer_than, std::memory_order_release);
}

void WaitEnded(std::uint64_t connection, Ticks waited) noexcept {
  if (connection == 0 || waited < g_long_wait.load(std::memory_order_relaxed)) return;
  if (const WaitWatcher watcher = g_wait_watcher.load(std::memory_order_acquire)) {
    watcher(connection);
  }
}

}  // namespace lockscope::ledger
