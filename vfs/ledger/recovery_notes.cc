#include "ledger/recovery_notes.h"

#include <algorithm>

namespace lockscope::ledger {
namespace {

std::optional<std::uint64_t> Pages(std::uint64_t word) {
  return word == kPagesUnknown ? std::nullopt : std::optional(word);
}

}  // namespace

const char* Name(RecoveryKind kind) {
  return kind == RecoveryKind::kWal ? "wal" : "rollback-journal";
}

const char* Name(RecoveryPhase phase) {
  switch (phase) {
    case RecoveryPhase::kRunning:
      return "running";
    case RecoveryPhase::kDone:
      return "done";
    case RecoveryPhase::kFailed:
      break;
  }
  return "failed";
}

std::vector<RecoveryNote> RecoveriesOf(const RecoveryNotesLayout<std::uint64_t>& copy) {
  std::vector<RecoveryNote> all;
  const std::uint64_t count = std::min<std::uint64_t>(copy.written, kRecoveryNotes);
  for (std::uint64_t number = copy.written - count; number < copy.written; ++number) {
    const RecoveryNoteLayout<std::uint64_t>& note = copy.notes.at(number % kRecoveryNotes);
    if (note.kind > static_cast<std::uint64_t>(RecoveryKind::kWal)) continue;
    if (note.phase > static_cast<std::uint64_t>(RecoveryPhase::kFailed)) continue;
    all.push_back({.kind = static_cast<RecoveryKind>(note.kind),
                   .phase = static_cast<RecoveryPhase>(note.phase),
                   .started = note.started,
                   .ended = note.ended,
                   .pages_total = Pages(note.pages_total),
                   .pages_done = Pages(note.pages_done),
                   .journal_bytes = note.journal_bytes,
                   .super_journal = LoadText(note.super_journal),
                   .sql = LoadText(note.sql)});
  }
  return all;
}

}  // namespace lockscope::ledger
