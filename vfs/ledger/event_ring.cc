#include "ledger/event_ring.h"

#include <algorithm>

namespace lockscope::ledger {

std::vector<RecordedEvent> EventRing::Read(std::uint64_t& lost) const {
  const std::uint64_t head = head_.Load();
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
  // Whatever the writer may have reached meanwhile is left out: all below `now` - kRingEvents is
  // overwritten, and the entry after it may be half overwritten by event number `now`.
  const std::uint64_t now = head_.Load();
  const std::uint64_t safe = now + 1 > kRingEvents ? now + 1 - kRingEvents : 0;
  const auto torn = [safe](const RecordedEvent& e) { return e.number < safe; };
  events.erase(events.begin(), std::find_if_not(events.begin(), events.end(), torn));
  lost = events.empty() ? head : events.front().number;
  return events;
}

}  // namespace lockscope::ledger
