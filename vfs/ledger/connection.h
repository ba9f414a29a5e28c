// Connection: the record of one open database file, and the pen that writes it.
//
// Threads: the recording methods are called by whichever thread is inside a VFS call of that
// connection; SQLite lets only one be. Everything they write is in Words, readable from any thread.
// They take no mutex, make no system call, allocate nothing and never fail.
//
// Owner: the Ledger. A Connection is never deallocated: after Ledger::Close() it stays readable (its
// events are history) until it is used again for another database.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "ledger/clock.h"
#include "ledger/connection_slot.h"
#include "ledger/event_ring.h"
#include "ledger/lock_stats.h"
#include "ledger/statement_text.h"
#include "model/event.h"
#include "model/file_id.h"

namespace lockscope::ledger {

// The part that lockscope publishes: fixed layout, no pointers.
struct ConnectionRecord {
  ConnectionSlot slot;
  EventRing ring;
  LockStats stats;
};

// What is known of a connection when it is opened. Constant from then on.
struct ConnectionInfo {
  std::uint64_t id = 0;
  std::string path;        // absolute, as SQLite's xFullPathname made it
  FileId database;         // unknown where the VFS below has no file of that name
  std::string vfs;         // "lockscope/unix"
  bool posix_locks = false;      // the VFS at the bottom locks the database with fcntl, as "unix" does
  bool posix_shm_locks = false;  // and the wal-index too ("unix-excl" does not)
  std::int64_t thread = 0;       // that opened it, as the operating system numbers it
  Ticks opened = 0;
};

// The rollback-journal mode that the connection asked for by PRAGMA journal_mode; kDelete is SQLite's own
// default. Whether the database is in WAL mode is not told by this.
enum class JournalMode : std::uint8_t { kDelete, kTruncate, kPersist, kMemory, kOff, kWal };
const char* Name(JournalMode mode);

// The statement that runs now, where it is known: see StatementText.
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

class Connection {
 public:
  Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // xLock and xUnlock of the database file, after the VFS below has answered `result`.
  void DatabaseLocked(LockMode level, Ticks now, const CallContext& context) noexcept;
  // `actual` is what the VFS below says it holds after the refusal: PENDING may have stayed. `duration`
  // of the call, or kNotMeasured.
  void DatabaseRefused(LockMode wanted, LockMode actual, int result, Ticks duration,
                       Ticks now, const CallContext& context) noexcept;
  void DatabaseUnlocked(LockMode level, int result, Ticks now, const CallContext& context) noexcept;
  void ReservedChecked(bool reserved, int result, Ticks now) noexcept;

  // xShmLock.
  void ShmLocked(int offset, int count, LockMode mode, Ticks now, const CallContext& context,
                 const SnapshotFacts& facts) noexcept;
  void ShmRefused(int offset, int count, LockMode mode, int result, Ticks duration, Ticks now,
                  const CallContext& context) noexcept;
  void ShmUnlocked(int offset, int count, LockMode mode, int result, Ticks now,
                   const CallContext& context) noexcept;

  void ShmMapped(Ticks now) noexcept;
  void ShmUnmapped(Ticks now) noexcept;
  // From the thread whose request was refused last; outside an Update, since that thread may have left
  // the connection to another by now.
  void Sleeping(bool asleep) noexcept { record_.slot.words.sleeping.Store(asleep ? 1 : 0); }
  void AskedJournalMode(JournalMode mode) noexcept { journal_mode_.store(mode); }
  JournalMode asked_journal_mode() const noexcept { return journal_mode_.load(); }

  bool Holds(LockMode level) const noexcept { return held_.database >= level; }
  LockMode HeldShm(int offset) const noexcept { return held_.Shm(offset); }
  bool WalOpen() const noexcept { return held_.wal_open; }
  bool HasRefusal() const noexcept { return record_.slot.words.want.Own() != 0; }
  // Nothing is held but what an idle connection keeps: SHARED on a database in WAL mode.
  bool Idle() const noexcept {
    const LockMode kept = held_.wal_open ? LockMode::kShared : LockMode::kNone;
    return held_.shm_shared == 0 && held_.shm_exclusive == 0 && held_.database <= kept;
  }
  std::uint64_t id() const noexcept { return id_.load(std::memory_order_relaxed); }

 private:
  friend class Ledger;

  void Publish(const CallContext& context, Ticks now) noexcept;
  void TakeSql(SqlSlot slot, const CallContext& context) noexcept;
  void CountGrant(Resource resource, LockMode mode, Ticks now) noexcept;
  void CountRelease(Resource resource, LockMode mode, Ticks since, Ticks now) noexcept;
  void ReviewWait(Ticks now, const CallContext& context) noexcept;
  void EndWait(Resource resource, int count, LockMode mode, Ticks now) noexcept;
  void ForgetWait() noexcept { record_.slot.words.want.Store(0); }
  void Refused(const Event& wanted, Ticks duration, Ticks now, const CallContext& context) noexcept;
  void ReleaseLevelsAbove(LockMode level, Ticks now) noexcept;
  void ReleaseEverything(Ticks now) noexcept;
  void Reset();

  HeldBits held_;  // the writer's own copy of slot.words.held
  std::uint64_t want_statement_ = 0;
  std::array<std::uint64_t, kSqlSlots> sql_version_{};
  std::array<const StatementText*, kSqlSlots> sql_source_{};
  std::atomic<std::uint64_t> id_{0};
  std::atomic<JournalMode> journal_mode_{JournalMode::kDelete};
  ConnectionRecord record_;

  // Guarded by the ledger's mutex.
  ConnectionInfo info_;
  FileId shm_;                                   // the -shm, from when it was mapped
  const volatile std::uint8_t* wal_index_ = nullptr;  // its first page, while mapped
  bool open_ = false;
};

}  // namespace lockscope::ledger
