// Why a request is refused: the rules by which one of the contract's reasons is given to it. Where
// more than one could be true, it is `unknown`, and the explanation says what is known.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "insight/comparison.h"
#include "insight/locks.h"
#include "insight/look.h"
#include "ledger/wait_notes.h"
#include "model/event.h"
#include "model/reason.h"

namespace lockscope::insight {

// The rules, over the locks of one database.
class Reasons {
 public:
  // `database` must outlive it.
  Reasons(const Database& database, const std::vector<LockFacts>& locks);

  // Why `blocker`, which is in the way, keeps one from a lock of mode `wanted`. `upgrade`: one that
  // wants to write in a transaction that began with reading.
  Reason Of(const LockFacts& blocker, LockMode wanted, bool upgrade = false) const;

 private:
  Reason OnDatabase(const LockFacts& lock, LockMode wanted, bool upgrade) const;
  Reason OfPending(const LockFacts& lock, LockMode wanted, bool upgrade) const;
  Reason OfExclusive(const LockFacts& lock) const;

  const Database& database_;
  std::set<Who> recover_;     // who holds the recover lock exclusively
  std::set<Who> checkpoint_;  // likewise the checkpoint lock
};

// A request that was refused, or would be.
struct RefusedRequest {
  std::optional<ConnectionKey> asker{};  // null: nobody in particular
  Event wanted{};                        // resource, count, mode and SQLite's result
  ledger::Upgrade upgrade = ledger::Upgrade::kNone;
  // Before the call that was refused last; 0: it would be now. What is not recorded as taken before
  // that may not have been in its way; locks that only the kernel tells of, and such as count other
  // ticks, have no time.
  ledger::Ticks asked = 0;
  bool proven = false;  // nobody is told without a time
};

struct Explanation {
  Reason reason = Reason::kUnknown;
  std::vector<LockFacts> blockers{};  // of each in the way the lock that is
  // "pid 4711 (ruby import.rb) has held the WAL write lock for 12.4 s: INSERT INTO …"
  std::string who{};
  // "Waiting helps: set a busy timeout."
  std::string advice{};

  std::string Text() const;  // both
};

// `locks`: CollectLocks() of the two.
Explanation ExplainRefusal(const Look& look, const Database& database,
                           const std::vector<LockFacts>& locks, const RefusedRequest& request);

// "the WAL write lock", "RESERVED"
std::string LockInWords(Resource resource, LockMode mode);

}  // namespace lockscope::insight
