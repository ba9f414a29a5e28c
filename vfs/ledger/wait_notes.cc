#include "ledger/wait_notes.h"

#include <algorithm>

namespace lockscope::ledger {
namespace {

constexpr auto kOutcomes = static_cast<std::uint64_t>(WaitOutcome::kAcquired);
constexpr auto kUpgrades = static_cast<std::uint64_t>(Upgrade::kPerhapsInCache);

}  // namespace

const char* StaleSnapshotText(Upgrade upgrade) {
  switch (upgrade) {
    case Upgrade::kBesideStatement:
      return "another connection has committed since an unfinished SELECT of this one began, so it "
             "cannot write. Waiting does not help: reset that SELECT, or read it to its end, and "
             "try again.";
    case Upgrade::kInStatement:
      return "another connection has committed since this one began to read, so it cannot write. "
             "Waiting does not help: end whatever it reads, and run this again.";
    case Upgrade::kNone:
    case Upgrade::kInTransaction:
    case Upgrade::kPerhapsInCache:
      break;
  }
  return "another connection has committed since this transaction began to read, so it cannot "
         "write. Waiting does not help: ROLLBACK and begin again, with BEGIN IMMEDIATE where a "
         "transaction is going to write.";
}

WaitNote WaitOf(const WaitNoteLayout<std::uint64_t>& copy) {
  WaitNote note{.wanted = Event::Unpack(copy.wanted).value_or(Event{}),
                .began = copy.began,
                .last = copy.last,
                .ended = copy.ended,
                .asked = copy.asked,
                .refusals = copy.refusals,
                .outcome = static_cast<WaitOutcome>(std::min(copy.outcome, kOutcomes)),
                .upgrade = static_cast<Upgrade>(std::min(copy.upgrade, kUpgrades)),
                .sql = LoadText(copy.sql)};
  note.cause.reason = ReasonOf(copy.reason).value_or(Reason::kUnknown);
  if (copy.blocker_pid != 0) {
    note.cause.blocker_pid = static_cast<std::int64_t>(copy.blocker_pid - 1);
  }
  note.cause.blocker_connection = copy.blocker_connection;
  note.cause.blocker_sql = LoadText(copy.blocker_sql);
  note.cause.explanation = LoadText(copy.explanation);
  return note;
}

std::vector<WaitNote> WaitsOf(const WaitNotesLayout<std::uint64_t>& copy) {
  std::vector<WaitNote> all;
  const std::uint64_t count = std::min<std::uint64_t>(copy.written, kWaitNotes);
  for (std::uint64_t number = copy.written - count; number < copy.written; ++number) {
    const WaitNoteLayout<std::uint64_t>& note = copy.notes.at(number % kWaitNotes);
    if (Event::Unpack(note.wanted)) all.push_back(WaitOf(note));
  }
  return all;
}

}  // namespace lockscope::ledger
