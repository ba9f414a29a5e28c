// ShimFile: one open database file, between SQLite and the VFS below.
//
// It lives in the memory that SQLite provides for a file, followed by the file of the VFS below:
//
//   sqlite3_file*  ->  ShimFile  (begins with sqlite3_file, as SQLite's ABI asks)
//                      file of the VFS below, its szOsFile bytes
//
// Placement-constructed in xOpen, destroyed in xClose. Its method table is its own: a mirror of the
// table below, with the same iVersion (but never above 3, the newest it knows) and the same empty
// slots.
//
// Threads: SQLite lets one thread at a time call the methods of one file, but for
// SQLITE_FCNTL_PDB: a connection that joins a shared cache says it beside the others' calls.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "ledger/connection.h"
#include "settings/settings.h"
#include "shim/recovery.h"
#include "shim/recovery_patience.h"
#include "shim/sqlite_api.h"
#include "shim/statement_tracker.h"
#include "shim/wal_reset_guard.h"

namespace lockscope::shim {

class ShimVfs;

// Our own opcode for sqlite3_file_control(): stores the number of the connection (the tables'
// column `connection`) in a std::uint64_t.
inline constexpr int kFcntlConnection = 0x4c530001;
// Stores the database's own settings in a settings::DatabaseSettings.
inline constexpr int kFcntlSettings = 0x4c530002;
// Stores what the connection holds and was refused in a ConnectionState.
inline constexpr int kFcntlState = 0x4c530003;
struct ConnectionState {
  ledger::HeldBits held;
  std::optional<Event> refused;  // the request that was refused last, until it is granted
};

class ShimFile {
 public:
  // Constructs in `file`; the VFS below has not been called yet.
  ShimFile(ShimVfs& vfs, ledger::Connection& connection,
           const settings::DatabaseSettings& settings);
  ShimFile(const ShimFile&) = delete;
  ShimFile& operator=(const ShimFile&) = delete;

  // As small as it can be: SQLite reserves it three times a connection, for the journals too.
  static constexpr int kLowerOffset = 128;
  sqlite3_file* lower() {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(this) + kLowerOffset);
  }

  // The VFS below has opened lower(): takes over its methods. `path` is the name as SQLite gave it.
  // `immutable`: its URI says that nobody changes it.
  void Opened(const char* path, bool read_only, bool immutable);
  const char* path() const { return path_; }

  // SQLite has opened an existing journal of that name for reading and writing: whose rollback
  // begins by that, if anybody's.
  static void JournalOpened(const char* name, sqlite3_file* journal) noexcept;
  // A file of that name was deleted.
  static void JournalDeleted(const char* name) noexcept;
  // The journal that is being rolled back was overwritten or cut off.
  void JournalFinished() noexcept;

 private:
  struct Methods;  // the trampolines that SQLite calls
  friend struct Methods;
  struct CallTime {
    // Before the VFS below was called. 0: not taken, of what lets go, and, for lack of time, of a
    // read slot: for that only a checkpoint waits, whose call before will do.
    ledger::Ticks asked = 0;
    ledger::Ticks returned = 0;
  };

  int Close() noexcept;
  int Lock(int level) noexcept;
  int LockBelow(int level, ledger::Ticks& asked) noexcept;
  int LockSharedPatiently(std::uint32_t most_ms, ledger::Ticks& asked) noexcept;
  int Unlock(int level) noexcept;
  bool StepsBack() noexcept;
  int CheckReservedLock(int* result) noexcept;
  int FileControl(int operation, void* argument) noexcept;
  int ShmMap(int region, int bytes, int extend, void volatile** page) noexcept;
  int ShmUnmap(int delete_flag) noexcept;

  // The connection that uses the file now; null: not known. Not for calls that may be made while
  // the file is closed: the last connection of a shared cache closes it outside the cache's mutex,
  // and what SQLite keeps at *db_ then may be one that closed at the same time, and is gone.
  sqlite3* User() const noexcept { return db_ != nullptr ? *db_ : nullptr; }
  // For those.
  sqlite3* UserUnlessJoined() const noexcept { return joined_.load() ? nullptr : User(); }
  sqlite3* UserThatLocks(LockMode wanted, LockMode held) const noexcept;
  [[gnu::hot]] ledger::CallContext Context(sqlite3* db) noexcept;
  [[gnu::hot]] ledger::CallContext ContextWithoutText(sqlite3* db) noexcept;
  ledger::CallContext RefusedContext(sqlite3* db) noexcept;
  StatementTracker* CurrentTracker() const noexcept {
    return current_tracker_.load(std::memory_order_relaxed);
  }
  const ledger::StatementText* Statement(sqlite3* db) noexcept;
  const ledger::StatementText* FindStatement(sqlite3* db) noexcept;
  bool IsPlainShmLock(int offset, int count) const noexcept;
  bool LocksAsBefore(int offset) const noexcept;
  [[gnu::hot, gnu::noinline, gnu::aligned(64)]] int PlainReadLock(int offset, int flags) noexcept;
  [[gnu::hot, gnu::noinline]] int PlainWriteLock(int flags) noexcept;
  [[gnu::hot, gnu::noinline, gnu::aligned(64)]] int PlainShmUnlock(int offset, int flags) noexcept;
  [[gnu::hot]] int AnyShmLock(int offset, int count, int flags) noexcept;
  [[gnu::hot]] int RecordShmLock(int offset, int count, int flags, int result,
                                 const CallTime& time) noexcept;
  void AfterUnlock() noexcept;
  ledger::Ticks Duration(const CallTime& time) const noexcept;
  LockMode LevelBelow() noexcept;
  ledger::SnapshotFacts FactsFor(LockMode mode) const noexcept;
  void WalIndexOpened() noexcept;
  void WalIndexMapped(const volatile void* page) noexcept;
  void LogGuard() const noexcept;
  int RefuseRestartedWal(int offset, int count, int flags) noexcept;
  [[gnu::cold]] void GuardedBarrier() noexcept;
  // A refusal was recorded, or the write lock was had in vain: after_refusal.cc.
  void AfterRefusal(sqlite3* db, const ledger::CallContext& context, const CallTime& time) noexcept;
  const char* OwnSchema() const noexcept;
  ledger::Upgrade UpgradeOf(const Event& wanted, const ledger::CallContext& context) const noexcept;
  void Explain(const Event& event, ledger::Upgrade upgrade, const CallTime& time) noexcept;
  [[gnu::cold]] void WriteLockOfStaleSnapshot(ledger::Ticks now) noexcept;
  [[gnu::cold]] void WriteLockOfStaleSnapshot(ledger::Ticks now,
                                              const ledger::CallContext& context) noexcept;
  bool IsStale() const noexcept;
  void WriteLockEnds() noexcept;
  // Recoveries: recovery.cc.
  void ExclusiveGranted(const ledger::HeldBits& before) noexcept;
  void ExclusiveEnds() noexcept;
  void RollbackBegins(sqlite3_file* journal);
  void WalRecoveryBegins() noexcept;
  void WalRecoveryEnds() noexcept;
  void Begin(ledger::Connection::RecoveryStart start, sqlite3_file* counted,
             CountedFile::What what);
  void RecoveryEnds(bool done) noexcept;
  void LogRecovery(const char* what) const noexcept;
  void LearnConnection(void* argument) noexcept;
  int NameVfs(void* argument) noexcept;
  bool AnswerPragma(char** arguments, int& result) noexcept;

  // What every call needs comes first, together.
  sqlite3_file base_;  // the sqlite3_file that SQLite sees
  ledger::Connection* connection_;
  sqlite3** db_ = nullptr;  // where SQLite keeps the connection that uses the file now
  // tracker_'s; null from when the file was joined: another connection's thread may use it then,
  // and the tracker's connection be gone.
  std::atomic<StatementTracker*> current_tracker_{nullptr};
  const volatile std::uint8_t* wal_index_ = nullptr;
  bool capture_sql_;  // but for the word of the process
  bool installed_tracker_ = false;
  bool is_exclusive_ = false;  // and in ExclusiveFiles
  bool read_only_ = false;
  bool is_stale_ = false;            // it has the write lock with a snapshot that is too old
  std::atomic<bool> joined_{false};  // by another connection, through a shared cache
  WalResetGuard guard_;

  ShimVfs* vfs_;
  std::shared_ptr<StatementTracker> tracker_;
  std::unique_ptr<ledger::StatementText> found_;  // what the walk found
  settings::DatabaseSettings settings_;
  std::unique_ptr<Recovery> recovery_;          // while one runs
  std::unique_ptr<RecoveryPatience> patience_;  // where recovery_wait_ms was ever set
  const char* path_ = nullptr;                  // SQLite's; lives as long as the file is open
};
static_assert(sizeof(ShimFile) <= ShimFile::kLowerOffset);

}  // namespace lockscope::shim
