#include "ledger/event_ring.h"

#include <algorithm>

namespace lockscope::ledger {

std::vector<RecordedEvent> EventRing::Read(std::uint64_t& lost) const {
  const std::uint64_t head = head_.Load();
  std::vector<RecordedEvent> events = UpTo(head);
  DropOverwritten(head_.Load(), events);
  lost = events.empty() ? head : events.front().number;
  return events;
}

std::vector<RecordedEvent> EventRing::Between(std::uint64_t head, std::uint64_t now,
                                              std::uint64_t& lost) const {
  std::vector<RecordedEvent> events = UpTo(head);
  DropOverwritten(now, events);
  lost = events.empty() ? head : events.front().number;
  return events;
}

// The events that were complete when `head` was loaded, oldest first.
std::vector<RecordedEvent> EventRing::UpTo(std::uint64_t head) const {
  const std::uint64_t first = head > kRingEvents ? head - kRingEvents : 0;
  std::vector<RecordedEvent> events;
  events.reserve(static_cast<std::size_t>(head - first));
  for (std::uint64_t number = first; number < head; ++number) {
    const Entry& entry = entries_[number & (kRingEvents - 1)];
    const std::uint64_t word = entry.event.Load();
    const auto event = Event::Unpack(word & ~kMeasured);
    const bool measured = (word & kMeasured) != 0;
    const RecordedEvent recorded{
        .number = number,
        .at = entry.at.Load(),
        .event = event.value_or(Event{}),
        .duration_ticks = measured ? durations_[number & (kRingEvents - 1)].Load() : kNotMeasured};
    events.push_back(recorded);
  }
  return events;
}

// Whatever the writer may have reached meanwhile: all below `now` - kRingEvents is overwritten, and
// the entry after it may be half overwritten by event number `now`.
void EventRing::DropOverwritten(std::uint64_t now, std::vector<RecordedEvent>& events) {
  const std::uint64_t safe = now >= kRingEvents ? now - kRingEvents + 1 : 0;
  const auto torn = [safe](const RecordedEvent& e) { return e.number < safe; };
  events.erase(events.begin(), std::find_if_not(events.begin(), events.end(), torn));
}

}  // namespace lockscope::ledger
