#include "shim/refusals.h"

#include <string_view>

namespace lockscope::shim {
namespace {

using ledger::HeldBits;

bool HasSnapshot(const HeldBits& held) { return (held.shm_shared >> kShmReadOffset) != 0; }

bool HasExclusive(const HeldBits& held, Resource resource) {
  return held.Shm(ShmOffset(resource)) == LockMode::kExclusive;
}

bool IsShmBusy(const Event& refused, const HeldBits& held, const RunningStatements& statements) {
  const bool checkpoints = HasExclusive(held, Resource::kWalCheckpoint);
  if (IsReadSlot(refused.resource)) {
    return refused.to == LockMode::kExclusive && checkpoints &&
           HasExclusive(held, Resource::kWalWrite);
  }
  switch (refused.resource) {
    case Resource::kWalWrite:
      return checkpoints || HasSnapshot(held);
    case Resource::kWalCheckpoint: {
      const bool automatic = statements.are_heard ? statements.wrote : !statements.one_runs;
      return refused.count == 1 && !automatic;
    }
    case Resource::kWalRecover:
      return refused.to == LockMode::kShared;
    default:
      return false;
  }
}

bool IsDetach(const char* sql) {
  constexpr std::string_view kWord = "detach";
  const std::string_view text = sql != nullptr ? sql : "";
  const std::size_t begin = text.find_first_not_of(" \t\r\n\f");
  if (begin == std::string_view::npos || text.size() - begin < kWord.size()) return false;
  return sqlite3_strnicmp(text.data() + begin, kWord.data(), static_cast<int>(kWord.size())) == 0;
}

}  // namespace

RunningStatements LookAtStatements(sqlite3* db) {
  constexpr int kLongest = 1000;
  RunningStatements statements;
  sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr);
  statements.closes = statement == nullptr;
  for (int i = 0; i < kLongest && statement != nullptr; ++i) {
    if (sqlite3_stmt_busy(statement) != 0) {
      statements.one_runs = true;
      statements.closes = statements.closes || IsDetach(sqlite3_sql(statement));
    }
    statement = sqlite3_next_stmt(db, statement);
  }
  return statements;
}

bool IsBusy(const Event& refused, const HeldBits& held, const RunningStatements& statements) {
  // An error that is no BUSY is none.
  constexpr int kBusy = 5;  // SQLITE_BUSY
  if ((refused.result & 0xff) != kBusy) return false;
  if (refused.resource != Resource::kDatabase) return IsShmBusy(refused, held, statements);
  return refused.to != LockMode::kExclusive || !held.wal_open || !statements.closes;
}

}  // namespace lockscope::shim
