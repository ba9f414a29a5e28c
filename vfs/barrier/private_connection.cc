#include "barrier/private_connection.h"

#include <array>
#include <cstring>
#include <string_view>

#include "format/database_header.h"
#include "kernel/descriptors.h"
#include "ledger/ledger.h"
#include "shim/shim_vfs.h"

namespace lockscope::barrier {
namespace {

constexpr const char* kSchema = "barrier";
constexpr std::size_t kChangeCounterOffset = 24;  // in the database's header
constexpr std::size_t kWalSaltOffset = 16;        // in the WAL's header

// A path inside a URI.
std::string PercentEncoded(std::string_view text) {
  static constexpr std::string_view kHex = "0123456789ABCDEF";
  static constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string encoded;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos) {
      encoded += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    encoded += '%';
    encoded += kHex[byte >> 4U];
    encoded += kHex[byte & 15U];
  }
  return encoded;
}

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalizer>;

FileId IdOf(const std::string& path) {
  const auto facts = kernel::StatPath(path);
  return facts ? facts->id : FileId{};
}

}  // namespace

// ---- opening and closing ----

Result<std::unique_ptr<PrivateConnection>> PrivateConnection::Open(const Member& member) {
  const auto vfs = shim::BarrierVfs(member.vfs.empty() ? "unix" : member.vfs);
  if (!vfs.ok()) return vfs.status();
  std::unique_ptr<PrivateConnection> connection(new PrivateConnection(member));
  if (Status status = connection->OpenIn(vfs.value()); !status.ok()) return status;
  return connection;
}

Status PrivateConnection::OpenIn(const std::string& vfs) {
  // ATTACH wants the text encoding of main: it is tried out which that is.
  Status status;
  for (const char* encoding : {"UTF-8", "UTF-16le", "UTF-16be"}) {
    status = Attach(vfs, encoding);
    const bool other =
        status.code == SQLITE_ERROR && status.message.find("text encoding") != std::string::npos;
    if (!other) break;
  }
  if (!status.ok()) return status;
  status = Exec("PRAGMA barrier.locking_mode = normal; PRAGMA barrier.mmap_size = 0");
  if (!status.ok()) return status;
  if (sqlite3_db_readonly(db_, kSchema) == 1) {
    return {SQLITE_READONLY, member_.path +
                                 ": no permission to write to it, so its locks cannot "
                                 "be had"};
  }
  sqlite3_file_control(db_, kSchema, SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file_));
  const auto view = ledger::Ledger::Process().View(connection());
  if (!view || !view->info.posix_shm_locks) {
    return {SQLITE_MISUSE, member_.path + ": its VFS, " + (view ? view->info.vfs : vfs) +
                               ", does not lock as \"unix\" does"};
  }
  return {};
}

// Opens anew, with that encoding.
Status PrivateConnection::Attach(const std::string& vfs, const char* encoding) {
  sqlite3_close(db_);
  db_ = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI |
                         SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_FULLMUTEX;
  if (const int result = sqlite3_open_v2("file::memory:", &db_, kFlags, nullptr);
      result != SQLITE_OK) {
    return Fail(result);
  }
  // Whatever an auto-extension of the host has installed.
  sqlite3_busy_handler(db_, nullptr, nullptr);
  sqlite3_set_authorizer(db_, nullptr, nullptr);
  sqlite3_progress_handler(db_, 0, nullptr, nullptr);
  sqlite3_commit_hook(db_, nullptr, nullptr);
  sqlite3_rollback_hook(db_, nullptr, nullptr);
  sqlite3_update_hook(db_, nullptr, nullptr);
  sqlite3_wal_hook(db_, nullptr, nullptr);
  if (HasTrace()) sqlite3_trace_v2(db_, 0, nullptr, nullptr);
  sqlite3_limit(db_, SQLITE_LIMIT_ATTACHED, 1);
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  // The schema is read, whatever it is; nothing of it is used.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 0, nullptr);
  const std::string set_up =
      std::string(
          "PRAGMA writable_schema = on; PRAGMA locking_mode = normal; PRAGMA encoding = '") +
      encoding + "'";
  if (Status status = Exec(set_up.c_str()); !status.ok()) return status;
  const std::string uri =
      "file:" + PercentEncoded(member_.path) + "?mode=rw&cache=private&vfs=" + PercentEncoded(vfs);
  sqlite3_stmt* prepared = nullptr;
  int result = sqlite3_prepare_v2(db_, "ATTACH ?1 AS barrier", -1, &prepared, nullptr);
  const Statement attach(prepared);
  if (result == SQLITE_OK) {
    sqlite3_bind_text(prepared, 1, uri.c_str(), -1, SQLITE_TRANSIENT);
    result = sqlite3_step(prepared);
  }
  return result == SQLITE_DONE ? Status{} : Fail(result);
}

PrivateConnection::~PrivateConnection() {
  LetGo();
  sqlite3_close(db_);
}

std::uint64_t PrivateConnection::connection() const {
  std::uint64_t number = 0;
  sqlite3_file_control(db_, kSchema, shim::kFcntlConnection, &number);
  return number;
}

Status PrivateConnection::Exec(const char* sql) {
  const int result = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  return result == SQLITE_OK ? Status{} : Fail(result);
}

Status PrivateConnection::Fail(int code) const {
  const bool readonly = (code & 0xff) == SQLITE_READONLY;
  const char* message = db_ != nullptr && !readonly ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  return {code, member_.path + ": " + message};
}

shim::ConnectionState PrivateConnection::State() const {
  shim::ConnectionState state;
  sqlite3_file_control(db_, kSchema, shim::kFcntlState, &state);
  return state;
}

// ---- the snapshot, or the rollback modes' lock ----

Status PrivateConnection::Begin(Kind kind) {
  if (Status status = OpenSnapshot(); !status.ok()) return status;
  wal_ = State().held.wal_open;
  if (!wal_) return BeginRollback(kind);
  if (Status status = MapWalIndex(); !status.ok()) return status;
  const ledger::HeldBits held = State().held;
  for (int slot = 0; slot < kReadSlotCount; ++slot) {
    const Resource resource = ShmResource(kShmReadOffset + slot);
    if (held.Shm(ShmOffset(resource)) == LockMode::kShared) snapshot_slot_ = resource;
  }
  // A wal-index on the heap, which nobody else sees: SQLite makes one where it may not have the
  // -shm.
  if (!snapshot_slot_) {
    return {SQLITE_READONLY, member_.path + ": its -shm cannot be shared, no permission to write"};
  }
  return {};
}

// A read transaction, for which nothing of the schema is looked at: that could be anything.
Status PrivateConnection::OpenSnapshot() {
  if (Status status = Exec("BEGIN"); !status.ok()) return status;
  return Exec("PRAGMA barrier.schema_version");
}

// RESERVED and no bare SHARED: with SHARED, a writer that wants to commit takes PENDING, and every
// new reader is locked out until the copy ends. It cannot be had from within a read transaction.
Status PrivateConnection::BeginRollback(Kind kind) {
  if (Status status = Exec("COMMIT"); !status.ok()) return status;
  const char* begin = kind == Kind::kExclusive ? "BEGIN EXCLUSIVE" : "BEGIN IMMEDIATE";
  if (Status status = Exec(begin); !status.ok()) return status;
  if (State().held.wal_open) {
    return {SQLITE_BUSY, member_.path + ": its journal mode was changed to WAL this moment"};
  }
  // Where there is no permission BEGIN IMMEDIATE succeeds all the same, and holds SHARED.
  if (!HasRollbackLock(kind)) {
    return {SQLITE_READONLY, member_.path + ": no permission to write to it"};
  }
  return {};
}

bool PrivateConnection::HasRollbackLock(Kind kind) {
  const LockMode needed = kind == Kind::kExclusive ? LockMode::kExclusive : LockMode::kReserved;
  return State().held.database >= needed;
}

// ---- locks by hand ----

int PrivateConnection::LockShm(Resource resource, int flags) {
  return file_->pMethods->xShmLock(file_, ShmOffset(resource), 1, flags);
}

Status PrivateConnection::TryExclusive(Resource resource) {
  const int result = LockShm(resource, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
  if (result == SQLITE_OK) return {};
  return {result, member_.path + ": " + lockscope::Name(resource) + " was refused"};
}

void PrivateConnection::Unlock(Resource resource, int mode) {
  LockShm(resource, SQLITE_SHM_UNLOCK | mode);
}

Status PrivateConnection::LockCheckpoints() {
  Status status = TryExclusive(Resource::kWalCheckpoint);
  checkpoints_locked_ = status.ok();
  return status;
}

// Any of the slots will do: what counts is that somebody is there when a writer, which would
// restart the WAL, asks for all of them. Never the snapshot's own: the unix VFS does not count
// twice, and one unlock would end both.
Status PrivateConnection::KeepWalFromRestarting() {
  if (snapshot_slot_ != Resource::kWalRead0) return {};
  int result = SQLITE_BUSY;
  for (int slot = 1; slot < kReadSlotCount; ++slot) {
    const Resource resource = ShmResource(kShmReadOffset + slot);
    result = LockShm(resource, SQLITE_SHM_LOCK | SQLITE_SHM_SHARED);
    if (result == SQLITE_OK) {
      restart_slot_ = resource;
      return {};
    }
    if ((result & 0xff) != SQLITE_BUSY) break;
  }
  return {result, member_.path + ": every read slot was refused"};
}

Status PrivateConnection::LockWriters() {
  Status status = TryExclusive(Resource::kWalWrite);
  writers_locked_ = status.ok();
  return status;
}

void PrivateConnection::UnlockWriters() {
  if (writers_locked_) Unlock(Resource::kWalWrite, SQLITE_SHM_EXCLUSIVE);
  writers_locked_ = false;
}

bool PrivateConnection::WritersLookFree() const {
  const ByteRange bytes = ProtocolBytes(Resource::kWalWrite, LockMode::kExclusive);
  return shm_descriptor_ >= 0 && !kernel::ProbeLock(shm_descriptor_, true, bytes.first, bytes.last);
}

std::optional<Event> PrivateConnection::Refused() const { return State().refused; }

void PrivateConnection::Detach() {
  sqlite3_exec(db_, "DETACH barrier", nullptr, nullptr, nullptr);
  file_ = nullptr;
  wal_index_ = nullptr;
  shm_descriptor_ = -1;
}

void PrivateConnection::LetGo() {
  UnlockWriters();
  if (restart_slot_) Unlock(*restart_slot_, SQLITE_SHM_SHARED);
  restart_slot_.reset();
  if (checkpoints_locked_) Unlock(Resource::kWalCheckpoint, SQLITE_SHM_EXCLUSIVE);
  checkpoints_locked_ = false;
  if (db_ != nullptr && sqlite3_get_autocommit(db_) == 0) {
    sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  snapshot_slot_.reset();
  wal_ = false;
}

// ---- the wal-index ----

Status PrivateConnection::MapWalIndex() {
  void volatile* page = nullptr;
  constexpr int kRegionBytes = 32 * 1024;  // what SQLite maps at a time
  const int result = file_->pMethods->xShmMap(file_, 0, kRegionBytes, 0, &page);
  if ((result & 0xff) == SQLITE_READONLY) {
    return {SQLITE_READONLY, member_.path + ": no permission to write to its -shm"};
  }
  if (result != SQLITE_OK || page == nullptr) {
    return {result != SQLITE_OK ? result : SQLITE_BUSY,
            member_.path + ": its wal-index cannot be read"};
  }
  if (wal_index_ != page) {
    const auto open_files = kernel::OpenFiles::Scan();
    const auto descriptors = open_files.Find(IdOf(member_.path + "-shm"));
    shm_descriptor_ = descriptors.empty() ? -1 : descriptors.front();
  }
  wal_index_ = static_cast<const volatile std::uint8_t*>(page);
  return {};
}

format::WalIndex PrivateConnection::WalIndex() const {
  std::array<std::uint8_t, format::kWalIndexHeadBytes> head{};
  ledger::CopyShared(wal_index_, head.data(), head.size());
  return format::DecodeWalIndex(head);
}

std::uint32_t PrivateConnection::ReadWalIndex(std::size_t offset) const {
  std::array<std::uint8_t, format::kWalIndexHeadBytes> head{};
  ledger::CopyShared(wal_index_, head.data(), head.size());
  std::uint32_t value = 0;
  std::memcpy(&value, head.data() + offset, sizeof value);
  return value;
}

bool PrivateConnection::WalIndexTorn() { return wal_ && !WalIndex().valid(); }

bool PrivateConnection::WalIndexTornForGood() {
  if (writers_locked_) return WalIndexTorn();
  if (!LockWriters().ok()) return false;
  const bool torn = WalIndexTorn();
  UnlockWriters();
  return torn;
}

// ---- facts ----

Result<Facts> PrivateConnection::ReadFacts(const Facts* header) {
  Facts facts;
  facts.wal = wal_;
  if (const auto database = kernel::StatPath(member_.path)) {
    facts.database = database->id;
    facts.database_written_ns = database->written_ns;
  }
  sqlite3_int64 bytes = 0;
  if (const int result = file_->pMethods->xFileSize(file_, &bytes); result != SQLITE_OK) {
    return Fail(result);
  }
  facts.database_bytes = static_cast<std::uint64_t>(bytes);
  std::array<std::uint8_t, format::kDatabaseHeaderBytes> head{};
  if (facts.database_bytes >= head.size()) {
    const int size = static_cast<int>(head.size());
    if (const int result = file_->pMethods->xRead(file_, head.data(), size, 0);
        result != SQLITE_OK) {
      return Fail(result);
    }
    facts.change_counter = format::ReadBigEndian32(head, kChangeCounterOffset);
  }
  if (!wal_) return facts;
  // A writer changes the header's two copies one right after the other: a few looks will do.
  constexpr int kLooks = 1000;
  format::WalIndex wal_index = WalIndex();
  for (int i = 0; i < kLooks && !wal_index.valid(); ++i) wal_index = WalIndex();
  if (!wal_index.valid() && header == nullptr) {
    return Status{SQLITE_BUSY, member_.path + ": its wal-index is being written"};
  }
  const bool valid = wal_index.valid();
  facts.max_frame = valid ? wal_index.max_frame : header->max_frame;
  facts.page_size = valid ? wal_index.page_size : header->page_size;
  facts.salt1 = valid ? wal_index.salt1 : header->salt1;
  facts.salt2 = valid ? wal_index.salt2 : header->salt2;
  // Behind the header, and changed under the checkpoint lock alone.
  facts.backfilled = ReadWalIndex(format::kBackfillOffset);
  facts.backfill_attempted = ReadWalIndex(format::kBackfillAttemptedOffset);
  facts.shm = IdOf(member_.path + "-shm");
  if (const auto wal_file = kernel::StatPath(member_.path + "-wal")) {
    facts.wal_file = wal_file->id;
    facts.wal_file_bytes = wal_file->bytes;
  }
  if (facts.max_frame > 0 && valid && !IsTheWalInUse(wal_index)) {
    return Status{SQLITE_CORRUPT,
                  member_.path +
                      "-wal is not the WAL that its wal-index is of: it was deleted or "
                      "replaced while others use it"};
  }
  return facts;
}

// The WAL that was opened by its name has the salts and the frames of the wal-index, unless its
// name was taken away from those who use it. REQUIRES: there are frames, which this snapshot keeps.
bool PrivateConnection::IsTheWalInUse(const format::WalIndex& wal_index) {
  sqlite3_file* wal = nullptr;
  sqlite3_file_control(db_, kSchema, SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&wal));
  std::array<std::uint8_t, format::kWalHeaderBytes> head{};
  sqlite3_int64 bytes = 0;
  if (wal == nullptr || wal->pMethods == nullptr ||
      wal->pMethods->xFileSize(wal, &bytes) != SQLITE_OK ||
      static_cast<std::uint64_t>(bytes) < wal_index.LiveBytes(wal_index.max_frame) ||
      wal->pMethods->xRead(wal, head.data(), static_cast<int>(head.size()), 0) != SQLITE_OK) {
    return false;
  }
  return format::ReadBigEndian32(head, kWalSaltOffset) == wal_index.salt1 &&
         format::ReadBigEndian32(head, kWalSaltOffset + 4) == wal_index.salt2;
}

std::vector<NeededLock> PrivateConnection::NeededLocks(const Facts& facts) const {
  std::vector<NeededLock> locks;
  const auto need = [&locks](Resource resource, LockMode mode, const FileId& file) {
    // EXCLUSIVE's bytes but the one of RESERVED, which SQLite need not have locked by itself.
    const bool exclusive = resource == Resource::kDatabase && mode == LockMode::kExclusive;
    locks.push_back({.resource = resource,
                     .mode = mode,
                     .file = file,
                     .bytes = exclusive ? kSharedRange : ProtocolBytes(resource, mode),
                     .write = mode != LockMode::kShared});
  };
  const LockMode level = State().held.database;
  if (level == LockMode::kReserved) need(Resource::kDatabase, LockMode::kShared, facts.database);
  need(Resource::kDatabase, level, facts.database);
  if (!wal_) return locks;
  need(Resource::kWalOpen, LockMode::kShared, facts.shm);
  if (snapshot_slot_) need(*snapshot_slot_, LockMode::kShared, facts.shm);
  if (checkpoints_locked_) need(Resource::kWalCheckpoint, LockMode::kExclusive, facts.shm);
  if (restart_slot_) need(*restart_slot_, LockMode::kShared, facts.shm);
  if (writers_locked_) need(Resource::kWalWrite, LockMode::kExclusive, facts.shm);
  return locks;
}

Status PrivateConnection::Sync() {
  sqlite3_file* journal = nullptr;  // the WAL's file, in WAL mode
  sqlite3_file_control(db_, kSchema, SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&journal));
  for (sqlite3_file* file : {wal_ ? journal : nullptr, file_}) {
    if (file == nullptr || file->pMethods == nullptr) continue;
    const int result = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
    if (result != SQLITE_OK) return {result, member_.path + ": cannot be synced"};
  }
  return {};
}

}  // namespace lockscope::barrier
