#include "ledger/hold_watch.h"

namespace lockscope::ledger {
namespace internal {

constinit std::atomic<Ticks> g_long_hold{kNobodyWatches};

}  // namespace internal

namespace {

constinit std::atomic<HoldWatcher> g_watcher{nullptr};

}  // namespace

void WatchHolds(Ticks longer_than, HoldWatcher watcher) noexcept {
  g_watcher.store(watcher, std::memory_order_release);
  internal::g_long_hold.store(longer_than, std::memory_order_release);
}

void internal::TellOfHold(const LongHold& hold) noexcept {
  if (const HoldWatcher watcher = g_watcher.load(std::memory_order_acquire)) watcher(hold);
}

}  // namespace lockscope::ledger
