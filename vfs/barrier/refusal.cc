#include "barrier/refusal.h"

#include "insight/locks.h"
#include "insight/look.h"
#include "insight/summary.h"

namespace lockscope::barrier {
namespace {

// Whether a lock that somebody holds is why `refused` was.
bool InTheWay(const insight::LockFacts& lock, const Event& refused, bool wal_mode) {
  if (!lock.granted || lock.resource != refused.resource) return false;
  if (refused.resource != Resource::kDatabase) return true;
  if (refused.to == LockMode::kShared) return lock.mode >= LockMode::kPending;
  // In WAL mode SHARED is held from the first read to the end of a connection.
  if (refused.to == LockMode::kReserved || wal_mode) return lock.mode >= LockMode::kReserved;
  return true;
}

}  // namespace

Event OpeningRefused(const Status& status) {
  Event refused;
  if (status.code == SQLITE_BUSY_RECOVERY) refused.resource = Resource::kWalRecover;
  refused.to = LockMode::kShared;
  return refused;
}

std::string HoldersOf(const std::string& path, const Event& refused) {
  const insight::Look look = insight::Look::At({path});
  std::string holders;
  for (const insight::Database& database : look.databases()) {
    for (const insight::LockFacts& lock : insight::CollectLocks(look, database)) {
      if (!InTheWay(lock, refused, database.wal_mode)) continue;
      holders += (holders.empty() ? "held by " : ", ") + insight::DescribeHolder(look, lock) +
                 insight::DescribeAge(look, lock);
    }
  }
  return holders;
}

}  // namespace lockscope::barrier
