// Connection: the record of one open database file, and the pen that writes it.
//
// Threads: the recording methods are called by whichever thread is inside a VFS call of that
// connection; SQLite lets only one be. Everything they write is in Words, readable from any thread.
// They take no mutex, make no system call, allocate nothing and never fail.
//
// Owner: the Ledger. A Connection is never deallocated, since a thread may still sleep for one that
// is closed; it is used again for another database. Its record lies in the registry, where other
// processes read it, or in memory of its own, or, while it has no database, in memory that is
// nobody's.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ledger/clock.h"
#include "ledger/connection_slot.h"
#include "ledger/event_ring.h"
#include "ledger/hold_watch.h"
#include "ledger/identity.h"
#include "ledger/lock_stats.h"
#include "ledger/recovery_notes.h"
#include "ledger/statement_text.h"
#include "ledger/wait_notes.h"
#include "model/event.h"
#include "model/file_id.h"

namespace lockscope::ledger {

// The part that lockscope publishes: fixed layout, no pointers. All zeros is a record of nobody.
struct ConnectionRecord {  // NOLINT(clang-analyzer-optin.performance.Padding): by use, not by size
  // These two together, so that another process reads them at once.
  Published<IdentityLayout> identity;
  ConnectionSlot slot;
  EventRing ring;
  LockStats stats;
  Published<BarrierNoteLayout> barrier;
  Published<RecoveryNotesLayout> recoveries;
  Published<WaitNotesLayout> waits;

  // Makes it nobody's. REQUIRES: no writer uses it.
  void Clear();
};

// What is known of a connection when it is opened. Constant from then on.
struct ConnectionInfo {
  std::uint64_t id = 0;
  std::string path{};        // absolute, as SQLite's xFullPathname made it
  FileId database;           // unknown where the VFS below has no file of that name
  std::string vfs{};         // "lockscope/unix"
  bool posix_locks = false;  // the VFS at the bottom locks the database with fcntl, as "unix" does
  bool posix_shm_locks = false;  // and the wal-index too ("unix-excl" does not)
  bool barrier = false;          // a barrier's private connection
  bool immutable = false;        // SQLite takes no lock and looks for no change
  bool unguarded = false;        // wal_reset_guard is off, but for the word of the process
  bool publish = false;          // for other processes to see, where that can be
  std::int64_t thread = 0;       // that opened it, as the operating system numbers it
  Ticks opened = 0;
  // Filled in by the ledger: why other processes do not see it; empty where they do.
  std::string private_because{};
};

// The rollback-journal mode that the connection asked for by PRAGMA journal_mode; kDelete is
// SQLite's own default. Whether the database is in WAL mode is not told by this.
enum class JournalMode : std::uint8_t { kDelete, kTruncate, kPersist, kMemory, kOff, kWal };
const char* Name(JournalMode mode);
// Of a word that has none, which only a hostile source has: kDelete.
constexpr JournalMode JournalModeOf(std::uint64_t word) {
  return word <= static_cast<std::uint64_t>(JournalMode::kWal) ? static_cast<JournalMode>(word)
                                                               : JournalMode::kDelete;
}

// What the connection asked for by PRAGMA locking_mode. SQLite tells that to the main database's
// file alone, though a pragma without a schema is meant for attached ones too: theirs is not known.
enum class LockingMode : std::uint8_t { kUnknown, kNormal, kExclusive };
// Of a word that has none, which only a hostile source has: kUnknown.
constexpr LockingMode LockingModeOf(std::uint64_t word) {
  return word <= static_cast<std::uint64_t>(LockingMode::kExclusive)
             ? static_cast<LockingMode>(word)
             : LockingMode::kUnknown;
}

// Whose call it is: the statement that runs now, and the state of its connection.
struct CallContext {
  const StatementText* statement = nullptr;  // null: not known
  std::uint64_t statement_number = 0;        // changes when a statement begins; 0: not known
  Autocommit autocommit = Autocommit::kUnknown;
};

// What a read lock on the wal-index found there when it was granted.
struct SnapshotFacts {
  std::uint64_t max_frame = 0;
  std::uint64_t salts = 0;
};

namespace hot {

inline constexpr std::uint64_t kAutocommitMask = std::uint64_t{0xff} << kHeldAutocommitShift;

constexpr std::uint64_t WithAutocommit(std::uint64_t held, Autocommit autocommit) {
  return (held & ~kAutocommitMask) | static_cast<std::uint64_t>(autocommit) << kHeldAutocommitShift;
}

// See Connection::Idle().
constexpr bool Idle(std::uint64_t held) {
  constexpr std::uint64_t kShm =
      std::uint64_t{0xff} << kHeldSharedShift | std::uint64_t{0xff} << kHeldExclusiveShift;
  const std::uint64_t kept = (held & kHeldWalOpen) != 0 ? 1 : 0;
  return (held & kShm) == 0 && (held & 0xff) <= kept;
}

// What ShmResource(), StatIndex() and Event::Pack() say of one lock of the wal-index, without their
// questions.
struct ShmLock {
  int offset = 0;
  LockMode mode = LockMode::kNone;  // kShared or kExclusive

  constexpr bool shared() const { return mode == LockMode::kShared; }
  constexpr std::uint64_t Bit() const {
    return std::uint64_t{1} << ((shared() ? kHeldSharedShift : kHeldExclusiveShift) + offset);
  }
  constexpr std::size_t Stat() const {
    const bool second_row = !shared() && offset >= kShmReadOffset;
    return static_cast<std::size_t>(offset) + (second_row ? 9 : 4);
  }
  constexpr std::uint64_t Locking() const { return EventOf(Operation::kShmLock, 32); }
  constexpr std::uint64_t Unlocking() const { return EventOf(Operation::kShmUnlock, 24); }

 private:
  constexpr std::uint64_t EventOf(Operation operation, int mode_shift) const {
    return Event{.operation = operation}.Pack() + ((static_cast<std::uint64_t>(offset) + 1) << 8) +
           (static_cast<std::uint64_t>(mode) << mode_shift);
  }
};
constexpr bool Agrees(const ShmLock& lock) {
  const Resource resource = ShmResource(lock.offset);
  return lock.Stat() == StatIndex(resource, lock.mode) &&
         lock.Locking() ==
             Event{.operation = Operation::kShmLock, .resource = resource, .to = lock.mode}
                 .Pack() &&
         lock.Unlocking() ==
             Event{.operation = Operation::kShmUnlock, .resource = resource, .from = lock.mode}
                 .Pack();
}
static_assert(Agrees({0, LockMode::kExclusive}) && Agrees({3, LockMode::kExclusive}) &&
              Agrees({3, LockMode::kShared}) && Agrees({7, LockMode::kShared}));

}  // namespace hot

class alignas(64) Connection {
 public:
  Connection() noexcept;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // ---- the hot pair: one lock of the wal-index, while nothing is being waited for ----
  // REQUIRES: !HasRefusal(), InAutocommit() is still true, not the checkpoint or recovery lock; by
  // a statement with the text that is recorded already. `facts` count where the lock is shared.
  void OneShmLocked(const hot::ShmLock& lock, Ticks now, const SnapshotFacts& facts) noexcept;
  // Returns Idle().
  bool OneShmUnlocked(const hot::ShmLock& lock, Ticks now) noexcept;
  // The number (StatementText::id) of the text recorded there; 0 for none.
  std::uint64_t recorded_text(SqlSlot slot) const noexcept {
    return sql_id_[static_cast<std::size_t>(slot)];
  }

  // ---- xLock and xUnlock of the database file, after the VFS below has answered `result` ----
  void DatabaseLocked(LockMode level, Ticks now, const CallContext& context) noexcept;
  // `actual` is what the VFS below says it holds after the refusal: PENDING may have stayed.
  // `duration` of the call, or kNotMeasured.
  void DatabaseRefused(LockMode wanted, LockMode actual, int result, Ticks duration, Ticks now,
                       const CallContext& context) noexcept;
  void DatabaseUnlocked(LockMode level, int result, Ticks now, const CallContext& context) noexcept;
  void ReservedChecked(bool reserved, int result, Ticks now) noexcept;

  // ---- xShmLock ----
  [[gnu::hot]] void ShmLocked(int offset, int count, LockMode mode, Ticks now,
                              const CallContext& context, const SnapshotFacts& facts) noexcept;
  // The write lock, which SQLite gives back at once: no wait ends with it.
  void ShmLockedInVain(int offset, Ticks now, const CallContext& context) noexcept;
  void ShmRefused(int offset, int count, LockMode mode, int result, Ticks duration, Ticks now,
                  const CallContext& context) noexcept;
  [[gnu::hot]] void ShmUnlocked(int offset, int count, LockMode mode, int result, Ticks now,
                                const CallContext& context) noexcept;

  void ShmMapped(Ticks now) noexcept;
  void ShmUnmapped(Ticks now) noexcept;

  // ---- recoveries ----
  struct RecoveryStart {
    RecoveryKind kind = RecoveryKind::kRollbackJournal;
    std::uint64_t pages_total = kPagesUnknown;
    std::uint64_t pages_done = 0;  // kPagesUnknown: they cannot be counted
    std::uint64_t journal_bytes = 0;
    std::string_view super_journal{};
    const StatementText* statement = nullptr;
  };
  void RecoveryBegan(const RecoveryStart& start, Ticks now) noexcept;
  // Where the pages of the one under way are counted. REQUIRES: one is.
  Word& recovery_pages() noexcept;
  void RecoveryEnded(bool done, Ticks now) noexcept;

  // ---- waits ----
  // Each has a note, and for as long as one goes on the refused request that the slot shows is its.
  //
  // The refusal that was recorded last makes the application wait, or gives it SQLITE_BUSY.
  // True where a wait begins with it, whose cause is asked for then; it is no upgrade until
  // WaitUpgrades() says so. `asked`: before the refused call, which came back `now`.
  bool WaitBegins(Ticks asked, Ticks now) noexcept;
  // Of the wait that has begun.
  void WaitUpgrades(Upgrade upgrade) noexcept;
  // It does neither: SQLite goes another way, and goes on to wait for what it waited for.
  void RefusalSwallowed() noexcept;
  // Whether the cause of the wait that goes on has not been found yet, and it is time to ask again:
  // it has lasted twice as long as when that was done last, or what was told of it was a commit
  // that came first, and no longer is.
  bool WaitNeedsCause(Ticks now) const noexcept;
  // Of the wait that goes on; REQUIRES, for these three: one does.
  void WaitLookedInto(Ticks now) noexcept;
  // How long it has lasted; since the last look, where one is due; 0 where it has not lasted twice
  // as long as at the last look.
  Ticks WaitExcusesLook(Ticks now) const noexcept;
  bool WaitIsTold() const noexcept;
  // Who is in the way, or what;
  void WaitExplained(const RefusalCause& cause) noexcept { Tell(cause, Told::kCause); }
  // nobody is any more.
  void WaitFoundNobody(const RefusalCause& cause) noexcept { Tell(cause, Told::kNobody); }
  // The write lock was granted, with a snapshot older than the newest commit: SQLite gives it back.
  // Who had read before, as `upgrade` says, gets SQLITE_BUSY_SNAPSHOT;
  void SnapshotStale(Ticks now, Upgrade upgrade, const CallContext& context) noexcept;
  // a transaction that begins tries again with a new snapshot, as after any refusal.
  // In a shared cache that is so only where no connection of the cache had read before.
  void WriteLockOvertaken(Ticks now, const CallContext& context, bool in_shared_cache) noexcept;
  // The connection closes.
  void GiveUpWait() noexcept;
  // Whether the connection wants to write in a transaction that began with reading: `context` is of
  // the request. False where it is not known, which it is not in autocommit: there the hot path
  // notes no statement.
  bool Upgrades(const Event& wanted, const CallContext& context) const noexcept;
  // It is about to ask for a lock: what an earlier statement waited for is given up.
  void ReviewWaits(Ticks now, const CallContext& context) noexcept {
    if (HasRefusal()) ReviewWait(now, context);
  }
  // The write lock is about to be let go, perhaps after a commit. A checkpoint takes it too, and
  // writes nothing that would make another one follow.
  void WroteIn(std::uint64_t statement_number) noexcept {
    if (held().Shm(ShmOffset(Resource::kWalCheckpoint)) != LockMode::kExclusive) {
      written_statement_ = statement_number;
    }
  }
  // Whether the write lock was let go in the same statement.
  bool HasWrittenIn(const CallContext& context) const noexcept {
    return context.statement_number != 0 && context.statement_number == written_statement_;
  }

  // Lives from before a lock call to after its record: the thread may be stopped in between for any
  // time, and what the ledger and the kernel tell differs then. Outside an Update.
  class Calling {
   public:
    Calling(Connection& connection, const CallUnderWay& call) noexcept
        : word_(connection.record().slot.words.call) {
      word_.Store(call.Pack());
    }
    ~Calling() { word_.Store(0); }
    Calling(const Calling&) = delete;
    Calling& operator=(const Calling&) = delete;

   private:
    Word& word_;
  };
  // From the thread whose request was refused last; outside an Update, since that thread may have
  // left the connection to another by now.
  void Sleeping(bool asleep) noexcept { record().slot.words.sleeping.Store(asleep ? 1 : 0); }
  void AskedJournalMode(JournalMode mode) noexcept {
    record().identity.words.journal_mode.Store(static_cast<std::uint64_t>(mode));
  }
  JournalMode asked_journal_mode() const noexcept {
    return JournalModeOf(record().identity.words.journal_mode.Load());
  }

  void AskedLockingMode(LockingMode mode) noexcept {
    record().identity.words.locking_mode.Store(static_cast<std::uint64_t>(mode));
  }
  LockingMode asked_locking_mode() const noexcept {
    return LockingModeOf(record().identity.words.locking_mode.Load());
  }

  HeldBits held() const noexcept { return HeldBits::Unpack(record().slot.words.held.Own()); }
  Ticks last_call() const noexcept { return record().slot.words.last_call.Own(); }
  // Nothing is held but what an idle connection keeps: SHARED on a database in WAL mode.
  bool Idle() const noexcept { return hot::Idle(record().slot.words.held.Own()); }
  bool EverLocked() const noexcept { return record().ring.Any(); }
  // The connection's own commit is part of what its snapshot sees from then on. REQUIRES: its write
  // lock is held still.
  void SnapshotMoved(const SnapshotFacts& facts) noexcept {
    ConnectionRecord& record = this->record();
    auto& words = record.slot.words;
    if (words.snapshot_salts.Own() == facts.salts) {  // one word, which belongs to all others
      words.snapshot_frame.Store(facts.max_frame);
      return;
    }
    const Update update(record.slot.sequence);
    words.snapshot_frame.Store(facts.max_frame);
    words.snapshot_salts.Store(facts.salts);
  }
  // What was found when the read lock was granted that is held now, or was committed through it
  // since; null where none is.
  std::optional<SnapshotFacts> snapshot() const noexcept {
    const auto& words = record().slot.words;
    constexpr std::uint64_t kReads = std::uint64_t{0xf8} << kHeldSharedShift;
    if ((words.held.Own() & kReads) == 0) return std::nullopt;
    return SnapshotFacts{.max_frame = words.snapshot_frame.Own(),
                         .salts = words.snapshot_salts.Own()};
  }
  bool InAutocommit() const noexcept {
    const std::uint64_t bits = record().slot.words.held.Own() >> kHeldAutocommitShift;
    return (bits & 0xff) == static_cast<std::uint64_t>(Autocommit::kOn);
  }
  bool WalOpen() const noexcept { return (record().slot.words.held.Own() & kHeldWalOpen) != 0; }
  std::optional<Event> refused() const noexcept {
    return HasRefusal() ? Event::Unpack(record().slot.words.want.Own()) : std::nullopt;
  }
  bool HasRefusal() const noexcept { return record().slot.words.want.Own() != 0; }
  std::uint64_t id() const noexcept { return id_.load(std::memory_order_relaxed); }

 private:
  friend class Ledger;

  void Publish(std::uint64_t held, const CallContext& context, Ticks now) noexcept;
  void TakeSql(SqlSlot slot, const StatementText* statement) noexcept;
  void CopySql(SqlSlot slot, const StatementText* statement) noexcept;
  void CountGrant(Resource resource, LockMode mode) noexcept {
    record().stats.counters(StatIndex(resource, mode)).acquired.Add(1);
  }
  void CountRelease(Resource resource, LockMode mode, Ticks since, Ticks now) noexcept {
    const std::size_t kind = StatIndex(resource, mode);
    record().stats.counters(kind).released.Add(1);
    record().stats.hold(kind).Record(now > since ? now - since : 0);
  }
  [[gnu::hot]] void ShmGranted(int offset, int count, LockMode mode, Ticks now,
                               const CallContext& context, const SnapshotFacts& facts) noexcept;
  void ReleaseShm(int offset, LockMode mode, Ticks now) noexcept;
  void TellOfRelease(const HeldBits& before, LockMode level, Ticks now) noexcept;
  void Released(Resource resource, LockMode mode, Ticks since, Ticks now) const noexcept {
    if (IsLongHold(since, now)) [[unlikely]]
      TellOfHold({id(), resource, mode, since, now});
  }
  [[gnu::cold, gnu::noinline]] void TellOfShmHold(const hot::ShmLock& lock, Ticks since,
                                                  Ticks now) const noexcept;
  void ReviewWait(Ticks now, const CallContext& context) noexcept;
  void EndWait(Resource resource, int count, LockMode mode, Ticks now) noexcept;
  void ForgetWait(WaitOutcome outcome, Ticks now) noexcept;
  void EndNote(WaitOutcome outcome, Ticks now) noexcept;
  void ReviewNote(Ticks now) noexcept;
  void StoreWant(const Event& wanted, Ticks now, const CallContext& context) noexcept;
  // What a wait's note says of who was in the way.
  enum class Told : std::uint8_t {
    kNobody,  // nothing, or that nobody is any more
    kCommit,  // that another connection committed first, of its last refusal alone
    kCause,
  };
  void Tell(const RefusalCause& cause, Told told) noexcept;
  void ForgetCommit(WaitNoteLayout<Word>& note) noexcept;
  Ticks Waited(Ticks now) const noexcept;
  void NoteWait(const Event& wanted, Ticks asked, Ticks now) noexcept;
  void CopyWantSql(WaitNoteLayout<Word>& note) noexcept;
  void Refused(const Event& wanted, Ticks duration, Ticks now, const CallContext& context) noexcept;
  void ReleaseLevelsAbove(LockMode level, HeldBits& held, Ticks now) noexcept;
  void ReleaseEverything(Ticks now) noexcept;
  void Reset();
  // What a connection without a database writes to: late wakers of xSleep.
  static ConnectionRecord& Nobodys() noexcept;
  // Loaded once a call: what has a database keeps its record as long as that is open.
  ConnectionRecord& record() const noexcept { return *record_.load(std::memory_order_acquire); }

  // What the hot pair needs: the first cache line.
  std::atomic<ConnectionRecord*> record_;
  std::atomic<std::uint64_t> id_{0};
  std::array<std::uint64_t, kSqlSlots> sql_id_{};  // of the text in each slot; 0: none is shown
  std::uint64_t written_statement_ = 0;            // that let the write lock go last

  std::uint64_t want_statement_ = 0;
  std::uint64_t read_statement_ = 0;  // that began to read: took SHARED, or a read slot
  std::uint64_t shared_sql_id_ = 0;   // of the text by which SHARED was taken; 0: not known
  Ticks wrote_until_ = 0;             // more than SHARED was held until then
  bool waiting_is_noted_ = false;     // the newest wait note is of the refusal that is known
  Told told_ = Told::kNobody;         // of the wait that is noted
  bool look_is_due_ = false;          // into that wait, however long it has lasted
  Ticks looked_after_ = 0;            // how long that wait had lasted when it was looked into

  // Guarded by the ledger's mutex.
  ConnectionInfo info_;
  FileId shm_;                                        // the -shm, from when it was opened
  const volatile std::uint8_t* wal_index_ = nullptr;  // its first page, while mapped
  std::unique_ptr<ConnectionRecord> own_record_;      // made when it is first needed
  bool published_ = false;                            // the record is the registry's
  bool open_ = false;
};

// ---- the hot pair, inline: about thirty instructions each ----

inline void Connection::OneShmLocked(const hot::ShmLock& lock, Ticks now,
                                     const SnapshotFacts& facts) noexcept {
  ConnectionRecord& record = this->record();
  auto& words = record.slot.words;
  {
    const Update update(record.slot.sequence);
    words.shm_since[static_cast<std::size_t>(lock.offset)].Store(now);
    if (lock.shared()) {
      words.snapshot_frame.Store(facts.max_frame);
      words.snapshot_salts.Store(facts.salts);
    }
    words.held.Store(words.held.Own() | lock.Bit());
    words.last_call.Store(now);
  }
  record.stats.counters(lock.Stat()).acquired.Add(1);
  record.ring.Append(lock.Locking(), now);
}

inline bool Connection::OneShmUnlocked(const hot::ShmLock& lock, Ticks now) noexcept {
  ConnectionRecord& record = this->record();
  auto& words = record.slot.words;
  const std::uint64_t held = words.held.Own() & ~lock.Bit();
  {
    const Update update(record.slot.sequence);
    words.held.Store(held);
    words.last_call.Store(now);
  }
  const std::size_t kind = lock.Stat();
  const Ticks since = words.shm_since[static_cast<std::size_t>(lock.offset)].Own();
  record.stats.counters(kind).released.Add(1);
  record.stats.hold(kind).Record(now > since ? now - since : 0);
  record.ring.Append(lock.Unlocking(), now);
  if (IsLongHold(since, now)) [[unlikely]]
    TellOfShmHold(lock, since, now);
  return hot::Idle(held);
}

}  // namespace lockscope::ledger
