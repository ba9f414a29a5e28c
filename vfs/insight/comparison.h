// Comparison: what stayed and what changed between two looks at one database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "insight/locks.h"
#include "insight/look.h"
#include "insight/slot_watch.h"
#include "insight/snapshots.h"

namespace lockscope::insight {

// Who: a connection, or all of a process of which only the kernel knows.
struct Who {
  std::optional<std::int64_t> pid;
  std::optional<std::uint64_t> connection;
  std::uint64_t instance = 0;  // of a process that publishes its connections; 0: of ours, or none

  friend bool operator==(const Who&, const Who&) = default;
  friend auto operator<=>(const Who&, const Who&) = default;  // NOLINT(modernize-use-nullptr)
};
Who WhoOf(std::optional<std::int64_t> pid, const ledger::ConnectionView* view);
Who WhoOf(const LockFacts& lock);

// One database as one look saw it.
struct Sight {
  Sight(const Look& look_at, const Database& of);

  const Look* look;
  const Database* database;
  std::vector<LockFacts> locks;
  std::vector<Snapshot> snapshots;
};

// Whether the wal-index cannot be what a writer at work leaves for a moment: its copies differ, or
// its checksum is wrong, and nobody holds the write or the recovery lock.
bool WalIndexIsBroken(const Sight& sight);

class Comparison {
 public:
  // All must outlive it. `before` null: there was no earlier look, and Possible() is all that may
  // be asked. `watch`, where there is one, watched in between.
  Comparison(const Sight* before, const Sight& now, const SlotWatch* watch)
      : before_(before), now_(now), watch_(watch) {}

  bool Possible() const { return before_ != nullptr; }
  // "0.5 s apart"
  std::string Distance() const;
  // Whether the same one held it then too. That it was held all the while cannot be known of
  // another process.
  bool Has(const LockFacts& lock) const;
  // The same, with the same mark, in a slot that nobody saw free in between. (A new reader takes
  // the newest mark: one that is old twice is the same reader's. But where nobody commits the
  // newest stays the same, and a reader that comes and goes is there at both looks.)
  bool Has(const Snapshot& snapshot) const;
  // Whether somebody committed in between. Where it cannot be told: true, so that nobody is
  // accused.
  bool Committed() const;
  // Whether a hot journal was there before, just so, and nobody's then: or the writer whose it was
  // is gone. (Looks read the journal before the locks: of a writer that ends in between, a journal
  // without a lock is seen once, but not twice without a change of the database.)
  bool HasHotJournal() const;
  // Whether the very same journal, which could be hot, was there before.
  bool HasJournal() const;
  // Whether the wal-index was torn or damaged before, while nobody was writing it.
  bool WalIndexWasBroken() const;

 private:
  bool SlotZeroCanHaveStayed() const;

  const Sight* before_;
  const Sight& now_;
  const SlotWatch* watch_;
};

}  // namespace lockscope::insight
