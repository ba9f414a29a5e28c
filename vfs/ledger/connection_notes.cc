// What a connection notes down of its recoveries and waits, for those who look later.
#include <algorithm>
#include <string>

#include "ledger/connection.h"
#include "ledger/hold_watch.h"

namespace lockscope::ledger {
namespace {

template <class Notes>
auto& Newest(Notes& notes) {
  const std::uint64_t written = std::max<std::uint64_t>(notes.words.written.Own(), 1);
  return notes.words.notes[(written - 1) % notes.words.notes.size()];
}

std::string_view TextOf(const StatementText* statement) {
  return statement != nullptr && statement->known() ? statement->text() : std::string_view();
}

// Of a write lock that came after another one's commit.
const char* OvertakenText(const CallContext& context, bool in_shared_cache) {
  if (in_shared_cache) {
    return "another connection committed after the snapshot of this shared cache. If a connection "
           "of the cache was reading before, waiting does not help: end that; otherwise set a busy "
           "timeout.";
  }
  if (context.statement_number == 0) {
    return "another connection committed after this one had taken its snapshot and before it had "
           "the write lock. If it was reading before, waiting does not help: end that; otherwise "
           "set a busy timeout.";
  }
  return "another connection committed after this statement had taken its snapshot and before it "
         "had the write lock. Waiting helps: set a busy timeout.";
}

}  // namespace

// ---- recoveries ----

void Connection::RecoveryBegan(const RecoveryStart& start, Ticks now) noexcept {
  auto& notes = record().recoveries;
  const Update update(notes.sequence);
  notes.words.written.Add(1);
  RecoveryNoteLayout<Word>& note = Newest(notes);
  note.kind.Store(static_cast<std::uint64_t>(start.kind));
  note.phase.Store(static_cast<std::uint64_t>(RecoveryPhase::kRunning));
  note.started.Store(now);
  note.ended.Store(0);
  note.pages_total.Store(start.pages_total);
  note.pages_done.Store(start.pages_done);
  note.journal_bytes.Store(start.journal_bytes);
  StoreText(note.super_journal, start.super_journal);
  StoreText(note.sql, TextOf(start.statement));
}

Word& Connection::recovery_pages() noexcept { return Newest(record().recoveries).pages_done; }

void Connection::RecoveryEnded(bool done, Ticks now) noexcept {
  auto& notes = record().recoveries;
  const Update update(notes.sequence);
  RecoveryNoteLayout<Word>& note = Newest(notes);
  note.phase.Store(
      static_cast<std::uint64_t>(done ? RecoveryPhase::kDone : RecoveryPhase::kFailed));
  note.ended.Store(now);
  // Where exclusive locking mode keeps EXCLUSIVE, the next transaction's journal is none to roll
  // back.
  HeldBits bits = held();
  const bool rollback =
      note.kind.Own() == static_cast<std::uint64_t>(RecoveryKind::kRollbackJournal);
  if (!done || !rollback || bits.database != LockMode::kExclusive) return;
  bits.rolled_back = true;
  const Update slot_update(record().slot.sequence);
  record().slot.words.held.Store(bits.Pack());
}

// ---- waits ----

bool Connection::WaitBegins(Ticks asked, Ticks now) noexcept {
  const auto wanted = refused();
  if (!wanted) return false;
  if (waiting_is_noted_) {
    auto& notes = record().waits;
    WaitNoteLayout<Word>& note = Newest(notes);
    const auto noted = Event::Unpack(note.wanted.Own());
    if (noted && noted->AsksTheSame(*wanted)) {
      const Update update(notes.sequence);
      note.last.Store(now);
      note.asked.Store(asked);
      note.refusals.Add(1);
      if (told_ == Told::kCommit) ForgetCommit(note);
      return false;
    }
    EndNote(WaitOutcome::kBusy, now);
  }
  NoteWait(*wanted, asked, now);
  return true;
}

void Connection::NoteWait(const Event& wanted, Ticks asked, Ticks now) noexcept {
  auto& notes = record().waits;
  const Update update(notes.sequence);
  notes.words.written.Add(1);
  WaitNoteLayout<Word>& note = Newest(notes);
  note.wanted.Store(wanted.Pack());
  note.began.Store(now);
  note.last.Store(now);
  note.ended.Store(0);
  note.asked.Store(asked);
  note.refusals.Store(1);
  note.outcome.Store(static_cast<std::uint64_t>(WaitOutcome::kNone));
  note.reason.Store(static_cast<std::uint64_t>(Reason::kUnknown));
  note.upgrade.Store(static_cast<std::uint64_t>(Upgrade::kNone));
  note.blocker_pid.Store(0);
  note.blocker_connection.Store(0);
  note.blocker_sql.bytes.Store(0);
  note.explanation.bytes.Store(0);
  CopyWantSql(note);
  waiting_is_noted_ = true;
  told_ = Told::kNobody;
  look_is_due_ = false;
  looked_after_ = 0;
}

// It was in the way of the refusal before. Nobody has looked into this one.
// REQUIRES: an Update of the notes is under way.
void Connection::ForgetCommit(WaitNoteLayout<Word>& note) noexcept {
  note.explanation.bytes.Store(0);
  told_ = Told::kNobody;
  look_is_due_ = true;
}

// What was refused has taken the place of what is waited for. A writer that tries again asks for a
// read slot of its own first, where the last commit made the WAL grow; that one's holder may still
// be reading.
void Connection::RefusalSwallowed() noexcept {
  if (!waiting_is_noted_) return;
  const WaitNoteLayout<Word>& note = Newest(record().waits);
  auto& words = record().slot.words;
  const Update update(record().slot.sequence);
  words.want.Store(note.wanted.Own());
  words.want_since.Store(note.began.Own());
  words.want_last.Store(note.last.Own());
  words.want_refusals.Store(note.refusals.Own());
}

// The statement's text stands in the slot already. REQUIRES: an Update of the notes is under way.
void Connection::CopyWantSql(WaitNoteLayout<Word>& note) noexcept {
  const auto index = static_cast<std::size_t>(SqlSlot::kWant);
  const std::size_t bytes = record().slot.words.sql_bytes[index].Own();
  const std::size_t kept = std::min(bytes, note.sql.words.size() * 8);
  for (std::size_t word = 0; word * 8 < kept; ++word) {
    note.sql.words[word].Store(record().slot.sql[index][word].Own());
  }
  note.sql.bytes.Store(kept);
}

bool Connection::WaitNeedsCause(Ticks now) const noexcept {
  if (!waiting_is_noted_) return false;
  const WaitNoteLayout<Word>& note = Newest(record().waits);
  return note.reason.Own() == static_cast<std::uint64_t>(Reason::kUnknown) &&
         (look_is_due_ || WaitExcusesLook(now) > 0);
}

void Connection::WaitLookedInto(Ticks now) noexcept {
  look_is_due_ = false;
  looked_after_ = Waited(now);
}

Ticks Connection::WaitExcusesLook(Ticks now) const noexcept {
  const Ticks waited = Waited(now);
  if (waited >= 2 * looked_after_) return waited;
  // Commits may come again and again: such looks stay as far apart as the wait is to be long.
  return look_is_due_ && waited > looked_after_ ? waited - looked_after_ : 0;
}

bool Connection::WaitIsTold() const noexcept {
  return Newest(record().waits).explanation.bytes.Own() != 0;
}

Ticks Connection::Waited(Ticks now) const noexcept {
  const Ticks began = Newest(record().waits).began.Own();
  return now > began ? now - began : 0;
}

void Connection::WaitUpgrades(Upgrade upgrade) noexcept {
  auto& notes = record().waits;
  const Update update(notes.sequence);
  Newest(notes).upgrade.Store(static_cast<std::uint64_t>(upgrade));
}

void Connection::Tell(const RefusalCause& cause, Told told) noexcept {
  auto& notes = record().waits;
  const Update update(notes.sequence);
  WaitNoteLayout<Word>& note = Newest(notes);
  note.reason.Store(static_cast<std::uint64_t>(cause.reason));
  note.blocker_pid.Store(cause.blocker_pid ? static_cast<std::uint64_t>(*cause.blocker_pid) + 1
                                           : 0);
  note.blocker_connection.Store(cause.blocker_connection);
  StoreText(note.blocker_sql, cause.blocker_sql);
  StoreText(note.explanation, cause.explanation);
  told_ = told;
}

void Connection::SnapshotStale(Ticks now, Upgrade upgrade, const CallContext& context) noexcept {
  if (waiting_is_noted_) EndNote(WaitOutcome::kBusy, now);
  constexpr int kBusySnapshot = 517;  // SQLITE_BUSY_SNAPSHOT
  auto& notes = record().waits;
  const Update update(notes.sequence);
  notes.words.written.Add(1);
  WaitNoteLayout<Word>& note = Newest(notes);
  note.wanted.Store(Event{.operation = Operation::kShmLock,
                          .resource = Resource::kWalWrite,
                          .to = LockMode::kExclusive,
                          .result = kBusySnapshot}
                        .Pack());
  for (Word* at : {&note.began, &note.last, &note.ended, &note.asked}) at->Store(now);
  note.refusals.Store(1);
  note.outcome.Store(static_cast<std::uint64_t>(WaitOutcome::kBusy));
  note.reason.Store(static_cast<std::uint64_t>(Reason::kSnapshotStale));
  note.upgrade.Store(static_cast<std::uint64_t>(upgrade));
  note.blocker_pid.Store(0);
  note.blocker_connection.Store(0);
  note.blocker_sql.bytes.Store(0);
  StoreText(note.explanation, StaleSnapshotText(upgrade));
  StoreText(note.sql, TextOf(context.statement));
}

void Connection::WriteLockOvertaken(Ticks now, const CallContext& context,
                                    bool in_shared_cache) noexcept {
  constexpr int kBusy = 5;  // SQLITE_BUSY
  const Event wanted{.operation = Operation::kShmLock,
                     .resource = Resource::kWalWrite,
                     .to = LockMode::kExclusive,
                     .result = kBusy};
  {
    const Update update(record().slot.sequence);
    StoreWant(wanted, now, context);
  }
  const bool begins = WaitBegins(now, now);
  if (begins && in_shared_cache) WaitUpgrades(Upgrade::kPerhapsInCache);
  // Whom the wait was for at first is worth more.
  if (told_ == Told::kCause) return;
  Tell({.reason = Reason::kUnknown, .explanation = OvertakenText(context, in_shared_cache)},
       Told::kCommit);
}

void Connection::GiveUpWait() noexcept {
  if (waiting_is_noted_) ForgetWait(WaitOutcome::kBusy, 0);
}

// REQUIRES: waiting_is_noted_.
void Connection::EndNote(WaitOutcome outcome, Ticks now) noexcept {
  waiting_is_noted_ = false;
  auto& notes = record().waits;
  WaitNoteLayout<Word>& note = Newest(notes);
  {
    const Update update(notes.sequence);
    note.outcome.Store(static_cast<std::uint64_t>(outcome));
    // Given up right after the last refusal, as far as anybody can tell.
    note.ended.Store(outcome == WaitOutcome::kBusy ? note.last.Own() : now);
  }
  const Ticks ended = note.ended.Own();
  const Ticks began = note.began.Own();
  WaitEnded(id(), ended > began ? ended - began : 0);
}

bool Connection::Upgrades(const Event& wanted, const CallContext& context) const noexcept {
  const HeldBits bits = held();
  const bool reads = wanted.resource == Resource::kWalWrite ? bits.shm_shared >> kShmReadOffset != 0
                                                            : bits.database >= LockMode::kShared;
  return reads && wanted.AsksToWrite() && context.autocommit == Autocommit::kOff &&
         context.statement_number != 0 && read_statement_ != 0 &&
         read_statement_ != context.statement_number;
}

}  // namespace lockscope::ledger
