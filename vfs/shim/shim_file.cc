#include "shim/shim_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <new>
#include <string>
#include <string_view>
#include <type_traits>

#include "ledger/ledger.h"
#include "logging/log.h"
#include "shim/method_mirror.h"
#include "shim/shim_vfs.h"
#include "shim/sleep.h"

namespace lockscope::shim {

using ledger::Autocommit;
using ledger::CallContext;
using ledger::Connection;
using ledger::Ticks;

#if !defined(__clang__)  // which takes libstdc++'s std::unique_ptr for something else
static_assert(std::is_standard_layout_v<ShimFile>, "a sqlite3_file* to it is a ShimFile*");
#endif

// ---- the hot pair ----

namespace {

constexpr int kWriteOffset = ShmOffset(Resource::kWalWrite);
constexpr int kCheckpointOffset = ShmOffset(Resource::kWalCheckpoint);
constexpr int kRecoverOffset = ShmOffset(Resource::kWalRecover);
constexpr int kReadZeroOffset = ShmOffset(Resource::kWalRead0);

LockMode ModeOf(int flags) {
  return (flags & SQLITE_SHM_SHARED) != 0 ? LockMode::kShared : LockMode::kExclusive;
}

}  // namespace

// Only a shared lock makes a snapshot.
inline ledger::SnapshotFacts ShimFile::FactsFor(LockMode mode) const noexcept {
  if (mode != LockMode::kShared || wal_index_ == nullptr) return {};
  return {.max_frame = ReadShared32(wal_index_, format::kMxFrameOffset),
          .salts = ReadShared64(wal_index_, format::kSaltOffset)};
}

// One lock of the wal-index that no other question hangs on: nothing is being waited for, and it is
// neither a checkpoint's (the guard) nor a recovery's.
inline bool ShimFile::IsPlainShmLock(int offset, int count) const noexcept {
  return count == 1 && offset != kCheckpointOffset && offset != kRecoverOffset && !guard_.armed() &&
         !connection_->HasRefusal();
}

// The usual case: in autocommit, as at the call before, and by a statement with the text that the
// connection shows already. Where there is a tracker, its connection is known too.
inline bool ShimFile::LocksAsBefore(int offset) const noexcept {
  const StatementTracker* const tracker = CurrentTracker();
  const auto shown = offset < kShmReadOffset ? ledger::SqlSlot::kWrite : ledger::SqlSlot::kRead;
  return tracker != nullptr && tracker->running_text() == connection_->recorded_text(shown) &&
         tracker->Follows(*db_) && connection_->InAutocommit() && sqlite3_get_autocommit(*db_) != 0;
}

int ShimFile::PlainReadLock(int offset, int flags) noexcept {
  const Connection::Calling calling(*connection_, {.resource = ShmResource(offset), .count = 1});
  const int result = lower()->pMethods->xShmLock(lower(), offset, 1, flags);
  const Ticks now = ledger::Now();
  if (result != SQLITE_OK || !LocksAsBefore(offset)) [[unlikely]] {
    return RecordShmLock(offset, 1, flags, result, {0, now});
  }
  const LockMode mode = ModeOf(flags);
  connection_->OneShmLocked({offset, mode}, now, FactsFor(mode));
  return SQLITE_OK;
}

int ShimFile::PlainWriteLock(int flags) noexcept {
  const Connection::Calling calling(*connection_, {.resource = Resource::kWalWrite, .count = 1});
  const Ticks asked = ledger::Now();
  const int result = lower()->pMethods->xShmLock(lower(), kWriteOffset, 1, flags);
  const Ticks now = ledger::Now();
  if (result != SQLITE_OK || !LocksAsBefore(kWriteOffset)) [[unlikely]] {
    return RecordShmLock(kWriteOffset, 1, flags, result, {asked, now});
  }
  const LockMode mode = ModeOf(flags);
  connection_->OneShmLocked({kWriteOffset, mode}, now, FactsFor(mode));
  if (IsStale()) [[unlikely]]
    WriteLockOfStaleSnapshot(now);
  return SQLITE_OK;
}

// What began in autocommit ends in it: BEGIN would have kept the lock. What began inside a
// transaction ends with it, or to try again: that is asked.
int ShimFile::PlainShmUnlock(int offset, int flags) noexcept {
  const Connection::Calling calling(
      *connection_, {.resource = ShmResource(offset), .count = 1, .releasing = true});
  if (offset == kWriteOffset) WriteLockEnds();
  const int result = lower()->pMethods->xShmLock(lower(), offset, 1, flags);
  const Ticks now = ledger::Now();
  if (result != SQLITE_OK || !connection_->InAutocommit()) [[unlikely]] {
    return RecordShmLock(offset, 1, flags, result, {0, now});
  }
  const bool idle = connection_->OneShmUnlocked({offset, ModeOf(flags)}, now);
  StatementTracker* const tracker = CurrentTracker();
  if (idle && ModeOf(flags) == LockMode::kShared && tracker != nullptr) tracker->Finished();
  return SQLITE_OK;
}

// ---- what SQLite calls ----

// What runs in every transaction is marked hot, here and in the ledger, so that it lies together in
// the program: after a system call most of the time goes into fetching code.
struct ShimFile::Methods {
  static ShimFile& Self(sqlite3_file* file) { return *reinterpret_cast<ShimFile*>(file); }
  static sqlite3_file* Lower(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + kLowerOffset);
  }

  static int xClose(sqlite3_file* file) { return Self(file).Close(); }
  [[gnu::hot]] static int xRead(sqlite3_file* file, void* buffer, int bytes, sqlite3_int64 offset) {
    file = Lower(file);
    return file->pMethods->xRead(file, buffer, bytes, offset);
  }
  [[gnu::hot]] static int xWrite(sqlite3_file* file, const void* buffer, int bytes,
                                 sqlite3_int64 offset) {
    file = Lower(file);
    return file->pMethods->xWrite(file, buffer, bytes, offset);
  }
  static int xTruncate(sqlite3_file* file, sqlite3_int64 bytes) {
    file = Lower(file);
    return file->pMethods->xTruncate(file, bytes);
  }
  static int xSync(sqlite3_file* file, int flags) {
    file = Lower(file);
    return file->pMethods->xSync(file, flags);
  }
  [[gnu::hot]] static int xFileSize(sqlite3_file* file, sqlite3_int64* bytes) {
    file = Lower(file);
    return file->pMethods->xFileSize(file, bytes);
  }
  static int xLock(sqlite3_file* file, int level) { return Self(file).Lock(level); }
  static int xUnlock(sqlite3_file* file, int level) { return Self(file).Unlock(level); }
  static int xCheckReservedLock(sqlite3_file* file, int* result) {
    return Self(file).CheckReservedLock(result);
  }
  static int xFileControl(sqlite3_file* file, int operation, void* argument) {
    return Self(file).FileControl(operation, argument);
  }
  [[gnu::hot]] static int xSectorSize(sqlite3_file* file) {
    file = Lower(file);
    return file->pMethods->xSectorSize(file);
  }
  [[gnu::hot]] static int xDeviceCharacteristics(sqlite3_file* file) {
    file = Lower(file);
    return file->pMethods->xDeviceCharacteristics(file);
  }
  static int xShmMap(sqlite3_file* file, int region, int bytes, int extend, void volatile** page) {
    return Self(file).ShmMap(region, bytes, extend, page);
  }
  // What every transaction of a WAL database does a few times goes straight through.
  [[gnu::hot, gnu::aligned(64)]] static int xShmLock(sqlite3_file* file, int offset, int count,
                                                     int flags) {
    ShimFile& self = Self(file);
    if (!self.IsPlainShmLock(offset, count)) [[unlikely]] {
      return self.AnyShmLock(offset, count, flags);
    }
    if ((flags & SQLITE_SHM_UNLOCK) != 0) return self.PlainShmUnlock(offset, flags);
    if (offset == kWriteOffset) return self.PlainWriteLock(flags);
    return self.PlainReadLock(offset, flags);
  }
  [[gnu::hot]] static void xShmBarrier(sqlite3_file* file) {
    if (Self(file).guard_.armed()) [[unlikely]]
      return Self(file).GuardedBarrier();
    file = Lower(file);
    file->pMethods->xShmBarrier(file);
  }
  static int xShmUnmap(sqlite3_file* file, int delete_flag) {
    return Self(file).ShmUnmap(delete_flag);
  }
  [[gnu::hot]] static int xFetch(sqlite3_file* file, sqlite3_int64 offset, int bytes, void** page) {
    file = Lower(file);
    return file->pMethods->xFetch(file, offset, bytes, page);
  }
  [[gnu::hot]] static int xUnfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
    file = Lower(file);
    return file->pMethods->xUnfetch(file, offset, page);
  }

  static constexpr sqlite3_io_methods kAll = {.iVersion = 3,
                                              .xClose = xClose,
                                              .xRead = xRead,
                                              .xWrite = xWrite,
                                              .xTruncate = xTruncate,
                                              .xSync = xSync,
                                              .xFileSize = xFileSize,
                                              .xLock = xLock,
                                              .xUnlock = xUnlock,
                                              .xCheckReservedLock = xCheckReservedLock,
                                              .xFileControl = xFileControl,
                                              .xSectorSize = xSectorSize,
                                              .xDeviceCharacteristics = xDeviceCharacteristics,
                                              .xShmMap = xShmMap,
                                              .xShmLock = xShmLock,
                                              .xShmBarrier = xShmBarrier,
                                              .xShmUnmap = xShmUnmap,
                                              .xFetch = xFetch,
                                              .xUnfetch = xUnfetch};
};

// ---- opening and closing ----

namespace {

FileId IdentityOf(const char* path) {
  struct stat facts {};
  if (path == nullptr || stat(path, &facts) != 0) return {};
  return {.device = facts.st_dev, .inode = facts.st_ino};
}

// "unix" from "lockscope/unix": the VFS that touches the files.
std::string LowerVfsName(sqlite3_file* lower, const char* registered_name) {
  char* name = nullptr;
  const int result =
      lower->pMethods->xFileControl(lower, SQLITE_FCNTL_VFSNAME, static_cast<void*>(&name));
  std::string text = result == SQLITE_OK && name != nullptr ? name : registered_name;
  sqlite3_free(name);
  return text;
}

}  // namespace

ShimFile::ShimFile(ShimVfs& vfs, ledger::Connection& connection,
                   const settings::DatabaseSettings& settings)
    : base_{},
      connection_(&connection),
      capture_sql_(settings::CaptureSqlOtherwise(settings)),
      vfs_(&vfs),
      settings_(settings) {}

void ShimFile::Opened(const char* path, bool read_only, bool immutable) {
  path_ = path;
  read_only_ = read_only;
  const sqlite3_io_methods& below = *lower()->pMethods;
  if (below.xDeviceCharacteristics != nullptr) {
    immutable = immutable || (below.xDeviceCharacteristics(lower()) & SQLITE_IOCAP_IMMUTABLE) != 0;
  }
  const std::string lower_name = LowerVfsName(lower(), vfs_->base()->zName);
  const std::string_view bottom = std::string_view(lower_name).substr(lower_name.rfind('/') + 1);
  ledger::Ledger::Process().Opened(*connection_,
                                   {.path = path,
                                    .database = IdentityOf(path),
                                    .vfs = vfs_->name() + "/" + lower_name,
                                    .posix_locks = bottom == "unix" || bottom == "unix-excl",
                                    .posix_shm_locks = bottom == "unix",
                                    .barrier = vfs_->for_barriers(),
                                    .immutable = immutable,
                                    .unguarded = !settings::WalResetGuardOtherwise(settings_),
                                    .publish = settings::PublishesLocks(settings_),
                                    .thread = gettid(),
                                    .opened = ledger::Now()});
  base_.pMethods = MirrorOf(*lower()->pMethods, Methods::kAll);
}

int ShimFile::Close() noexcept {
  if (installed_tracker_) {
    StatementTracker::MainFileClosing(tracker_, UserUnlessJoined());
  }
  ExclusiveEnds();
  if (recovery_ != nullptr) RecoveryEnds(false);
  connection_->GiveUpWait();  // told of in the log by its connection's number, which goes next
  const int result = lower()->pMethods->xClose(lower());
  ledger::Ledger::Process().Close(*connection_);
  this->~ShimFile();
  return result;
}

// ---- whose call it is ----

inline const ledger::StatementText* ShimFile::Statement(sqlite3* db) noexcept {
  if (!settings::CaptureSql(capture_sql_)) return nullptr;
  StatementTracker* const tracker = CurrentTracker();
  if (tracker != nullptr && tracker->Follows(db)) [[likely]] {
    if (const ledger::StatementText* text = tracker->Current(db)) return text;
  }
  return FindStatement(db);
}

const ledger::StatementText* ShimFile::FindStatement(sqlite3* db) noexcept {
  if (found_ == nullptr) found_.reset(new (std::nothrow) ledger::StatementText());
  return found_ != nullptr && StatementTracker::Find(db, *found_) ? found_.get() : nullptr;
}

CallContext ShimFile::Context(sqlite3* db) noexcept {
  CallContext context = ContextWithoutText(db);
  // Inside a transaction locks outlive the statement that took them: the one heard last may be
  // over, and the application's own trace may have replaced ours since. It may also be over where
  // it took no lock at all, before the schema of a database is read for the first time, which is
  // done while the next statement is prepared. Then it is looked for.
  const bool may_be_over = (context.autocommit == Autocommit::kOff && !connection_->Idle()) ||
                           !connection_->EverLocked();
  StatementTracker* const tracker = CurrentTracker();
  if (may_be_over && tracker != nullptr) [[unlikely]]
    tracker->Finished();
  if (db != nullptr) context.statement = Statement(db);
  return context;
}

// Where the text is not asked for, the tracker is all the same: by what it does not find it learns
// that it does not hear any more.
CallContext ShimFile::RefusedContext(sqlite3* db) noexcept {
  StatementTracker* const tracker = CurrentTracker();
  if (!settings::CaptureSql(capture_sql_) && tracker != nullptr && db != nullptr &&
      tracker->Follows(db)) {
    tracker->Current(db);
  }
  return Context(db);
}

inline CallContext ShimFile::ContextWithoutText(sqlite3* db) noexcept {
  CallContext context;
  if (db == nullptr) return context;
  context.autocommit = sqlite3_get_autocommit(db) != 0 ? Autocommit::kOn : Autocommit::kOff;
  const StatementTracker* const tracker = CurrentTracker();
  if (tracker != nullptr && tracker->Follows(db)) {
    context.statement_number = tracker->statement_number();
  }
  return context;
}

inline void ShimFile::AfterUnlock() noexcept {
  StatementTracker* const tracker = CurrentTracker();
  if (tracker != nullptr && connection_->Idle()) tracker->Finished();
}

// Only of a call that repeats a refused one.
inline Ticks ShimFile::Duration(const CallTime& time) const noexcept {
  return connection_->HasRefusal() ? time.returned - time.asked : ledger::kNotMeasured;
}

// ---- the database lock ----

// A WAL connection asks for EXCLUSIVE when it closes; from RESERVED or PENDING on it is a commit.
inline sqlite3* ShimFile::UserThatLocks(LockMode wanted, LockMode held) const noexcept {
  const bool commits = held == LockMode::kReserved || held == LockMode::kPending;
  return wanted == LockMode::kExclusive && !commits ? UserUnlessJoined() : User();
}

int ShimFile::Lock(int level) noexcept {
  const Connection::Calling calling(*connection_, {.count = 1});
  const Ticks begun = ledger::Now();
  Ticks asked = begun;
  const int result = LockBelow(level, asked);
  const Ticks now = ledger::Now();
  const auto wanted = static_cast<LockMode>(level);
  const ledger::HeldBits before = connection_->held();
  sqlite3* const db = UserThatLocks(wanted, before.database);
  if (result == SQLITE_OK) {
    connection_->DatabaseLocked(wanted, now, Context(db));
    if (wanted == LockMode::kExclusive) ExclusiveGranted(before);
    return SQLITE_OK;
  }
  const CallContext context = RefusedContext(db);
  const Ticks duration = Duration({begun, now});
  connection_->DatabaseRefused(wanted, LevelBelow(), result, duration, now, context);
  SleepsFor(*connection_);
  AfterRefusal(db, context, {asked, now});
  return result;
}

// `asked` becomes later where more than one call is made.
inline int ShimFile::LockBelow(int level, Ticks& asked) noexcept {
  if (level == SQLITE_LOCK_SHARED) {
    const std::uint32_t most_ms = settings::RecoveryWaitMs(settings_);
    if (most_ms != 0) [[unlikely]]
      return LockSharedPatiently(most_ms, asked);
  }
  return lower()->pMethods->xLock(lower(), level);
}

int ShimFile::LockSharedPatiently(std::uint32_t most_ms, Ticks& asked) noexcept {
  // Held already, it keeps recoverers out: no time to wait.
  if (connection_->held().database == LockMode::kNone && !vfs_->for_barriers()) {
    try {
      if (patience_ == nullptr) patience_ = std::make_unique<RecoveryPatience>(path_, read_only_);
      connection_->ReviewWaits(ledger::Now(), ContextWithoutText(User()));
      const auto refused = connection_->refused();
      std::optional<SleepMark> sleeps;
      if (refused && refused->resource == Resource::kDatabase && refused->to == LockMode::kShared) {
        SleepsFor(*connection_);
        sleeps.emplace();
      }
      while (true) {
        patience_->Await(*vfs_->base(), ContextWithoutText(User()).statement_number,
                         std::chrono::milliseconds(most_ms));
        asked = ledger::Now();
        const int result = lower()->pMethods->xLock(lower(), SQLITE_LOCK_SHARED);
        if ((result & 0xff) != SQLITE_BUSY || !patience_->MayRetry()) return result;
      }
    } catch (const std::bad_alloc&) {
      // As SQLite has it.
    }
  }
  return lower()->pMethods->xLock(lower(), SQLITE_LOCK_SHARED);
}

// After a refusal, PENDING may have stayed behind: the VFS below knows.
LockMode ShimFile::LevelBelow() noexcept {
  int level = 0;
  const int result = lower()->pMethods->xFileControl(lower(), SQLITE_FCNTL_LOCKSTATE, &level);
  if (result != SQLITE_OK || level < SQLITE_LOCK_NONE || level > SQLITE_LOCK_EXCLUSIVE) {
    return LockMode::kNone;
  }
  return static_cast<LockMode>(level);
}

int ShimFile::Unlock(int level) noexcept {
  const Connection::Calling calling(*connection_, {.count = 1, .releasing = true});
  const int result = lower()->pMethods->xUnlock(lower(), level);
  const LockMode now_held = result == SQLITE_OK ? static_cast<LockMode>(level) : LevelBelow();
  connection_->DatabaseUnlocked(now_held, result, ledger::Now(),
                                ContextWithoutText(UserUnlessJoined()));
  if (is_exclusive_ && now_held <= LockMode::kShared) [[unlikely]]
    ExclusiveEnds();
  AfterUnlock();
  return result;
}

bool ShimFile::StepsBack() noexcept try {
  if (!patience_->MustStepBack()) return false;
  const ledger::RefusalCause cause{
      .reason = Reason::kHotJournalRecovery,
      .explanation =
          "a writer died in mid-transaction, and this connection may only read: it lets "
          "SHARED go for somebody who rolls that back. Waiting helps: set a busy "
          "timeout."};
  const CallContext context = Context(User());
  const Ticks now = ledger::Now();
  connection_->ReservedChecked(false, SQLITE_BUSY, now);
  // SQLite gives SHARED back, and asks for it again where it has a busy handler.
  connection_->DatabaseRefused(LockMode::kShared, LockMode::kShared, SQLITE_BUSY,
                               ledger::kNotMeasured, now, context);
  SleepsFor(*connection_);
  if (connection_->WaitBegins(now, now)) connection_->WaitExplained(cause);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

int ShimFile::CheckReservedLock(int* reserved) noexcept {
  if (patience_ != nullptr && settings::RecoveryWaitMs(settings_) != 0) [[unlikely]] {
    if (StepsBack()) return SQLITE_BUSY;
  }
  const int result = lower()->pMethods->xCheckReservedLock(lower(), reserved);
  connection_->ReservedChecked(result == SQLITE_OK && *reserved != 0, result, ledger::Now());
  return result;
}

// ---- the wal-index ----

int ShimFile::ShmMap(int region, int bytes, int extend, void volatile** page) noexcept {
  const Connection::Calling calling(*connection_, {.resource = Resource::kWalOpen, .count = 1});
  const int result = lower()->pMethods->xShmMap(lower(), region, bytes, extend, page);
  // A read-only wal-index is handed out with SQLITE_READONLY, and an empty one without a page.
  const bool open = result == SQLITE_OK || (result & 0xff) == SQLITE_READONLY;
  if (!open) return result;
  if (!connection_->WalOpen()) WalIndexOpened();
  if (region == 0 && *page != nullptr && *page != wal_index_) WalIndexMapped(*page);
  return result;
}

void ShimFile::WalIndexOpened() noexcept {
  FileId shm;
  try {
    shm = IdentityOf((std::string(path_) + "-shm").c_str());
  } catch (const std::bad_alloc&) {
    // The inode stays unknown.
  }
  ledger::Ledger::Process().WalIndexOpened(*connection_, shm);
  connection_->ShmMapped(ledger::Now());
}

void ShimFile::WalIndexMapped(const volatile void* page) noexcept {
  wal_index_ = static_cast<const volatile std::uint8_t*>(page);
  ledger::Ledger::Process().Mapped(*connection_, wal_index_);
}

void ShimFile::GuardedBarrier() noexcept {
  lower()->pMethods->xShmBarrier(lower());
  if (wal_index_ != nullptr) guard_.Note(wal_index_);
}

namespace {

bool Covers(int offset, int count, int wanted) {
  return offset <= wanted && wanted < offset + count;
}

}  // namespace

int ShimFile::AnyShmLock(int offset, int count, int flags) noexcept {
  const Connection::Calling calling(*connection_, {.resource = ShmResource(offset),
                                                   .count = count,
                                                   .releasing = (flags & SQLITE_SHM_UNLOCK) != 0});
  const bool unlocks = (flags & SQLITE_SHM_UNLOCK) != 0;
  const Ticks asked = unlocks ? 0 : ledger::Now();
  if (offset == kWriteOffset && unlocks) WriteLockEnds();
  const int result = lower()->pMethods->xShmLock(lower(), offset, count, flags);
  return RecordShmLock(offset, count, flags, result, {asked, ledger::Now()});
}

int ShimFile::RecordShmLock(int offset, int count, int flags, int result,
                            const CallTime& time) noexcept {
  const LockMode mode = ModeOf(flags);
  const Ticks now = time.returned;
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    connection_->ShmUnlocked(offset, count, mode, result, now, ContextWithoutText(User()));
    if (guard_.armed() && Covers(offset, count, kCheckpointOffset)) guard_.CheckpointLockReleased();
    if (mode == LockMode::kExclusive && Covers(offset, count, kRecoverOffset)) WalRecoveryEnds();
    if (mode == LockMode::kShared) AfterUnlock();
    return result;
  }
  if (result != SQLITE_OK) {
    sqlite3* const db = User();
    const CallContext context = RefusedContext(db);
    const Ticks asked = time.asked != 0 ? time.asked : connection_->last_call();
    connection_->ShmRefused(offset, count, mode, result, Duration(time), now, context);
    SleepsFor(*connection_);
    AfterRefusal(db, context, {asked, now});
    return result;
  }
  if (mode == LockMode::kExclusive) {
    if (Covers(offset, count, kCheckpointOffset) && settings::WalResetGuard(settings_)) {
      guard_.CheckpointLockGranted();
    } else if (guard_.armed() && Covers(offset, count, kReadZeroOffset) &&
               guard_.Restarted(wal_index_)) {
      return RefuseRestartedWal(offset, count, flags);
    }
  }
  if (offset == kWriteOffset && mode == LockMode::kExclusive && IsStale()) {
    const CallContext context = Context(User());
    connection_->ShmLockedInVain(offset, now, context);
    WriteLockOfStaleSnapshot(now, context);
    return SQLITE_OK;
  }
  connection_->ShmLocked(offset, count, mode, now, Context(User()), FactsFor(mode));
  if (mode == LockMode::kExclusive && Covers(offset, count, kRecoverOffset)) WalRecoveryBegins();
  return SQLITE_OK;
}

// ---- snapshots and the write lock ----

// The write lock is there, and so is a snapshot that is older than the newest commit: SQLite finds
// that out next, and gives the lock back.
inline bool ShimFile::IsStale() const noexcept {
  if (wal_index_ == nullptr) return false;
  const auto seen = connection_->snapshot();
  return seen && (seen->max_frame != ReadShared32(wal_index_, format::kMxFrameOffset) ||
                  seen->salts != ReadShared64(wal_index_, format::kSaltOffset));
}

inline void ShimFile::WriteLockEnds() noexcept {
  if (wal_index_ != nullptr && !is_stale_ && connection_->snapshot()) {
    connection_->SnapshotMoved(FactsFor(LockMode::kShared));
  }
  const StatementTracker* const tracker = CurrentTracker();
  if (tracker != nullptr && !is_stale_) connection_->WroteIn(tracker->statement_number());
  is_stale_ = false;
}

// ---- the guard ----

// The lock was granted below and is given back there first: SQLite, told BUSY, would never release
// it.
int ShimFile::RefuseRestartedWal(int offset, int count, int flags) noexcept {
  const int unlock = (flags & ~SQLITE_SHM_LOCK) | SQLITE_SHM_UNLOCK;
  lower()->pMethods->xShmLock(lower(), offset, count, unlock);
  connection_->ShmRefused(offset, count, LockMode::kExclusive, SQLITE_BUSY, ledger::kNotMeasured,
                          ledger::Now(), Context(User()));
  connection_->RefusalSwallowed();
  sqlite3_log(SQLITE_NOTICE,
              "lockscope: stopped a checkpoint of %s that met a restarted WAL (the WAL-reset bug); "
              "the next one is not affected",
              path_);
  LogGuard();
  return SQLITE_BUSY;
}

void ShimFile::LogGuard() const noexcept try {
  if (!logging::Enabled(logging::Level::kWarn)) return;
  logging::Write(logging::Level::kWarn,
                 "wal_reset_guard stopped a checkpoint of connection " +
                     std::to_string(connection_->id()) + " to " + path_ +
                     ", which met a restarted WAL; the next one is not affected");
} catch (const std::bad_alloc&) {
  // A line less.
}

int ShimFile::ShmUnmap(int delete_flag) noexcept {
  const Connection::Calling calling(
      *connection_, {.resource = ShmResource(0), .count = kShmLockCount + 1, .releasing = true});
  ledger::Ledger::Process().Unmapping(*connection_);
  wal_index_ = nullptr;
  const int result = lower()->pMethods->xShmUnmap(lower(), delete_flag);
  connection_->ShmUnmapped(ledger::Now());
  guard_.CheckpointLockReleased();
  return result;
}

}  // namespace lockscope::shim
