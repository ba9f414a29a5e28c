// Hazards: what endangers a database now, by one set of rules for the table and for `why`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "insight/comparison.h"
#include "insight/locks.h"
#include "insight/look.h"
#include "insight/process_scan.h"
#include "insight/slot_watch.h"

namespace lockscope::insight {

enum class Severity { kOk, kWarning, kDanger };
const char* Name(Severity severity);

// One hazard is one of these words:
//
//   hot-journal         a crashed transaction waits to be rolled back (danger), or is being
//                       (warning)
//   stale-journal       a journal that belongs to no crashed transaction of this database, and is
//                       in the way of its users, or will be played back into it
//   lost-lock           a lock that a process believes it has is not in the kernel; danger
//   split-wal           a process uses a -wal, -shm or database file that is not the one of that
//                       name; danger
//   two-sqlites         two copies of SQLite in one process: danger where both have the database
//                       open, warning where one has it open and another could
//   wal-reset-bug       a process whose SQLite has it checkpoints without the guard; warning
//   immutable-open      opened as immutable, and changed; danger
//   unsafe-filesystem   its locks are not to be relied on: danger, or warning
//   torn-wal-index      the wal-index has to be recovered: warning, or danger where somebody keeps
//                       everybody from doing so
//   starved-checkpoint  a snapshot keeps checkpoints from going on; danger from 1,000 frames
//                       on, which is where SQLite by default would have checkpointed long ago
//   long-snapshot       a snapshot keeps a long WAL from starting over, or is older than
//                       snapshot_warn_ms; warning
struct Hazard {
  const char* hazard = "";
  Severity severity = Severity::kWarning;
  // By whom: the lock that tells it, or only a process (LockFacts::pid) or connection (view). Null:
  // it is nobody's.
  std::optional<LockFacts> whose{};
  std::string text{};  // lines; the first says it in short. Without the holder's SQL
  std::string advice{};
};

// One database now, and what changed since an earlier look at it.
struct Scene {
  const Sight& now;
  const Comparison& earlier;
  const ProcessScan& processes;

  const Look& look() const { return *now.look; }
  const Database& database() const { return *now.database; }
};

// The hazards of one database. Without an earlier look (Comparison::Possible()) every pin is taken
// as it is seen, and no wal-index is broken.
std::vector<Hazard> CollectHazards(const Scene& scene);

// Whether this look alone cannot tell: what it sees is a hazard only if it stays.
bool NeedsAnotherLook(const Sight& sight);

// As many frames as SQLite lets gather before it checkpoints by itself: more of them waiting for
// one reader is no accident any more.
inline constexpr std::uint64_t kManyFrames = 1000;

}  // namespace lockscope::insight
