#include "insight/blockers.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "insight/comparison.h"
#include "insight/connections.h"
#include "insight/snapshots.h"

namespace lockscope::insight {
namespace {

LockRequest RequestOf(const LockFacts& lock) { return {lock.resource, lock.mode}; }

// The kernel grants others what a lost lock stands for.
bool Stands(const LockFacts& lock) { return lock.granted && lock.verified != false; }

bool OfBarrier(const LockFacts& lock) { return lock.view != nullptr && lock.view->info.barrier; }

bool IsSame(const LockFacts& waiter, const LockFacts& holder) {
  // The kernel makes no process wait for its own locks, and does not tell which of its connections
  // waits.
  if (waiter.source == Source::kKernel && !waiter.granted) return waiter.pid == holder.pid;
  return WhoOf(waiter) == WhoOf(holder);
}

bool InTheWay(const LockFacts& held, const LockFacts& waiter, const LockRequest& wants) {
  return Stands(held) && Refuses(RequestOf(held), wants) && !IsSame(waiter, held);
}

// What those want that come next, and that `held` refuses. Pins are told by the snapshots.
std::vector<LockRequest> NextWants(const LockFacts& held, bool wal_mode) {
  constexpr LockRequest kRead{Resource::kDatabase, LockMode::kShared};
  constexpr LockRequest kWrite{Resource::kDatabase, LockMode::kReserved};
  switch (held.resource) {
    case Resource::kDatabase:
      // In WAL mode everybody needs SHARED first, and nobody RESERVED.
      if (wal_mode) {
        return held.mode == LockMode::kExclusive ? std::vector{kRead} : std::vector<LockRequest>{};
      }
      if (held.mode >= LockMode::kPending) return {kRead, kWrite};
      return held.mode == LockMode::kReserved ? std::vector{kWrite} : std::vector<LockRequest>{};
    case Resource::kWalRecover:
      // A reader that finds a wal-index in recovery asks for this, to tell that it is.
      return {{Resource::kWalRecover, LockMode::kShared}};
    case Resource::kWalWrite:
    case Resource::kWalCheckpoint:
      return {{held.resource, LockMode::kExclusive}};
    default:
      return {};
  }
}

// How a read transaction ends, as far as it is known what keeps it.
const char* EndOfReading(const LockFacts& lock) {
  const auto autocommit =
      lock.view != nullptr ? lock.view->held.autocommit : ledger::Autocommit::kUnknown;
  switch (autocommit) {
    case ledger::Autocommit::kOff:
      return "end that transaction there (COMMIT or ROLLBACK)";
    case ledger::Autocommit::kOn:
      return "finish or reset that statement there";
    case ledger::Autocommit::kUnknown:
      break;
  }
  return "end that transaction there (COMMIT or ROLLBACK), or finish or reset its statement";
}

constexpr const char* kWriter =
    "COMMIT or ROLLBACK there; a busy timeout helps while that transaction is short";

class Collector {
 public:
  Collector(const Look& look, const Database& database)
      : database_(database),
        locks_(CollectLocks(look, database)),
        snapshots_(CollectSnapshots(look, database, locks_)) {
    for (const ConnectionFacts& facts : CollectConnections(look, database)) {
      if (facts.state != State::kRecovering) continue;
      recovering_.insert(WhoOf(LockFacts{.pid = facts.pid, .view = facts.view}));
    }
  }

  std::vector<Block> Run() {
    AddWaiters();
    if (!database_.wal_mode) AddCommits();
    AddNext();
    std::stable_sort(blocks_.begin(), blocks_.end(), ComesFirst);
    return std::move(blocks_);
  }

 private:
  void AddWaiters() {
    for (const LockFacts& waiter : locks_) {
      if (waiter.granted) continue;
      const LockRequest wants = RequestOf(waiter);
      for (const LockFacts& held : locks_) {
        if (InTheWay(held, waiter, wants)) Add(Standing::kWaits, waiter, wants, held);
      }
    }
  }

  void AddCommits() {
    constexpr LockRequest kCommit{Resource::kDatabase, LockMode::kExclusive};
    for (const LockFacts& writer : locks_) {
      const bool writes = writer.mode == LockMode::kReserved || writer.mode == LockMode::kPending;
      // A barrier never commits.
      if (!writes || !writer.granted || OfBarrier(writer)) continue;
      for (const LockFacts& held : locks_) {
        if (!InTheWay(held, writer, kCommit) || IsTold(&writer, kCommit, held)) continue;
        LockFacts waiter = writer;
        // PENDING is what a refused commit leaves: it waits since then.
        if (writer.mode == LockMode::kReserved) waiter.since = 0;
        Add(Standing::kWouldWait, waiter, kCommit, held);
      }
    }
  }

  void AddNext() {
    for (const LockFacts& held : locks_) {
      if (!Stands(held)) continue;
      for (const LockRequest& wants : NextWants(held, database_.wal_mode)) AddNext(wants, held);
    }
    for (const Snapshot& snapshot : snapshots_) {
      if (snapshot.pin != Pin::kBackfill || !Stands(snapshot.lock)) continue;
      AddNext({snapshot.lock.resource, LockMode::kExclusive}, snapshot.lock);
    }
  }

  void AddNext(const LockRequest& wants, const LockFacts& held) {
    if (!IsTold(nullptr, wants, held)) Add(Standing::kNext, std::nullopt, wants, held);
  }

  // Whether somebody has been found who waits for the same, held by the same; `waiter` null: no
  // matter who.
  bool IsTold(const LockFacts* waiter, const LockRequest& wants, const LockFacts& held) const {
    return std::any_of(blocks_.begin(), blocks_.end(), [&](const Block& block) {
      return block.standing == Standing::kWaits && block.wants == wants &&
             WhoOf(block.blocker) == WhoOf(held) &&
             (waiter == nullptr || WhoOf(*block.waiter) == WhoOf(*waiter));
    });
  }

  void Add(Standing standing, std::optional<LockFacts> waiter, const LockRequest& wants,
           const LockFacts& held) {
    blocks_.push_back({.standing = standing,
                       .waiter = std::move(waiter),
                       .wants = wants,
                       .blocker = held,
                       .advice = AdviceFor(held, wants)});
  }

  // ---- advice ----

  bool HoldsExclusive(const LockFacts& of, Resource resource) const {
    return std::any_of(locks_.begin(), locks_.end(), [&](const LockFacts& lock) {
      return Stands(lock) && lock.resource == resource && lock.mode == LockMode::kExclusive &&
             WhoOf(lock) == WhoOf(of);
    });
  }

  std::string AdviceFor(const LockFacts& held, const LockRequest& wants) const {
    if (OfBarrier(held)) {
      return "a backup barrier: wait until the backup is done, or end it there with "
             "lockscope_barrier_release()";
    }
    if (held.resource == Resource::kDatabase) return DatabaseAdvice(held, wants);
    if (IsReadSlot(held.resource)) return SlotAdvice(held);
    if (HoldsExclusive(held, Resource::kWalRecover)) {
      return "the WAL is being recovered: wait until that is done";
    }
    if (held.resource == Resource::kWalCheckpoint) {
      return "a checkpoint is at work there: wait until it is done";
    }
    if (HoldsExclusive(held, Resource::kWalCheckpoint)) {
      return "a checkpoint there keeps writers out while it waits for readers: end the readers' "
             "transactions, or checkpoint PASSIVE, which waits for nobody";
    }
    return kWriter;
  }

  std::string DatabaseAdvice(const LockFacts& held, const LockRequest& wants) const {
    switch (held.mode) {
      case LockMode::kExclusive:
        return ExclusiveAdvice(held);
      case LockMode::kPending:
        if (wants.mode == LockMode::kExclusive) return kWriter;
        return "a commit there waits for the readers and lets no new one in: it ends when they are "
               "gone, so end their transactions; a busy timeout helps while they are short";
      case LockMode::kReserved:
        return kWriter;
      default:
        break;
    }
    if (database_.wal_mode) {
      return "in WAL mode every open connection is in the way of a change of journal mode, and of "
             "exclusive locking mode: close that one";
    }
    return std::string(EndOfReading(held)) +
           ": the commit needs all readers gone; a busy timeout for the writer helps while they "
           "are short";
  }

  std::string ExclusiveAdvice(const LockFacts& held) const {
    if (recovering_.count(WhoOf(held)) > 0) {
      return "a crashed transaction is being rolled back there: wait until that is done";
    }
    if (database_.wal_mode) {
      return "exclusive locking mode there ends with PRAGMA locking_mode=NORMAL and the next read, "
             "or when the connection closes; a connection that is closing, or changes the journal "
             "mode, is done in a moment";
    }
    // What a transaction has changed is in its journal first, but for journal_mode=MEMORY and OFF.
    if (database_.journal.content_may_be_hot) return kWriter;
    return std::string(kWriter) +
           ". Where no transaction is open it is exclusive locking mode: PRAGMA "
           "locking_mode=NORMAL and a read there end that";
  }

  static std::string SlotAdvice(const LockFacts& held) {
    if (held.mode == LockMode::kExclusive) {
      return "a checkpoint, or the start of a new WAL, has that read slot for a moment: wait";
    }
    return std::string(EndOfReading(held)) + "; then the next checkpoint can go on";
  }

  const Database& database_;
  const std::vector<LockFacts> locks_;
  const std::vector<Snapshot> snapshots_;
  std::set<Who> recovering_;
  std::vector<Block> blocks_;
};

// Nothing begins later than what has not begun.
ledger::Ticks Begun(const Block& block) {
  const ledger::Ticks since = block.waiter ? block.waiter->since : 0;
  return since != 0 ? since : std::numeric_limits<ledger::Ticks>::max();
}

}  // namespace

bool Refuses(const LockRequest& held, const LockRequest& wants) {
  if (held.resource != wants.resource) return false;
  if (held.mode == LockMode::kNone || wants.mode == LockMode::kNone) return false;
  if (IsShm(held.resource)) {
    return held.mode == LockMode::kExclusive || wants.mode == LockMode::kExclusive;
  }
  if (wants.mode == LockMode::kShared) return held.mode >= LockMode::kPending;
  if (wants.mode == LockMode::kReserved) return held.mode >= LockMode::kReserved;
  return true;
}

std::vector<Block> CollectBlocks(const Look& look, const Database& database) {
  return Collector(look, database).Run();
}

bool ComesFirst(const Block& a, const Block& b) {
  if (a.standing != b.standing) return a.standing < b.standing;
  return Begun(a) < Begun(b);
}

}  // namespace lockscope::insight
