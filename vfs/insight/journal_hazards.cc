// What a rollback journal beside a database means to whoever opens it next.
//
//   nothing        none; empty; finished in PERSIST mode, or not synced yet (its first byte is
//                  zero); a live transaction's (RESERVED is held); and beside an empty database one
//                  of the transaction that would have created it: SQLite deletes it
//   hot-journal    it will be rolled back, as it must be
//   stale-journal  it looks hot, and belongs to no crashed transaction of this database as it is
//                  now: see AddStale(). No finished transaction of SQLite's leaves such a one
//                  behind
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "insight/connections.h"
#include "insight/hazard_rules.h"
#include "insight/recoveries.h"
#include "insight/summary.h"

namespace lockscope::insight {
namespace {

// A line feed in a name would begin a new line of the hazard.
std::string OnOneLine(std::string path) {
  std::replace(path.begin(), path.end(), '\n', '?');
  return path;
}

class Journal {
 public:
  Journal(const Scene& scene, std::vector<Hazard>& hazards)
      : scene_(scene), database_(scene.database()), hazards_(hazards) {}

  void Run() {
    if (!database_.journal.content_may_be_hot) return;
    if (IsRolledBackNow() || IsLive()) return;
    const Comparison& earlier = scene_.earlier;
    if (WalIsInUse()) {
      if (!earlier.Possible() || earlier.HasJournal()) AddBesideWal();
      return;
    }
    // Just so at both looks, and nobody's: a journal that is about to go is none.
    if (earlier.Possible() && !earlier.HasHotJournal()) return;
    if (database_.bytes == 0) {
      AddBesideNothing();
    } else if (SuperJournalIsGone()) {
      AddCommitted();
    } else {
      AddHot();
    }
  }

 private:
  std::string Name() const { return OnOneLine(database_.path) + "-journal"; }

  bool WalIsInUse() const { return database_.wal_mode && !scene_.now.locks.empty(); }

  void Add(const char* hazard, Severity severity, std::string text, std::string advice) {
    hazards_.push_back({.hazard = hazard,
                        .severity = severity,
                        .text = std::move(text),
                        .advice = std::move(advice)});
  }

  bool IsRolledBackNow() {
    if (WalIsInUse() || database_.bytes == 0) return false;
    for (const ConnectionFacts& facts : CollectConnections(scene_.look(), database_)) {
      if (facts.state != State::kRecovering) continue;
      const LockFacts who{.source = facts.view != nullptr ? Source::kShim : Source::kKernel,
                          .pid = facts.pid,
                          .view = facts.view,
                          .since = facts.since,
                          .sql = facts.sql};
      Add("hot-journal", Severity::kWarning,
          "hot journal: " + DescribeHolder(scene_.look(), who) +
              " is rolling a crashed transaction back now.",
          "wait: everybody else gets SQLITE_BUSY until it is done");
      hazards_.back().whose = who;
      return true;
    }
    return false;
  }

  bool IsLive() const {
    const auto& locks = scene_.now.locks;
    return std::any_of(locks.begin(), locks.end(), [](const LockFacts& lock) {
      return lock.resource == Resource::kDatabase && lock.granted &&
             lock.mode >= LockMode::kReserved;
    });
  }

  // Of a transaction over several databases the super-journal is deleted when all have committed:
  // SQLite deletes such a journal without playing it back.
  bool SuperJournalIsGone() const {
    const auto recoveries = CollectRecoveries(scene_.look(), database_);
    return std::any_of(recoveries.begin(), recoveries.end(), [](const SeenRecovery& recovery) {
      return recovery.state == SeenRecovery::State::kHot && recovery.super_journal == "missing";
    });
  }

  void AddHot() {
    Add("hot-journal", Severity::kDanger,
        "hot journal. A writer died in mid-transaction, and what it had changed waits to be rolled "
        "back: " +
            HumanBytes(database_.journal.bytes) + " in " + Name() +
            ".\nUntil then a read-only connection gets SQLITE_READONLY_ROLLBACK, and a copy of the "
            "database without its journal is corrupt.",
        "open the database once for reading and writing and read anything from it; never delete "
        "the journal");
  }

  // ---- stale ones ----

  // Who has the WAL open already does not look for a journal; who opens the database does, before
  // he knows of a WAL. He cannot get EXCLUSIVE as long as there are others, and plays the journal
  // back when they are gone.
  void AddBesideWal() {
    Add("stale-journal", Severity::kDanger,
        "stale journal. " + Name() + " (" + HumanBytes(database_.journal.bytes) +
            ") is no journal of this database, which is in WAL mode and in use.\nWho opens it now "
            "gets SQLITE_BUSY; who opens it first after all have closed it plays the journal back, "
            "over whatever was committed since.",
        "find out where it comes from (a restore, a copy), and move it away before the database is "
        "closed");
  }

  // A transaction that would have made the first page leaves one too, and SQLite's deleting it is
  // all that is needed then; but the journal of a database that had pages tells that these are
  // gone.
  void AddBesideNothing() {
    if (database_.journal.initial_pages.value_or(0) == 0) return;
    Add("stale-journal", Severity::kWarning,
        "stale journal. " + Name() + " belongs to a database of " +
            WithCommas(*database_.journal.initial_pages) +
            " pages, and the file beside it is empty: it was moved away, replaced or cut off "
            "without its journal.\nSQLite deletes the journal when the database is opened for "
            "writing next.",
        "move the journal to where its database is now, before either is opened");
  }

  void AddCommitted() {
    Add("stale-journal", Severity::kWarning,
        "stale journal. " + Name() +
            " names a super-journal that is gone: SQLite takes its transaction, over several "
            "databases, for committed, and deletes the journal without playing it back.",
        "if the databases were moved or copied without their super-journal, bring it back before "
        "any of them is opened; else nothing");
  }

  const Scene& scene_;
  const Database& database_;
  std::vector<Hazard>& hazards_;
};

}  // namespace

void AddJournalHazards(const Scene& scene, std::vector<Hazard>& hazards) {
  Journal(scene, hazards).Run();
}

}  // namespace lockscope::insight
