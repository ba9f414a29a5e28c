#include "insight/why_busy.h"

#include <algorithm>
#include <optional>

#include "insight/reasons.h"
#include "insight/recoveries.h"
#include "insight/summary.h"
#include "insight/waits.h"

namespace lockscope::insight {
namespace {

constexpr std::int64_t kLongAgoMs = 2000;
constexpr std::int64_t kMomentAgoMs = 250;

bool IsOwn(const Asker& asker, const SeenWait& wait, const Look& look) {
  return wait.teller.pid == look.pid() &&
         std::count(asker.connections.begin(), asker.connections.end(), wait.connection) > 0;
}

struct LastBusy {
  const Database* database = nullptr;
  SeenWait wait;
};

std::optional<LastBusy> FindLastBusy(const Look& look, const Asker& asker) {
  std::optional<LastBusy> last;
  for (const Database& database : look.databases()) {
    for (const SeenWait& wait : CollectWaits(look, database)) {
      if (!IsOwn(asker, wait, look) || wait.outcome == ledger::WaitOutcome::kAcquired) continue;
      if (!last || wait.note.began > last->wait.note.began) last = {&database, wait};
      break;  // newest first
    }
  }
  return last;
}

std::string With(Reason reason, const std::string& text) {
  return std::string(Name(reason)) + ": " + text;
}

// As it was found then. As it is now only where that is what was in the way then: the same one soon
// after, whoever has held the lock ever since, and, where nobody looked, a moment later also who
// has it without telling since when.
std::string Tell(const Look& look, const LastBusy& last) {
  const ledger::WaitNote& note = last.wait.note;
  const ledger::RefusalCause& cause = note.cause;
  const bool unseen = cause.explanation.empty();
  const auto age_ms = look.AgeMs(note.last);
  const bool lately = age_ms && *age_ms <= kLongAgoMs;
  const bool at_once = age_ms && *age_ms <= kMomentAgoMs;
  const RefusedRequest request{.asker = ConnectionKey{0, last.wait.connection},
                               .wanted = note.wanted,
                               .upgrade = note.upgrade,
                               .asked = std::max<ledger::Ticks>(note.asked, 1),  // 0 would be now
                               .proven = unseen && !at_once};
  const Explanation now =
      ExplainRefusal(look, *last.database, CollectLocks(look, *last.database), request);
  const auto is_held_since = [&note](const LockFacts& lock) {
    return lock.since != 0 && lock.since < note.asked;
  };
  const auto is_blocker = [&](const LockFacts& lock) {
    const bool is_connection = cause.blocker_connection != 0 && lock.view != nullptr &&
                               lock.view->info.id == cause.blocker_connection;
    if (lock.pid != cause.blocker_pid) return false;
    // In another pid namespace. Its process's own connections alone have different numbers.
    if (!lock.pid) return is_connection && is_held_since(lock);
    const bool may_be = lock.view == nullptr || cause.blocker_connection == 0;
    return (is_connection || may_be) && (lately || is_held_since(lock));
  };
  const bool still =
      now.blockers.size() == 1 && now.reason == cause.reason && is_blocker(now.blockers.front());
  if (still || (unseen && !now.blockers.empty())) return With(now.reason, now.Text());
  std::string text =
      With(cause.reason, unseen ? "nobody looked into who was in the way." : cause.explanation);
  if (unseen && note.upgrade != ledger::Upgrade::kNone) {
    text += " " + now.advice;  // with nobody in the way it is that of the upgrade, whoever it was
  }
  if (age_ms && !lately) text += " That was " + HumanDuration(*age_ms) + " ago.";
  return text;
}

// What a statement that begins now would meet.
std::optional<Explanation> InTheWayNow(const Look& look, const Database& database,
                                       const Asker& asker) {
  RefusedRequest request;
  for (const ledger::ConnectionView& view : database.own) {
    const auto& own = asker.connections;
    if (std::count(own.begin(), own.end(), view.info.id) > 0) request.asker = KeyOf(view);
  }
  const Event reads{.resource = Resource::kDatabase, .to = LockMode::kShared};
  const Event writes = database.wal_mode
                           ? Event{.resource = Resource::kWalWrite, .to = LockMode::kExclusive}
                           : Event{.resource = Resource::kDatabase, .to = LockMode::kReserved};
  const Event recovers{.resource = Resource::kWalRecover, .to = LockMode::kShared};
  const std::vector<LockFacts> locks = CollectLocks(look, database);
  for (const Event& wanted : {reads, recovers, writes}) {
    request.wanted = wanted;
    Explanation found = ExplainRefusal(look, database, locks, request);
    if (!found.blockers.empty()) return found;
  }
  return std::nullopt;
}

}  // namespace

std::string WhyBusy(const Look& look, const Asker& asker) {
  if (const auto last = FindLastBusy(look, asker)) return Tell(look, *last);
  for (const Database& database : look.databases()) {
    if (const auto found = InTheWayNow(look, database, asker)) {
      return With(found->reason, found->Text());
    }
    if (HasHotJournal(look, database)) {
      return "hot journal: a writer of " + database.path +
             " died in mid-transaction. Whoever reads it next, with permission to write, rolls it "
             "back; a read-only connection gets SQLITE_READONLY_ROLLBACK until then.";
    }
  }
  return "nothing: no lock is in the way now, and no SQLITE_BUSY of this connection is known";
}

}  // namespace lockscope::insight
