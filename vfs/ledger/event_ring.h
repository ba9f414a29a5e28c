// EventRing: the last lock calls of one connection. Written by it, read by anybody; nobody waits.
//
// Event number N (from 0) lies at position N % kRingEvents and is complete once `head` is above N. A
// reader copies, then loads `head` again: what may have been overwritten meanwhile is left out.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "ledger/clock.h"
#include "ledger/word.h"
#include "model/event.h"

namespace lockscope::ledger {

inline constexpr std::uint64_t kRingEvents = 512;  // a power of two
inline constexpr std::uint64_t kNotMeasured = ~std::uint64_t{0};

struct RecordedEvent {
  std::uint64_t number = 0;
  Ticks at = 0;
  Event event;
  std::uint64_t duration_ticks = kNotMeasured;
};

class EventRing {
 public:
  void Append(std::uint64_t packed_event, Ticks at, std::uint64_t duration = kNotMeasured) noexcept {
    const std::uint64_t number = head_.Own();
    Entry& entry = entries_[number & (kRingEvents - 1)];
    entry.event.Store(packed_event);
    entry.at.Store(at);
    entry.duration.Store(duration);
    head_.Store(number + 1);
  }
  // Oldest first. `lost` = how many events before the first of them the ring no longer has.
  std::vector<RecordedEvent> Read(std::uint64_t& lost) const;
  void Clear() { head_.Store(0); }

 private:
  struct Entry {
    Word event;
    Word at;
    Word duration;
  };
  std::array<Entry, kRingEvents> entries_;
  Word head_;
};

}  // namespace lockscope::ledger
