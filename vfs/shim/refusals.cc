#include "shim/refusals.h"

#include <string_view>

namespace lockscope::shim {
namespace {

using ledger::HeldBits;

bool HasSnapshot(const HeldBits& held) { return (held.shm_shared >> kShmReadOffset) != 0; }

bool HasExclusive(const HeldBits& held, Resource resource) {
  return held.Shm(ShmOffset(resource)) == LockMode::kExclusive;
}

constexpr int kLongestWalk = 1000;

// What stands at a row does not run.
bool IsAnyRunning(sqlite3* db) {
  sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr);
  for (int i = 0; i < kLongestWalk && statement != nullptr; ++i) {
    if (sqlite3_stmt_busy(statement) != 0 && sqlite3_data_count(statement) == 0) return true;
    statement = sqlite3_next_stmt(db, statement);
  }
  return false;
}

// An automatic checkpoint comes when its statement has ended. Where nothing is known it may be one.
bool IsAutomatic(const Asking& asking) {
  if (asking.is_heard) return asking.wrote;
  return asking.db == nullptr || !IsAnyRunning(asking.db);
}

bool IsShmBusy(const Event& refused, const HeldBits& held, const Asking& asking) {
  const bool checkpoints = HasExclusive(held, Resource::kWalCheckpoint);
  if (IsReadSlot(refused.resource)) {
    return refused.to == LockMode::kExclusive && checkpoints &&
           HasExclusive(held, Resource::kWalWrite);
  }
  switch (refused.resource) {
    case Resource::kWalWrite:
      return checkpoints || HasSnapshot(held);
    case Resource::kWalCheckpoint:
      return refused.count == 1 && !IsAutomatic(asking);
    case Resource::kWalRecover:
      return refused.to == LockMode::kShared;
    default:
      return false;
  }
}

// Behind blanks, comments and what ends an empty statement.
std::string_view FirstWords(std::string_view sql) {
  while (!sql.empty()) {
    std::size_t skipped = 0;
    if (sql.starts_with("--")) {
      skipped = sql.find('\n');
    } else if (sql.starts_with("/*")) {
      const std::size_t end = sql.find("*/", 2);
      skipped = end == std::string_view::npos ? end : end + 2;
    } else {
      skipped = sql.find_first_not_of(" \t\r\n\f;");
      if (skipped == 0) return sql;
    }
    if (skipped == std::string_view::npos) return {};
    sql.remove_prefix(skipped);
  }
  return {};
}

bool IsDetach(const char* sql) {
  constexpr std::string_view kWord = "detach";
  const std::string_view words = FirstWords(sql != nullptr ? sql : "");
  return words.size() >= kWord.size() &&
         sqlite3_strnicmp(words.data(), kWord.data(), static_cast<int>(kWord.size())) == 0;
}

// None has been prepared any more, or DETACH runs. Where nothing is known it may be.
bool MayBeClosing(sqlite3* db) {
  if (db == nullptr) return true;
  sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr);
  if (statement == nullptr) return true;
  for (int i = 0; i < kLongestWalk && statement != nullptr; ++i) {
    if (sqlite3_stmt_busy(statement) != 0 && IsDetach(sqlite3_sql(statement))) return true;
    statement = sqlite3_next_stmt(db, statement);
  }
  return false;
}

}  // namespace

bool HasUnfinished(sqlite3* db) {
  sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr);
  while (statement != nullptr) {
    if (sqlite3_stmt_busy(statement) != 0 && sqlite3_data_count(statement) > 0) return true;
    statement = sqlite3_next_stmt(db, statement);
  }
  return false;
}

bool IsBusy(const Event& refused, const HeldBits& held, const Asking& asking) {
  // An error that is no BUSY is none.
  constexpr int kBusy = 5;  // SQLITE_BUSY
  if ((refused.result & 0xff) != kBusy) return false;
  if (refused.resource != Resource::kDatabase) return IsShmBusy(refused, held, asking);
  return refused.to != LockMode::kExclusive || !held.wal_open || !MayBeClosing(asking.db);
}

}  // namespace lockscope::shim
