// ShimFile's answers to sqlite3_file_control() and to SQLite's own file controls.
#include <new>
#include <string>

#include "shim/shim_file.h"
#include "shim/shim_vfs.h"

namespace lockscope::shim {
namespace {

ledger::JournalMode ParseJournalMode(const char* text, ledger::JournalMode otherwise) {
  for (auto mode :
       {ledger::JournalMode::kDelete, ledger::JournalMode::kTruncate, ledger::JournalMode::kPersist,
        ledger::JournalMode::kMemory, ledger::JournalMode::kOff, ledger::JournalMode::kWal}) {
    if (sqlite3_stricmp(text, Name(mode)) == 0) return mode;
  }
  return otherwise;
}

ledger::LockingMode ParseLockingMode(const char* text, ledger::LockingMode otherwise) {
  if (sqlite3_stricmp(text, "exclusive") == 0) return ledger::LockingMode::kExclusive;
  return sqlite3_stricmp(text, "normal") == 0 ? ledger::LockingMode::kNormal : otherwise;
}

}  // namespace

int ShimFile::FileControl(int operation, void* argument) noexcept {
  switch (operation) {
    case SQLITE_FCNTL_VFSNAME:
      return NameVfs(argument);
    case SQLITE_FCNTL_PDB:
      LearnConnection(argument);
      break;
    case SQLITE_FCNTL_PRAGMA: {
      int result = SQLITE_NOTFOUND;
      if (AnswerPragma(static_cast<char**>(argument), result)) return result;
      break;
    }
    case SQLITE_FCNTL_SYNC:
      if (recovery_ != nullptr) recovery_->restored = true;
      break;
    case kFcntlConnection:
      *static_cast<std::uint64_t*>(argument) = connection_->id();
      return SQLITE_OK;
    case kFcntlState:
      *static_cast<ConnectionState*>(argument) = {connection_->held(), connection_->refused()};
      return SQLITE_OK;
    case kFcntlSettings:
      *static_cast<settings::DatabaseSettings*>(argument) = settings_;
      return SQLITE_OK;
    default:
      break;
  }
  return lower()->pMethods->xFileControl(lower(), operation, argument);
}

int ShimFile::NameVfs(void* argument) noexcept {
  auto* name = static_cast<char**>(argument);
  const int result = lower()->pMethods->xFileControl(lower(), SQLITE_FCNTL_VFSNAME, argument);
  if (result == SQLITE_OK && *name != nullptr) {
    *name = sqlite3_mprintf("%s/%z", vfs_->name().c_str(), *name);
    return *name != nullptr ? SQLITE_OK : SQLITE_NOMEM;
  }
  if (result == SQLITE_NOTFOUND) {
    *name = sqlite3_mprintf("%s/%s", vfs_->name().c_str(), vfs_->base()->zName);
    return *name != nullptr ? SQLITE_OK : SQLITE_NOMEM;
  }
  return result;
}

void ShimFile::LearnConnection(void* argument) noexcept {
  // SQLite that checks its handles (SQLITE_ENABLE_API_ARMOR) reports every question about a
  // connection that is being opened or closed: there nothing is asked, and autocommit and SQL stay
  // unknown.
  static const bool checks_handles = WasCompiledWith("ENABLE_API_ARMOR");
  // A shared cache tells it once for every connection that joins, in whatever thread that is.
  if (checks_handles || argument == nullptr) return;
  // The file of one connection's main database may be attached by another then.
  if (db_ != nullptr) {
    // Both sides change the flag, in one order: the mode that stays is this one.
    joined_.exchange(true);
    current_tracker_.store(nullptr, std::memory_order_relaxed);
    if (installed_tracker_) StatementTracker::Joined(tracker_);
    connection_->AskedLockingMode(ledger::LockingMode::kUnknown);
    return;
  }
  db_ = static_cast<sqlite3**>(argument);
  try {
    const bool opening = *db_ != nullptr && sqlite3_next_stmt(*db_, nullptr) == nullptr;
    tracker_ = StatementTracker::For(*db_, opening);
    current_tracker_.store(tracker_.get(), std::memory_order_relaxed);
    installed_tracker_ = opening && tracker_ != nullptr;
    if (opening) connection_->AskedLockingMode(ledger::LockingMode::kNormal);
  } catch (const std::bad_alloc&) {
    // Nothing is heard.
  }
}

bool ShimFile::AnswerPragma(char** arguments, int& result) noexcept {
  const char* name = arguments[1];
  const char* value = arguments[2];
  if (sqlite3_stricmp(name, "journal_mode") == 0 && value != nullptr) {
    connection_->AskedJournalMode(ParseJournalMode(value, connection_->asked_journal_mode()));
    return false;
  }
  // It is in force from now on, whether the statement is run or not.
  if (sqlite3_stricmp(name, "locking_mode") == 0 && value != nullptr &&
      connection_->asked_locking_mode() != ledger::LockingMode::kUnknown) {
    connection_->AskedLockingMode(ParseLockingMode(value, connection_->asked_locking_mode()));
    // Another may have joined meanwhile, in a thread of its own.
    bool joined = false;
    if (!joined_.compare_exchange_strong(joined, false)) {
      connection_->AskedLockingMode(ledger::LockingMode::kUnknown);
    }
    return false;
  }
  const PragmaHandler handler = CurrentPragmaHandler();
  if (handler == nullptr) return false;
  std::string answer;
  try {
    if (!handler(name, path_, answer)) return false;
    arguments[0] = sqlite3_mprintf("%s", answer.c_str());
    result = arguments[0] != nullptr ? SQLITE_OK : SQLITE_NOMEM;
  } catch (...) {
    result = SQLITE_NOMEM;
  }
  return true;
}

}  // namespace lockscope::shim
