#include "insight/comparison.h"

#include <algorithm>

#include "insight/summary.h"
#include "kernel/process.h"

namespace lockscope::insight {

Who WhoOf(std::optional<std::int64_t> pid, const ledger::ConnectionView* view) {
  if (view == nullptr) return {.pid = pid, .connection = std::nullopt};
  return {.pid = pid, .connection = view->info.id, .instance = KeyOf(*view).first};
}

Who WhoOf(const LockFacts& lock) { return WhoOf(lock.pid, lock.view); }

Sight::Sight(const Look& look_at, const Database& of)
    : look(&look_at),
      database(&of),
      locks(CollectLocks(look_at, of)),
      snapshots(CollectSnapshots(look_at, of, locks)) {}

bool WalIndexIsBroken(const Sight& sight) {
  const auto& state = sight.database->wal_index_state;
  if (state != format::WalIndexState::kTorn && state != format::WalIndexState::kDamaged) {
    return false;
  }
  return std::none_of(sight.locks.begin(), sight.locks.end(), [](const LockFacts& lock) {
    const bool writes =
        lock.resource == Resource::kWalWrite || lock.resource == Resource::kWalRecover;
    return writes && lock.granted && lock.mode == LockMode::kExclusive;
  });
}

std::string Comparison::Distance() const {
  const std::uint64_t ns = now_.look->now().monotonic_ns - before_->look->now().monotonic_ns;
  return HumanDuration(static_cast<std::int64_t>(ns / 1'000'000)) + " apart";
}

bool Comparison::Has(const LockFacts& lock) const {
  return std::any_of(before_->locks.begin(), before_->locks.end(), [&lock](const auto& other) {
    return other.granted && other.resource == lock.resource && other.mode == lock.mode &&
           WhoOf(other) == WhoOf(lock);
  });
}

bool Comparison::Has(const Snapshot& snapshot) const {
  if (snapshot.slot == 0 && !SlotZeroCanHaveStayed()) return false;
  if (snapshot.slot && watch_ != nullptr && watch_->WasFree(now_.database->path, *snapshot.slot)) {
    return false;
  }
  return std::any_of(before_->snapshots.begin(), before_->snapshots.end(),
                     [&snapshot](const Snapshot& other) {
                       return other.slot == snapshot.slot && other.mark == snapshot.mark &&
                              WhoOf(other.lock) == WhoOf(snapshot.lock);
                     });
}

bool Comparison::Committed() const {
  const auto& was_wal = before_->database->wal_index;
  const auto& is_wal = now_.database->wal_index;
  // Without a wal-index at either look nobody has the WAL open: then the header decides.
  if (now_.database->wal_mode && (was_wal || is_wal)) {
    return !was_wal || !is_wal || was_wal->salt1 != is_wal->salt1 ||
           was_wal->salt2 != is_wal->salt2 || was_wal->max_frame != is_wal->max_frame;
  }
  const auto& was = before_->database->header;
  const auto& is = now_.database->header;
  // Neither has one while the first transaction of a database is under way, or waits to be rolled
  // back.
  if (!was && !is) return before_->database->bytes != now_.database->bytes;
  return !was || !is || was->change_counter != is->change_counter;
}

bool Comparison::HasHotJournal() const {
  const JournalFacts& was = before_->database->journal;
  const JournalFacts& is = now_.database->journal;
  if (!was.content_may_be_hot || was.bytes != is.bytes || Committed()) return false;
  return std::none_of(before_->locks.begin(), before_->locks.end(), [](const LockFacts& lock) {
    return lock.resource == Resource::kDatabase && lock.granted &&
           lock.mode >= LockMode::kReserved &&
           (!lock.pid || kernel::ProcessStartBoottimeNs(*lock.pid));
  });
}

bool Comparison::HasJournal() const {
  const JournalFacts& was = before_->database->journal;
  const JournalFacts& is = now_.database->journal;
  return was.content_may_be_hot && was.id == is.id && was.bytes == is.bytes &&
         was.written_ns == is.written_ns;
}

bool Comparison::WalIndexWasBroken() const { return WalIndexIsBroken(*before_); }

// Every checkpoint that copies a frame holds slot 0 exclusively for it: whoever held it shared all
// the while saw none. A WAL starts over once all of it is copied, and counts its first salt up
// then; an empty one has salts that mean nothing.
bool Comparison::SlotZeroCanHaveStayed() const {
  const auto& was = before_->database->wal_index;
  const auto& is = now_.database->wal_index;
  if (!was || !is) return true;
  if (was->salt1 == is->salt1 && was->salt2 == is->salt2) return was->backfilled == is->backfilled;
  const bool all_was_copied = was->max_frame == was->backfilled;
  const bool started_over_once = was->max_frame == 0 || is->salt1 == was->salt1 + 1;
  return all_was_copied && started_over_once && is->backfilled == 0;
}

}  // namespace lockscope::insight
