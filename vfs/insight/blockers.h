// Blockers: who is in whose way, by SQLite's own rules of which lock refuses which.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "insight/locks.h"
#include "model/reason.h"

namespace lockscope::insight {

struct LockRequest {
  Resource resource = Resource::kDatabase;
  LockMode mode = LockMode::kNone;

  friend bool operator==(const LockRequest&, const LockRequest&) = default;
};

// Whether SQLite refuses `wants` while another connection holds `held`.
//
//   wal-index   the same lock, one of the two EXCLUSIVE
//   database    SHARED is refused by PENDING and EXCLUSIVE; RESERVED by RESERVED, PENDING and
//               EXCLUSIVE; PENDING and EXCLUSIVE by whatever another holds
bool Refuses(const LockRequest& held, const LockRequest& wants);

// The surest first.
enum class Standing {
  kWaits,      // has asked, was refused, and asks again or sleeps
  kWouldWait,  // holds RESERVED or PENDING, and needs EXCLUSIVE to commit
  kNext,       // nobody in particular: whoever wants to read, write or checkpoint next
};

// One who waits, or would, and one who is in the way.
struct Block {
  Standing standing = Standing::kNext;
  // Who waits; its `since` is when that began, 0 where it has not yet. Null: nobody in particular.
  std::optional<LockFacts> waiter{};
  LockRequest wants{};
  LockFacts blocker{};  // the lock in the way
  std::string advice;   // what helps
  Reason reason = Reason::kUnknown;
};

// The pairs of one database, now. Nobody is in his own way; two connections of one process may be
// in each other's, as SQLite's unix VFS has it: it keeps a record of its own, so that a lock that
// the kernel has lost is still in the way of the same process's other connections, and of nobody
// else. In WAL mode SHARED on the database file means no more than that it is open: it is in the
// way of those only who ask for EXCLUSIVE.
std::vector<Block> CollectBlocks(const Look& look, const Database& database);

// The order of the table: by standing, then who waits longest.
bool ComesFirst(const Block& a, const Block& b);

}  // namespace lockscope::insight
