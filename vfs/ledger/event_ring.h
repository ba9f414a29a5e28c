// EventRing: the last lock calls of one connection. Written by it, read by anybody; nobody waits.
//
// Event number N (from 0) lies at position N % kRingEvents and is complete once `head` is above N.
// A reader copies, then loads `head` again: what may have been overwritten meanwhile is left out.
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
// In the entry's first word, above the packed Event: its duration was measured.
inline constexpr std::uint64_t kMeasured = std::uint64_t{1} << 63;

struct RecordedEvent {
  std::uint64_t number = 0;
  Ticks at = 0;
  Event event;
  std::uint64_t duration_ticks = kNotMeasured;
};

class EventRing {
 public:
  void Append(std::uint64_t packed_event, Ticks at) noexcept {
    const std::uint64_t number = head_.Own();
    Entry& entry = entries_[number & (kRingEvents - 1)];
    entry.event.Store(packed_event);
    entry.at.Store(at);
    head_.Store(number + 1);
  }
  void AppendMeasured(std::uint64_t packed_event, Ticks at, Ticks duration) noexcept {
    durations_[head_.Own() & (kRingEvents - 1)].Store(duration);
    Append(packed_event | kMeasured, at);
  }
  // Oldest first. `lost` = how many events before the first of them the ring no longer has.
  std::vector<RecordedEvent> Read(std::uint64_t& lost) const;
  // The same, of a ring that is a copy of another: `head` was the other's before it was copied,
  // `now` after.
  std::vector<RecordedEvent> Between(std::uint64_t head, std::uint64_t now,
                                     std::uint64_t& lost) const;
  void Clear() { head_.Store(0); }
  // Whether anything was appended. REQUIRES: called by the writer.
  bool Any() const noexcept { return head_.Own() != 0; }

 private:
  std::vector<RecordedEvent> UpTo(std::uint64_t head) const;
  static void DropOverwritten(std::uint64_t now, std::vector<RecordedEvent>& events);

  struct Entry {
    Word event;
    Word at;
  };
  Word head_;  // first: a reader of a file asks for it alone
  alignas(64) std::array<Entry, kRingEvents> entries_;  // four to a cache line
  std::array<Word, kRingEvents> durations_;             // of the events that were measured
};

}  // namespace lockscope::ledger
