#include "shim/recovery.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <span>
#include <string_view>
#include <vector>

#include "format/database_header.h"
#include "format/rollback_journal.h"
#include "format/wal_header.h"
#include "format/wal_index.h"
#include "kernel/descriptors.h"
#include "ledger/ledger.h"
#include "logging/log.h"
#include "model/fork_safe_mutex.h"
#include "shim/shim_file.h"

namespace lockscope::shim {
namespace {

using ledger::RecoveryKind;

constinit ForkSafeMutex g_mutex(LockRank::kRecoveries);

struct Holder {
  ShimFile* file;
  pthread_t thread;
};

// Guarded by g_mutex. Never destroyed: connections may close while the process ends.
std::vector<Holder>& Holders() {
  static auto* const holders = new std::vector<Holder>();
  return *holders;
}

// So that those who delete or open files have one load to ask for.
constinit std::atomic<int> g_count{0};

constexpr std::string_view kJournalSuffix = "-journal";

bool IsJournalOf(std::string_view journal, std::string_view database) {
  return journal.size() == database.size() + kJournalSuffix.size() &&
         journal.starts_with(database) && journal.ends_with(kJournalSuffix);
}

format::JournalRead ReaderOf(sqlite3_file* file) {
  return [file](std::uint64_t offset, std::span<std::uint8_t> bytes) {
    return file->pMethods->xRead(file, bytes.data(), static_cast<int>(bytes.size()),
                                 static_cast<sqlite3_int64>(offset)) == SQLITE_OK;
  };
}

std::uint64_t SizeOf(sqlite3_file* file) {
  sqlite3_int64 bytes = 0;
  const bool known = file->pMethods->xFileSize(file, &bytes) == SQLITE_OK && bytes > 0;
  return known ? static_cast<std::uint64_t>(bytes) : 0;
}

constexpr int kPageBytesMin = 512;

}  // namespace

void ExclusiveFiles::Prepare() {
  // A child's connections have none of their parent's locks.
  ForkSafeMutex::OnFork(LockRank::kRecoveries, [] {
    Holders().clear();
    g_count.store(0, std::memory_order_relaxed);
  });
}

void ExclusiveFiles::Add(ShimFile& file) {
  const std::lock_guard lock(g_mutex);
  Holders().push_back({&file, pthread_self()});
  g_count.store(static_cast<int>(Holders().size()), std::memory_order_relaxed);
}

void ExclusiveFiles::Remove(ShimFile& file) {
  const std::lock_guard lock(g_mutex);
  std::erase_if(Holders(), [&file](const Holder& holder) { return holder.file == &file; });
  g_count.store(static_cast<int>(Holders().size()), std::memory_order_relaxed);
}

ShimFile* ExclusiveFiles::Find(const char* journal) {
  if (g_count.load(std::memory_order_relaxed) == 0 || journal == nullptr) return nullptr;
  const std::lock_guard lock(g_mutex);
  for (const Holder& holder : Holders()) {
    const bool ours = pthread_equal(holder.thread, pthread_self()) != 0;
    if (ours && IsJournalOf(journal, holder.file->path())) return holder.file;
  }
  return nullptr;
}

// ---- what a ShimFile does about them ----

// EXCLUSIVE has been granted, `before` is what was held until then.
void ShimFile::ExclusiveGranted(const ledger::HeldBits& before) noexcept {
  if (before.Holds(LockMode::kReserved) || before.wal_open || is_exclusive_) return;
  try {
    ExclusiveFiles::Add(*this);
    is_exclusive_ = true;
  } catch (const std::bad_alloc&) {
    // A recovery less is seen.
  }
}

void ShimFile::ExclusiveEnds() noexcept {
  if (recovery_ != nullptr && recovery_->kind == RecoveryKind::kRollbackJournal) {
    RecoveryEnds(false);  // a journal that was finished has ended it before
  }
  if (!is_exclusive_) return;
  ExclusiveFiles::Remove(*this);
  is_exclusive_ = false;
}

void ShimFile::JournalOpened(const char* name, sqlite3_file* journal) noexcept try {
  if (ShimFile* file = ExclusiveFiles::Find(name)) file->RollbackBegins(journal);
} catch (const std::bad_alloc&) {
  // A recovery less is seen.
}

void ShimFile::JournalDeleted(const char* name) noexcept {
  ShimFile* file = ExclusiveFiles::Find(name);
  if (file != nullptr && file->recovery_ != nullptr) file->RecoveryEnds(file->recovery_->restored);
}

void ShimFile::RollbackBegins(sqlite3_file* journal) {
  if (recovery_ != nullptr) return;
  const std::uint64_t bytes = SizeOf(journal);
  const format::JournalRead read = ReaderOf(journal);
  std::array<std::uint8_t, format::kDatabaseHeaderBytes> head{};
  const bool has_head =
      lower()->pMethods->xRead(lower(), head.data(), static_cast<int>(head.size()), 0) == SQLITE_OK;
  const auto header = has_head ? format::DecodeDatabaseHeader(head) : std::nullopt;
  const auto super_journal = format::SuperJournalOf(bytes, read);
  Begin({.kind = RecoveryKind::kRollbackJournal,
         .pages_total = format::JournalRecords(bytes, header ? header->page_size : 0, read)
                            .value_or(ledger::kPagesUnknown),
         .journal_bytes = bytes,
         .super_journal = super_journal ? std::string_view(*super_journal) : std::string_view()},
        &base_, CountedFile::What::kWrites);
  recovery_->journal.Watch(journal, *this);
}

// Told by the journal's own method table, which goes with recovery_.
void ShimFile::JournalFinished() noexcept {
  if (recovery_ != nullptr && recovery_->restored) RecoveryEnds(true);
}

namespace {

// The file of the WAL of `main`, where that is `database`; null where it is not, or not told. Of no
// other schema: with a shared cache SQLite may let another thread into the very database whose lock
// is being asked for, in order to get at `main` first.
sqlite3_file* WalOfMain(sqlite3* db, sqlite3_file* database) {
  sqlite3_file* file = nullptr;
  sqlite3_file* wal = nullptr;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) !=
          SQLITE_OK ||
      file != database) {
    return nullptr;
  }
  sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&wal));
  return wal != nullptr && wal->pMethods != nullptr ? wal : nullptr;
}

}  // namespace

void ShimFile::WalRecoveryBegins() noexcept try {
  if (recovery_ != nullptr) return;
  ledger::Connection::RecoveryStart start{.kind = RecoveryKind::kWal,
                                          .pages_total = ledger::kPagesUnknown,
                                          .pages_done = ledger::kPagesUnknown};
  // Only the main database's file has installed a tracker; where another connection has joined it,
  // whose main database may be another one, it has none any more.
  const StatementTracker* const tracker = CurrentTracker();
  const bool is_main = installed_tracker_ && tracker != nullptr && db_ != nullptr &&
                       *db_ != nullptr && tracker->Follows(*db_);
  sqlite3_file* wal = is_main ? WalOfMain(*db_, &base_) : nullptr;
  // The VFS below may keep it elsewhere than in a file of that name.
  const auto facts = kernel::StatPath(std::string(path_) + "-wal");
  if (!facts && wal == nullptr) return;
  start.journal_bytes = facts ? facts->bytes : SizeOf(wal);
  // Whoever opens a database first makes the wal-index anew: without frames that is no recovery.
  if (start.journal_bytes <= format::kWalHeaderBytes) return;
  if (wal != nullptr) {
    start.pages_done = 0;
    std::array<std::uint8_t, format::kWalHeaderBytes> head{};
    if (ReaderOf(wal)(0, head)) {
      start.pages_total =
          format::WalFrames(head, start.journal_bytes).value_or(ledger::kPagesUnknown);
    }
    if (start.pages_total == 0) return;
  }
  Begin(start, wal, CountedFile::What::kReads);
} catch (const std::bad_alloc&) {
  // A recovery less is seen.
}

// What was recovered is in the wal-index when the lock is let go; an error leaves it torn or empty.
void ShimFile::WalRecoveryEnds() noexcept {
  if (recovery_ == nullptr || recovery_->kind != RecoveryKind::kWal) return;
  bool valid = false;
  if (wal_index_ != nullptr) {
    std::array<std::uint8_t, format::kWalIndexHeadBytes> head{};
    ledger::CopyShared(wal_index_, head.data(), head.size());
    valid = format::DecodeWalIndex(head).valid();
  }
  RecoveryEnds(valid);
}

void ShimFile::Begin(ledger::Connection::RecoveryStart start, sqlite3_file* counted,
                     CountedFile::What what) {
  recovery_ = std::make_unique<Recovery>(start.kind);
  start.statement = Context(User()).statement;
  connection_->RecoveryBegan(start, ledger::Now());
  if (counted != nullptr) {
    recovery_->counted.Begin(counted, what, kPageBytesMin, connection_->recovery_pages());
  }
  LogRecovery("begins");
}

void ShimFile::RecoveryEnds(bool done) noexcept {
  recovery_->counted.End();
  connection_->RecoveryEnded(done, ledger::Now());
  LogRecovery(done ? "is done" : "has failed");
  recovery_.reset();
}

void ShimFile::LogRecovery(const char* what) const noexcept try {
  if (!logging::Enabled(logging::Level::kWarn)) return;
  const bool wal = recovery_->kind == RecoveryKind::kWal;
  logging::Write(
      logging::Level::kWarn,
      std::string(wal ? "the recovery of the WAL of " : "the rollback of the hot journal of ") +
          path_ + " by connection " + std::to_string(connection_->id()) + " " + what);
} catch (const std::bad_alloc&) {
  // A line less.
}

}  // namespace lockscope::shim
