#include "insight/waits.h"

#include <algorithm>
#include <utility>

#include "ledger/ledger.h"

namespace lockscope::insight {
namespace {

using ledger::WaitOutcome;

// A connection that has given up, and done nothing since, has not said so.
std::optional<WaitOutcome> OutcomeOf(const Look& look, const Database& database,
                                     const ledger::ConnectionNotes& notes,
                                     const ledger::WaitNote& note) {
  if (note.outcome != WaitOutcome::kNone) return note.outcome;
  if (!notes.open) return WaitOutcome::kBusy;
  for (const ledger::ConnectionView* view : database.Connections()) {
    const bool same_process =
        notes.process == nullptr
            ? view->process == nullptr
            : view->process != nullptr && view->process->instance == notes.process->instance;
    if (!same_process || view->info.id != notes.info.id) continue;
    return Waiting(look, *view) ? std::nullopt : std::optional(WaitOutcome::kBusy);
  }
  return WaitOutcome::kBusy;
}

const char* OutcomeName(WaitOutcome outcome) {
  return outcome == WaitOutcome::kAcquired ? "acquired" : "busy";
}

Value Unless0(std::uint64_t number) { return number != 0 ? Int(number) : Null(); }

Row WaitRow(const Look& look, const Database& database, const SeenWait& wait) {
  const ledger::WaitNote& note = wait.note;
  const ledger::RefusalCause& cause = note.cause;
  const bool timed = note.began != 0;
  Row row = RowOf(Text(database.path), Maybe(wait.teller.pid), Maybe(wait.teller.process),
                  Int(wait.connection), Maybe(look.Since(note.began)),
                  Maybe(look.AgeMs(note.began)), Known(note.sql), Text(Name(Source::kShim)));
  Append(row,
         RowOf(Maybe(look.Since(note.began)), Text(note.wanted.ResourceName()),
               Text(Name(note.wanted.to)), Text(Name(cause.reason)), Known(cause.explanation),
               timed ? Int(WaitedMs(look, wait)) : Null(), Int(note.refusals),
               Maybe(cause.blocker_pid), Unless0(cause.blocker_connection),
               Known(cause.blocker_sql), wait.outcome ? Text(OutcomeName(*wait.outcome)) : Null()));
  return row;
}

}  // namespace

std::int64_t WaitedMs(const Look& look, const SeenWait& wait) {
  const ledger::WaitNote& note = wait.note;
  ledger::Ticks end = note.ended != 0 ? note.ended : note.last;
  if (!wait.outcome) end = look.now().ticks;
  return end > note.began
             ? static_cast<std::int64_t>(look.timeline().DurationNs(end - note.began) / 1'000'000)
             : 0;
}

std::vector<SeenWait> CollectWaits(const Look& look, const Database& database) {
  std::vector<SeenWait> all;
  const auto add = [&](const std::vector<ledger::ConnectionNotes>& of_connections) {
    for (const ledger::ConnectionNotes& notes : of_connections) {
      const Teller teller = TellerOf(look, database, notes.process.get());
      for (const ledger::WaitNote& note : notes.waits) {
        all.push_back({.teller = teller,
                       .connection = notes.info.id,
                       .note = note,
                       .outcome = OutcomeOf(look, database, notes, note)});
      }
    }
  };
  add(ledger::Ledger::Process().Notes(Of(database)));
  add(database.registry->Notes());
  // Of one connection the later note is the newer, whatever the clock says.
  std::reverse(all.begin(), all.end());
  std::stable_sort(all.begin(), all.end(), [](const SeenWait& a, const SeenWait& b) {
    return a.note.began > b.note.began;
  });
  return all;
}

Rows WaitRows(const Look& look, const Asker&) {
  std::vector<std::pair<const Database*, SeenWait>> all;
  for (const Database& database : look.databases()) {
    for (SeenWait& wait : CollectWaits(look, database)) {
      all.emplace_back(&database, std::move(wait));
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second.note.began > b.second.note.began;
  });
  Rows rows;
  rows.reserve(all.size());
  for (const auto& [database, wait] : all) rows.push_back(WaitRow(look, *database, wait));
  return rows;
}

}  // namespace lockscope::insight
