#include "insight/blockers.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "insight/comparison.h"
#include "insight/connections.h"
#include "insight/reasons.h"
#include "insight/snapshots.h"

namespace lockscope::insight {
namespace {

LockRequest RequestOf(const LockFacts& lock) { return {lock.resource, lock.mode}; }

bool IsLost(const LockFacts& lock) { return lock.verified == false; }
// The kernel grants others what a lost lock stands for.
bool StandsForAll(const LockFacts& lock) { return lock.granted && !IsLost(lock); }

bool OfBarrier(const LockFacts& lock) { return lock.view != nullptr && lock.view->info.barrier; }

bool IsSame(const LockFacts& waiter, const LockFacts& holder) {
  // The kernel makes no process wait for its own locks, and does not tell which of its connections
  // waits.
  if (waiter.source == Source::kKernel && !waiter.granted) return waiter.pid == holder.pid;
  return WhoOf(waiter) == WhoOf(holder);
}

// Before it asks the kernel, SQLite's unix VFS asks its own record of the process's connections.
bool OfOneProcess(const LockFacts& a, const LockFacts& b) {
  return a.view != nullptr && b.view != nullptr && KeyOf(*a.view).first == KeyOf(*b.view).first;
}

bool InTheWay(const LockFacts& held, const LockFacts& waiter, const LockRequest& wants) {
  if (!held.granted || IsSame(waiter, held)) return false;
  return Refuses(RequestOf(held), wants) && (!IsLost(held) || OfOneProcess(held, waiter));
}

// What those want that come next, and that `held` refuses. Pins are told by the snapshots.
std::vector<LockRequest> NextWants(const LockFacts& held, bool wal_mode) {
  constexpr LockRequest kRead{Resource::kDatabase, LockMode::kShared};
  constexpr LockRequest kWrite{Resource::kDatabase, LockMode::kReserved};
  switch (held.resource) {
    case Resource::kDatabase:
      // In WAL mode everybody needs SHARED first, and nobody RESERVED.
      if (wal_mode) {
        return held.mode >= LockMode::kPending ? std::vector{kRead} : std::vector<LockRequest>{};
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

// The pairs grow with the square of the connections. So many nobody reads, and only a sidecar that
// lies has them: the rest is left out.
constexpr std::size_t kPairsMax = 10'000;

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

// Of RESERVED that only the kernel sees.
constexpr const char* kPerhapsABarrier =
    ". Where it is a backup barrier that holds RESERVED, it will not commit: nothing to do";

class Collector {
 public:
  Collector(const Look& look, const Database& database)
      : database_(database),
        locks_(CollectLocks(look, database)),
        snapshots_(CollectSnapshots(look, database, locks_)),
        reasons_(database, locks_) {}

  std::vector<Block> Run() {
    AddWaiters();
    AddCommits();
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
        if (Full()) return;
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
        if (Full()) return;
        if (!InTheWay(held, writer, kCommit) || IsTold(&writer, kCommit, held)) continue;
        LockFacts waiter = writer;
        // PENDING is what a refused commit leaves: it waits since then.
        if (writer.mode == LockMode::kReserved) waiter.since = 0;
        Add(Standing::kWouldWait, waiter, kCommit, held);
        const bool reserved = writer.mode == LockMode::kReserved;
        if (reserved && writer.view == nullptr) blocks_.back().advice += kPerhapsABarrier;
      }
    }
  }

  void AddNext() {
    for (const LockFacts& held : locks_) {
      if (!StandsForAll(held)) continue;
      for (const LockRequest& wants : NextWants(held, database_.wal_mode)) AddNext(wants, held);
    }
    for (const Snapshot& snapshot : snapshots_) {
      if (snapshot.pin != Pin::kBackfill || !StandsForAll(snapshot.lock)) continue;
      AddNext({snapshot.lock.resource, LockMode::kExclusive}, snapshot.lock);
    }
  }

  bool Full() const { return blocks_.size() >= kPairsMax; }

  void AddNext(const LockRequest& wants, const LockFacts& held) {
    if (Full() || !Refuses(RequestOf(held), wants) || IsTold(nullptr, wants, held)) return;
    Add(Standing::kNext, std::nullopt, wants, held);
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
                       .advice = AdviceFor(held, wants),
                       .reason = reasons_.Of(held, wants.mode)});
  }

  // ---- advice ----

  bool HoldsExclusive(const LockFacts& of, Resource resource) const {
    return std::any_of(locks_.begin(), locks_.end(), [&](const LockFacts& lock) {
      return lock.granted && lock.resource == resource && lock.mode == LockMode::kExclusive &&
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
    const bool kernel_only = held.view == nullptr;
    if (held.resource == Resource::kWalCheckpoint) {
      return kernel_only ? "a checkpoint is at work there, or a backup barrier is held: wait until "
                           "that is done"
                         : "a checkpoint is at work there: wait until it is done";
    }
    if (HoldsExclusive(held, Resource::kWalCheckpoint)) {
      // Of a process the kernel tells the sum of its connections.
      if (kernel_only) {
        return "a backup barrier, a checkpoint that waits for readers, or a writer beside a "
               "checkpoint: wait until that is done; a writer ends with COMMIT or ROLLBACK there";
      }
      return "a checkpoint there keeps writers out while it waits for readers: end the readers' "
             "transactions, or checkpoint PASSIVE, which waits for nobody";
    }
    return WriterAdvice(held);
  }

  static std::string WriterAdvice(const LockFacts& held) {
    if (held.view != nullptr) return kWriter;
    return std::string(kWriter) + "; a backup barrier that holds it ends with the backup";
  }

  std::string DatabaseAdvice(const LockFacts& held, const LockRequest& wants) const {
    switch (held.mode) {
      case LockMode::kExclusive:
        return ExclusiveAdvice(held);
      case LockMode::kPending:
        if (database_.wal_mode) {
          return "a change of journal mode, or exclusive locking mode, waits there for all others "
                 "to close, and lets nobody new in: close them, or that one";
        }
        if (!HoldsReserved(database_, held) && database_.journal.content_may_be_hot) {
          return "a crashed transaction is to be rolled back there, which waits for the readers "
                 "and lets no new one in: it ends when they are gone, so end their transactions";
        }
        if (wants.mode == LockMode::kExclusive) return kWriter;
        return "a commit there waits for the readers and lets no new one in: it ends when they are "
               "gone, so end their transactions; a busy timeout helps while they are short";
      case LockMode::kReserved:
        return WriterAdvice(held);
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
    if (IsRollingBack(database_, held)) {
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
  const Reasons reasons_;
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
