#include "insight/reasons.h"

#include <algorithm>
#include <string_view>

#include "insight/blockers.h"
#include "insight/comparison.h"
#include "insight/connections.h"
#include "insight/recoveries.h"
#include "insight/summary.h"

namespace lockscope::insight {
namespace {

constexpr std::uint16_t kBusySnapshot = 517;  // SQLITE_BUSY_SNAPSHOT
constexpr std::size_t kNamedAtMost = 4;

// Whether the text of the statement that took the lock begins with these lower-case words.
bool IsOf(const LockFacts& lock, std::string_view words) {
  if (!lock.sql) return false;
  const std::string text = OneLine(*lock.sql);
  return text.size() >= words.size() &&
         std::equal(words.begin(), words.end(), text.begin(),
                    [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b); });
}

bool IsVacuum(const LockFacts& lock) { return IsOf(lock, "vacuum"); }

bool OfBarrier(const LockFacts& lock) { return lock.view != nullptr && lock.view->info.barrier; }

}  // namespace

// ---- the rules ----

Reasons::Reasons(const Database& database, const std::vector<LockFacts>& locks)
    : database_(database) {
  for (const LockFacts& lock : locks) {
    if (!lock.granted || lock.mode != LockMode::kExclusive) continue;
    if (lock.resource == Resource::kWalRecover) recover_.insert(WhoOf(lock));
    if (lock.resource == Resource::kWalCheckpoint) checkpoint_.insert(WhoOf(lock));
  }
}

Reason Reasons::Of(const LockFacts& lock, LockMode wanted, bool upgrade) const {
  if (OfBarrier(lock)) return Reason::kBarrier;
  if (lock.resource == Resource::kDatabase) return OnDatabase(lock, wanted, upgrade);
  if (IsReadSlot(lock.resource)) {
    return lock.mode == LockMode::kShared ? Reason::kReaders : Reason::kUnknown;
  }
  if (recover_.count(WhoOf(lock)) > 0) return Reason::kWalRecovery;
  if (lock.resource == Resource::kWalCheckpoint) {
    // Shared it is held by sqlite3_snapshot_open() for a moment.
    return lock.mode == LockMode::kExclusive ? Reason::kCheckpoint : Reason::kUnknown;
  }
  if (checkpoint_.count(WhoOf(lock)) > 0) {
    // Of a process the kernel tells the sum of its connections: it may be a writer beside a
    // checkpoint.
    return lock.view != nullptr ? Reason::kCheckpoint : Reason::kUnknown;
  }
  return IsVacuum(lock) ? Reason::kExclusive : Reason::kWriter;
}

Reason Reasons::OnDatabase(const LockFacts& lock, LockMode wanted, bool upgrade) const {
  switch (lock.mode) {
    case LockMode::kShared:
      // In WAL mode it only has the database open.
      return database_.wal_mode ? Reason::kUnknown : Reason::kReaders;
    case LockMode::kReserved:
      return upgrade ? Reason::kUpgradeDeadlock : Reason::kWriter;
    case LockMode::kPending:
      return OfPending(lock, wanted, upgrade);
    default:
      return OfExclusive(lock);
  }
}

Reason Reasons::OfPending(const LockFacts& lock, LockMode wanted, bool upgrade) const {
  if (database_.wal_mode) return Reason::kUnknown;
  if (!HoldsReserved(database_, lock) && database_.journal.content_may_be_hot) {
    return Reason::kHotJournalRecovery;
  }
  if (wanted == LockMode::kShared) return Reason::kPendingWriter;
  return upgrade ? Reason::kUpgradeDeadlock : Reason::kWriter;
}

// EXCLUSIVE by itself tells nothing, nor does a journal that is not there or begins with a zero:
// that is a transaction with journal_mode=MEMORY or OFF, but also every commit while SQLite syncs
// its journal for the first time, and again while it finishes one in PERSIST or TRUNCATE mode. So
// nothing is taken for exclusive locking mode but what has asked for it. In WAL mode it may also be
// the last connection that closes, or a change of journal mode.
Reason Reasons::OfExclusive(const LockFacts& lock) const {
  if (IsRollingBack(database_, lock)) return Reason::kHotJournalRecovery;
  if (IsVacuum(lock)) return Reason::kExclusive;
  if (database_.wal_mode || lock.view == nullptr) return Reason::kUnknown;
  // Also while it writes: it stays when that is over.
  if (lock.view->locking_mode == ledger::LockingMode::kExclusive) return Reason::kExclusive;
  if (database_.journal.content_may_be_hot) return Reason::kWriter;
  return IsOf(lock, "begin exclusive") ? Reason::kExclusive : Reason::kUnknown;
}

namespace {

class Explainer {
 public:
  Explainer(const Look& look, const Database& database, const std::vector<LockFacts>& locks,
            const RefusedRequest& request)
      : look_(look),
        database_(database),
        request_(request),
        locks_(locks),
        reasons_(database, locks_) {}

  Explanation Run() {
    if (request_.wanted.result == kBusySnapshot) return Stale();
    FindBlockers();
    if (blockers_.empty()) {
      const char* const advice = UpgradeAdvice();
      return {.reason = Reason::kUnknown,
              .who = others_left_out_
                         ? "who was in the way cannot be told any more: the lock was let go or "
                           "taken again since, or is recorded so"
                         : "nobody holds a lock that is in the way any more",
              .advice = advice != nullptr ? advice : "Waiting helps: set a busy timeout."};
    }
    const Reason reason = ReasonOfAll();
    return {.reason = reason,
            .blockers = blockers_,
            .who = Who() + Recovery(reason) + WaitsFor(reason) + Others(),
            .advice = Advice(reason)};
  }

 private:
  // ---- who ----

  bool IsAsker(const LockFacts& lock) const {
    return lock.view != nullptr && request_.asker && KeyOf(*lock.view) == *request_.asker;
  }

  // In the way of its own process alone.
  static bool IsLost(const LockFacts& lock) {
    return lock.verified == false && !(lock.view != nullptr && lock.view->process == nullptr);
  }

  // It is being let go, which may have been done before the request.
  static bool MayBeGone(const LockFacts& lock) {
    if (lock.view == nullptr) return false;
    const auto call = ledger::CallUnderWay::Unpack(lock.view->slot.call);
    return call.releasing && call.Covers(lock.resource);
  }

  struct Hold {
    LockMode mode = LockMode::kNone;  // kNone: none
    ledger::Ticks since = 0;
  };

  // What of this lock was in the way when the request was refused: one that is stronger now was
  // perhaps weaker then. None where it may not have been there yet, as of two things in one tick of
  // a coarse clock either may have been first. One without a time of its own is told as it is now.
  Hold AsOfRefusal(const LockFacts& lock, const LockRequest& wanted) const {
    const auto was_there = [this](ledger::Ticks since) { return since < request_.asked; };
    if (request_.asked == 0) return {lock.mode, lock.since};
    if (lock.since == 0 && request_.proven) return {};
    if (MayBeGone(lock)) return {};
    if (was_there(lock.since)) return {lock.mode, lock.since};
    if (lock.view == nullptr || lock.resource != Resource::kDatabase) return {};
    for (const LockMode level : {LockMode::kPending, LockMode::kReserved, LockMode::kShared}) {
      if (level >= lock.mode || !lock.view->held.Holds(level)) continue;
      const ledger::Ticks since = lock.view->slot.database_since.at(ledger::LevelIndex(level));
      if (since == 0 || !was_there(since)) continue;
      if (Refuses({Resource::kDatabase, level}, wanted)) return {level, since};
    }
    return {};
  }

  void FindBlockers() {
    for (const LockFacts& lock : locks_) {
      if (!lock.granted || IsAsker(lock) || IsLost(lock)) continue;
      for (int i = 0; i < request_.wanted.count; ++i) {
        const auto resource = static_cast<Resource>(static_cast<int>(request_.wanted.resource) + i);
        if (!Refuses({lock.resource, lock.mode}, {resource, request_.wanted.to})) continue;
        const Hold then = AsOfRefusal(lock, {resource, request_.wanted.to});
        if (then.mode == LockMode::kNone) {
          others_left_out_ = true;
        } else {
          Add(lock, then);
        }
      }
    }
    // Who is seen without a time may have come then too.
    if (others_left_out_) {
      std::erase_if(blockers_, [](const LockFacts& lock) { return lock.since == 0; });
    }
  }

  // One lock of each: of the database's the strongest says most.
  void Add(const LockFacts& lock, const Hold& then) {
    auto blocker = std::find_if(blockers_.begin(), blockers_.end(), [&](const LockFacts& known) {
      return WhoOf(known) == WhoOf(lock);
    });
    if (blocker == blockers_.end()) {
      blocker = blockers_.insert(blockers_.end(), lock);
    } else if (then.mode > blocker->mode) {
      *blocker = lock;
    } else {
      return;
    }
    if (then.mode == lock.mode) return;
    blocker->mode = then.mode;
    blocker->since = then.since;
    blocker->sql.reset();  // of the statement that has made it stronger
  }

  // ---- why ----

  Reason Of(const LockFacts& blocker) const {
    return reasons_.Of(blocker, request_.wanted.to, Upgrades());
  }

  // Of several in the way each may have a reason of its own: then none is the reason.
  Reason ReasonOfAll() const {
    if (others_left_out_ && request_.wanted.count > 1) return Reason::kUnknown;
    const Reason first = Of(blockers_.front());
    const bool same = std::all_of(blockers_.begin(), blockers_.end(),
                                  [&](const LockFacts& lock) { return Of(lock) == first; });
    if (same) return first;
    // A recovery lets nobody in, whoever else is there.
    for (const LockFacts& lock : blockers_) {
      const Reason reason = Of(lock);
      if (reason == Reason::kHotJournalRecovery || reason == Reason::kWalRecovery) return reason;
    }
    return Reason::kUnknown;
  }

  Explanation Stale() const {
    return {.reason = Reason::kSnapshotStale,
            .who = ledger::StaleSnapshotText(request_.upgrade),
            .advice = {}};
  }

  // ---- in words ----

  std::string Who() const {
    std::string text;
    for (std::size_t i = 0; i < std::min(blockers_.size(), kNamedAtMost); ++i) {
      const LockFacts& lock = blockers_[i];
      text += (i == 0 ? "" : "; ") + DescribeHolder(look_, lock);
      const std::string age = DescribeAge(look_, lock);
      text +=
          (age.empty() ? " holds " : " has held ") + LockInWords(lock.resource, lock.mode) + age;
      if (lock.sql) text += ": " + OneLine(*lock.sql);
    }
    if (blockers_.size() > kNamedAtMost) {
      text += "; and " + std::to_string(blockers_.size() - kNamedAtMost) + " more";
    }
    return text;
  }

  std::string Others() const {
    if (!others_left_out_) return {};
    return ". Perhaps others were in the way too, who have let go since, or begun anew";
  }

  std::string Recovery(Reason reason) const {
    if (reason != Reason::kHotJournalRecovery && reason != Reason::kWalRecovery) return {};
    std::string text = reason == Reason::kWalRecovery ? ". It recovers the WAL"
                                                      : ". It rolls a crashed transaction back";
    for (const SeenRecovery& recovery : CollectRecoveries(look_, database_)) {
      if (recovery.state != SeenRecovery::State::kRunning) continue;
      if (const std::string progress = DescribeProgress(recovery); !progress.empty()) {
        text += ", " + progress + " so far";
      }
      break;
    }
    return text;
  }

  // PENDING is in the way only as long as readers are in its way.
  std::string WaitsFor(Reason reason) const {
    if (reason != Reason::kPendingWriter) return {};
    std::string text;
    std::size_t count = 0;
    for (const LockFacts& lock : locks_) {
      const bool reads = lock.granted && lock.resource == Resource::kDatabase &&
                         lock.mode == LockMode::kShared && !IsAsker(lock) && !IsLost(lock);
      if (!reads || ++count > kNamedAtMost) continue;
      text += (count == 1 ? "" : ", ") + DescribeHolder(look_, lock);
    }
    if (count > kNamedAtMost) text += " and " + std::to_string(count - kNamedAtMost) + " more";
    return text.empty() ? std::string() : ". It waits for the readers to end: " + text;
  }

  bool Upgrades() const {
    return request_.upgrade == ledger::Upgrade::kInTransaction || BesideStatement();
  }

  bool BesideStatement() const { return request_.upgrade == ledger::Upgrade::kBesideStatement; }

  // Whoever is in the way, SQLite does not wait for it. Null where it does.
  const char* UpgradeAdvice() const {
    switch (request_.upgrade) {
      case ledger::Upgrade::kInTransaction:
        return "Waiting does not help a transaction that began with reading: ROLLBACK, and begin "
               "again with BEGIN IMMEDIATE.";
      case ledger::Upgrade::kBesideStatement:
        return "Waiting does not help a connection that is still reading: reset its unfinished "
               "SELECT, or read it to its end, and try again.";
      case ledger::Upgrade::kInStatement:
        return "SQLite does not wait for this, whatever the busy timeout: end whatever this "
               "connection reads, and try again once it is over.";
      case ledger::Upgrade::kPerhapsInCache:
        return "If another connection of the shared cache was reading before, waiting does not "
               "help: end that; otherwise set a busy timeout.";
      case ledger::Upgrade::kNone:
        break;
    }
    return nullptr;
  }

  std::string Advice(Reason reason) const {
    const char* const of_upgrade = UpgradeAdvice();
    if (of_upgrade != nullptr && reason != Reason::kUpgradeDeadlock) return of_upgrade;
    switch (reason) {
      case Reason::kWriter:
        return "Waiting helps: set a busy timeout.";
      case Reason::kPendingWriter:
        return "Waiting helps once those readers are done: end their transactions.";
      case Reason::kReaders:
        return "Waiting helps once they are done: end their transactions, reset their statements.";
      case Reason::kExclusive:
        return "Waiting helps if it is a vacuum or a transaction; exclusive locking mode ends when "
               "that connection closes, or with PRAGMA locking_mode=NORMAL and the next read "
               "there.";
      case Reason::kHotJournalRecovery:
      case Reason::kWalRecovery:
        return "Waiting helps: it is over in a moment.";
      case Reason::kCheckpoint:
        return "Waiting helps once it is done; one that waits for readers goes on when they end.";
      case Reason::kUpgradeDeadlock:
        if (BesideStatement()) {
          return "Waiting does not help: each waits for the other. Reset this connection's "
                 "unfinished SELECT, or read it to its end, and try again.";
        }
        return "Waiting does not help: each waits for the other. ROLLBACK here, and begin "
               "transactions that are going to write with BEGIN IMMEDIATE.";
      case Reason::kBarrier:
        return "Waiting helps once the backup is done.";
      case Reason::kSnapshotStale:
      case Reason::kUnknown:
        break;
    }
    return UnknownAdvice();
  }

  std::string UnknownAdvice() const {
    const LockMode mode = blockers_.empty() ? LockMode::kNone : blockers_.front().mode;
    const bool on_database = request_.wanted.resource == Resource::kDatabase;
    if (on_database && database_.wal_mode && mode == LockMode::kShared) {
      return "In WAL mode every open connection is in the way of a change of journal mode and of "
             "exclusive locking mode: close those.";
    }
    if (on_database && mode == LockMode::kExclusive) {
      return "Waiting helps where it is a commit, a vacuum or a connection that closes; exclusive "
             "locking mode ends when that connection closes, or with PRAGMA locking_mode=NORMAL "
             "and "
             "the next read there.";
    }
    return "Waiting may help: set a busy timeout.";
  }

  const Look& look_;
  const Database& database_;
  const RefusedRequest& request_;
  const std::vector<LockFacts>& locks_;
  const Reasons reasons_;
  std::vector<LockFacts> blockers_;
  bool others_left_out_ = false;
};

}  // namespace

std::string Explanation::Text() const { return advice.empty() ? who : who + ". " + advice; }

std::string LockInWords(Resource resource, LockMode mode) {
  switch (resource) {
    case Resource::kDatabase:
      return Name(mode);
    case Resource::kWalWrite:
      return "the WAL write lock";
    case Resource::kWalCheckpoint:
      return "the checkpoint lock";
    case Resource::kWalRecover:
      return "the WAL's recovery lock";
    case Resource::kWalOpen:
      return "the wal-index open";
    default:
      break;
  }
  const int slot = ShmOffset(resource) - kShmReadOffset;
  const std::string name = "read slot " + std::to_string(slot);
  return mode == LockMode::kExclusive ? name + " exclusively" : name;
}

Explanation ExplainRefusal(const Look& look, const Database& database,
                           const std::vector<LockFacts>& locks, const RefusedRequest& request) {
  return Explainer(look, database, locks, request).Run();
}

}  // namespace lockscope::insight
