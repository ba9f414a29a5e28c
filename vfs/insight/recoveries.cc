#include "insight/recoveries.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <span>

#include "format/rollback_journal.h"
#include "format/wal_header.h"
#include "insight/connections.h"
#include "insight/summary.h"
#include "insight/table_parts.h"
#include "ledger/registry.h"

namespace lockscope::insight {
namespace {

using ledger::RecoveryKind;
using Phase = SeenRecovery::State;

constexpr int kSqliteBusy = 5;

// Reads a file that this process may have open; false at every call where it cannot be read.
format::JournalRead ReaderOf(const std::string& path, const FileId& id) {
  const auto fd = kernel::ReadableDescriptor(path, id, kernel::OpenFiles::Scan());
  const int number = fd.ok() ? fd.value() : -1;
  return [number, id](std::uint64_t offset, std::span<std::uint8_t> bytes) {
    return number >= 0 && kernel::ReadAt(number, id, offset, bytes) == bytes.size();
  };
}

void ReadJournal(const Database& database, SeenRecovery& recovery) {
  const JournalFacts& journal = database.journal;
  recovery.journal_bytes = journal.bytes;
  const auto read = ReaderOf(database.path + "-journal", journal.id);
  recovery.pages_total = format::JournalRecords(journal.bytes, database.PageBytes(), read);
  recovery.super_journal = format::SuperJournalOf(journal.bytes, read);
  if (recovery.super_journal && !kernel::StatPath(*recovery.super_journal)) {
    recovery.super_journal = "missing";
  }
}

void ReadWal(const Database& database, SeenRecovery& recovery) {
  const std::string path = database.path + "-wal";
  const auto facts = kernel::StatPath(path);
  if (!facts) return;
  recovery.journal_bytes = facts->bytes;
  std::array<std::uint8_t, format::kWalHeaderBytes> head{};
  if (ReaderOf(path, facts->id)(0, head)) {
    recovery.pages_total = format::WalFrames(head, facts->bytes);
  }
}

bool Recovers(const Database& database, const LockFacts& lock, RecoveryKind kind) {
  if (!lock.granted) return false;
  if (kind == RecoveryKind::kRollbackJournal) return IsRollingBack(database, lock);
  return lock.resource == Resource::kWalRecover && lock.mode == LockMode::kExclusive;
}

class Collector {
 public:
  Collector(const Look& look, const Database& database)
      : look_(look), database_(database), locks_(CollectLocks(look, database)) {}

  std::vector<SeenRecovery> Run(Refused refused) {
    AddNoted(ledger::Ledger::Process().Notes(Of(database_)));
    AddNoted(database_.registry->Notes());
    if (refused == Refused::kCounted) CountRefused();
    std::stable_sort(all_.begin(), all_.end(), [](const SeenRecovery& a, const SeenRecovery& b) {
      return a.started > b.started;
    });
    AddOfKernel(RecoveryKind::kRollbackJournal);
    AddOfKernel(RecoveryKind::kWal);
    if (HasHotJournal(look_, database_)) {
      SeenRecovery hot{.state = Phase::kHot};
      ReadJournal(database_, hot);
      all_.insert(all_.begin(), std::move(hot));
    }
    std::stable_partition(all_.begin(), all_.end(), [](const SeenRecovery& recovery) {
      return recovery.state == Phase::kHot || recovery.state == Phase::kRunning;
    });
    return std::move(all_);
  }

 private:
  static Phase PhaseOf(const ledger::RecoveryNote& note) {
    if (note.phase == ledger::RecoveryPhase::kRunning) return Phase::kRunning;
    return note.phase == ledger::RecoveryPhase::kDone ? Phase::kDone : Phase::kFailed;
  }

  void AddNoted(const std::vector<ledger::ConnectionNotes>& all) {
    for (const ledger::ConnectionNotes& notes : all) {
      const Teller teller = TellerOf(look_, database_, notes.process.get());
      for (const ledger::RecoveryNote& note : notes.recoveries) {
        SeenRecovery seen{.kind = note.kind,
                          .state = PhaseOf(note),
                          .pid = teller.pid,
                          .process = teller.process,
                          .connection = notes.info.id,
                          .source = Source::kShim,
                          .started = note.started,
                          .ended = note.ended,
                          .journal_bytes = note.journal_bytes,
                          .pages_total = note.pages_total,
                          .pages_done = note.pages_done};
        if (!note.sql.empty()) seen.sql = note.sql;
        if (!note.super_journal.empty()) seen.super_journal = note.super_journal;
        // The journal is finished a moment before the lock is let go. A connection that has closed
        // has ended what it ran; else it has died.
        const bool over =
            note.kind == RecoveryKind::kRollbackJournal && !database_.journal.content_may_be_hot;
        if (seen.state == Phase::kRunning && !notes.open) {
          seen.state = Phase::kFailed;
        } else if (seen.state == Phase::kRunning && over) {
          seen.state = Phase::kDone;
        }
        all_.push_back(std::move(seen));
      }
    }
  }

  void AddOfKernel(RecoveryKind kind) {
    for (const LockFacts& lock : locks_) {
      if (lock.view != nullptr || !Recovers(database_, lock, kind)) continue;
      SeenRecovery seen{.kind = kind,
                        .state = Phase::kRunning,
                        .pid = lock.pid,
                        .process = look_.ProcessName(lock.pid)};
      kind == RecoveryKind::kWal ? ReadWal(database_, seen) : ReadJournal(database_, seen);
      all_.insert(all_.begin(), std::move(seen));
    }
  }

  // Requests that others were refused while it ran.
  void CountRefused() {
    if (all_.empty()) return;
    std::vector<ledger::ConnectionEvents> events = ledger::Ledger::Process().Events(Of(database_));
    auto more = database_.registry->Events();
    std::move(more.begin(), more.end(), std::back_inserter(events));
    std::vector<std::optional<std::int64_t>> pids;
    pids.reserve(events.size());
    for (const ledger::ConnectionEvents& of : events) {
      pids.push_back(TellerOf(look_, database_, of.process.get()).pid);
    }
    for (SeenRecovery& recovery : all_) {
      if (recovery.started == 0) continue;
      const ledger::Ticks end = recovery.ended != 0 ? recovery.ended : look_.now().ticks;
      std::uint64_t refused = 0;
      for (std::size_t i = 0; i < events.size(); ++i) {
        const ledger::ConnectionEvents& of = events[i];
        if (pids[i] == recovery.pid && of.info.id == recovery.connection) continue;
        refused += static_cast<std::uint64_t>(std::count_if(
            of.events.begin(), of.events.end(), [&](const ledger::RecordedEvent& event) {
              return event.at >= recovery.started && event.at <= end &&
                     (event.event.result & 0xff) == kSqliteBusy;
            }));
      }
      recovery.refused = refused;
    }
  }

  const Look& look_;
  const Database& database_;
  const std::vector<LockFacts> locks_;
  std::vector<SeenRecovery> all_;
};

}  // namespace

const char* Name(SeenRecovery::State state) {
  static constexpr std::array<const char*, 4> kNames = {"hot", "running", "done", "failed"};
  return kNames.at(static_cast<std::size_t>(state));
}

const char* Name(RecoveryState state) {
  static constexpr std::array<const char*, 4> kNames = {"none", "hot", "recovering",
                                                        "wal-recovering"};
  return kNames.at(static_cast<std::size_t>(state));
}

std::vector<SeenRecovery> CollectRecoveries(const Look& look, const Database& database,
                                            Refused refused) {
  return Collector(look, database).Run(refused);
}

bool HasHotJournal(const Look& look, const Database& database) {
  const JournalFacts& journal = database.journal;
  if (!journal.content_may_be_hot || database.bytes == 0) return false;
  const std::vector<LockFacts> locks = CollectLocks(look, database);
  if (database.wal_mode && !locks.empty()) return false;
  const bool somebodys = std::any_of(locks.begin(), locks.end(), [](const LockFacts& lock) {
    return lock.resource == Resource::kDatabase && lock.granted && lock.mode >= LockMode::kReserved;
  });
  if (somebodys) return false;
  const auto now = kernel::StatPath(database.path + "-journal");
  return now && now->id == journal.id && now->bytes == journal.bytes &&
         now->written_ns == journal.written_ns;
}

RecoveryState RecoveryStateOf(const Look& look, const Database& database) {
  for (const LockFacts& lock : CollectLocks(look, database)) {
    if (Recovers(database, lock, RecoveryKind::kRollbackJournal)) return RecoveryState::kRecovering;
    if (Recovers(database, lock, RecoveryKind::kWal)) return RecoveryState::kWalRecovering;
  }
  return HasHotJournal(look, database) ? RecoveryState::kHot : RecoveryState::kNone;
}

std::string DescribeProgress(const SeenRecovery& recovery) {
  if (!recovery.pages_done || !recovery.pages_total) return {};
  return WithCommas(*recovery.pages_done) + " of " + WithCommas(*recovery.pages_total) +
         (recovery.kind == RecoveryKind::kWal ? " frames" : " pages");
}

}  // namespace lockscope::insight
