#include "insight/diagnosis.h"

#include <algorithm>

#include "insight/connections.h"
#include "insight/snapshots.h"
#include "insight/summary.h"

namespace lockscope::insight {
namespace {

// As many frames as SQLite lets gather before it checkpoints by itself: more of them waiting for one
// reader is no accident any more.
constexpr std::uint64_t kManyFrames = 1000;

std::optional<std::uint64_t> ConnectionOf(const LockFacts& lock) {
  if (lock.view == nullptr) return std::nullopt;
  return lock.view->info.id;
}

class Diagnosis {
 public:
  Diagnosis(const Look& look, const Database& database, const Look* earlier_look,
            const Database* earlier)
      : look_(look),
        database_(database),
        locks_(CollectLocks(look, database)),
        snapshots_(CollectSnapshots(look, database, locks_)) {
    if (earlier != nullptr) {
      earlier_ = CollectSnapshots(*earlier_look, *earlier, CollectLocks(*earlier_look, *earlier));
      have_earlier_ = true;
    }
  }

  std::vector<Finding> Run() {
    CheckHotJournal();
    CheckBackfillPins();
    CheckRestartPins();
    CheckLostLocks();
    ListHolders();
    if (trouble_ == 0) SayAllIsWell();
    return std::move(findings_);
  }

 private:
  Finding& Add(Severity severity, std::string hazard, std::string text, std::string advice = {}) {
    if (severity != Severity::kOk) ++trouble_;
    return findings_.emplace_back(Finding{.database = database_.path,
                                          .severity = severity,
                                          .hazard = std::move(hazard),
                                          .text = std::move(text),
                                          .advice = std::move(advice)});
  }

  void Blame(Finding& finding, const LockFacts& lock) {
    finding.pid = lock.pid;
    finding.connection = ConnectionOf(lock);
  }

  // "one read snapshot for 3 h 12 min, explicit transaction" and its statement on a line of its own.
  std::string DescribeSnapshot(const Snapshot& snapshot) const {
    std::string text = DescribeHolder(look_, snapshot.lock) + ": one read snapshot";
    if (snapshot.slot) text += " on read slot " + std::to_string(*snapshot.slot);
    if (snapshot.frame) text += " at frame " + WithCommas(*snapshot.frame);
    if (const auto age_ms = look_.AgeMs(snapshot.lock.since)) {
      text += " for " + HumanDuration(*age_ms);
    }
    if (const auto* view = snapshot.lock.view) {
      if (view->held.autocommit == ledger::Autocommit::kOff) text += ", explicit transaction";
      if (view->held.autocommit == ledger::Autocommit::kOn) text += ", unfinished statement";
    }
    if (snapshot.behind_frames.value_or(0) > 0) {
      text += ", " + WithCommas(*snapshot.behind_frames) + " frames behind";
    }
    if (snapshot.lock.sql) text += "\n" + *snapshot.lock.sql;
    return text;
  }

  // Whether the snapshot was there, with the same mark, in the earlier look.
  bool Stays(const Snapshot& snapshot) const {
    if (!have_earlier_) return true;
    return std::any_of(earlier_.begin(), earlier_.end(), [&snapshot](const Snapshot& before) {
      return before.lock.pid == snapshot.lock.pid && before.slot == snapshot.slot &&
             before.mark == snapshot.mark &&
             ConnectionOf(before.lock) == ConnectionOf(snapshot.lock);
    });
  }

  void CheckBackfillPins() {
    // All that stop checkpoints at the lowest mark: ending only one of them would help nobody.
    const Snapshot* strongest = StrongestPin(snapshots_, Pin::kBackfill);
    if (strongest == nullptr) return;
    const std::uint64_t stop = strongest->mark.value_or(database_.wal_index->backfilled);
    for (const Snapshot& snapshot : snapshots_) {
      if (snapshot.pin != Pin::kBackfill || !Stays(snapshot)) continue;
      const bool first = snapshot.mark.value_or(0) == strongest->mark.value_or(0);
      const std::uint64_t pinned = snapshot.pinned_bytes.value_or(0);
      const bool many = pinned >= kManyFrames * database_.wal_index->FrameBytes();
      std::string text = "starved checkpoint. ";
      text += first ? "Nothing past frame " + WithCommas(stop) + " can be checkpointed, the WAL grows"
                    : "Checkpoints would stop here next, at frame " +
                          WithCommas(snapshot.mark.value_or(0));
      text += " (" + HumanBytes(pinned) + " pinned).\n" + DescribeSnapshot(snapshot);
      Finding& finding = Add(many ? Severity::kDanger : Severity::kWarning, "starved-checkpoint",
                             std::move(text),
                             "end that transaction (COMMIT), or finish or reset the statement; then "
                             "the next checkpoint can run");
      Blame(finding, snapshot.lock);
    }
  }

  void CheckRestartPins() {
    for (const Snapshot& snapshot : snapshots_) {
      if (snapshot.pin != Pin::kRestart || !Stays(snapshot)) continue;
      const bool many = database_.wal_index->max_frame >= kManyFrames;
      // A reader at the tip is what every reader is for a moment. It matters once the WAL is long.
      if (!many || !have_earlier_) continue;
      Finding& finding = Add(
          Severity::kWarning, "long-snapshot",
          "the WAL cannot start over while this snapshot is held, and grows with every commit (" +
              HumanBytes(snapshot.pinned_bytes.value_or(0)) + " now).\n" +
              DescribeSnapshot(snapshot),
          "if it is not meant to be open, end that transaction or finish the statement");
      Blame(finding, snapshot.lock);
    }
  }

  void CheckHotJournal() {
    if (!database_.journal.content_may_be_hot || database_.bytes == 0 || database_.wal_mode) return;
    const LockFacts* strongest = nullptr;
    for (const LockFacts& lock : locks_) {
      if (lock.resource != Resource::kDatabase || !lock.granted) continue;
      if (strongest == nullptr || lock.mode > strongest->mode) strongest = &lock;
    }
    for (const ConnectionFacts& facts : CollectConnections(look_, database_)) {
      if (facts.state != State::kRecovering) continue;
      Finding& finding = Add(Severity::kWarning, "hot-journal",
                             "a crashed transaction is being rolled back now, by " +
                                 DescribeHolder(look_, {.pid = facts.pid, .view = facts.view}) + ".",
                             "wait: readers get SQLITE_BUSY until it is done");
      finding.pid = facts.pid;
      return;
    }
    if (strongest != nullptr && strongest->mode >= LockMode::kReserved) return;  // a live writer's
    Add(Severity::kDanger, "hot-journal",
        "hot journal. A writer died in mid-transaction; " + HumanBytes(database_.journal.bytes) +
            " in " + database_.path + "-journal wait to be rolled back. A read-only connection gets "
            "SQLITE_READONLY_ROLLBACK; a copy of the database without its journal is corrupt.",
        "open the database once with a connection that may write and read anything from it; never "
        "delete the journal");
  }

  void CheckLostLocks() {
    for (const LockFacts& lock : locks_) {
      if (lock.verified != false) continue;
      Finding& finding =
          Add(Severity::kDanger, "lost-lock",
              DescribeHolder(look_, lock) + " believes it holds " + Name(lock.resource) + " " +
                  Name(lock.mode) + ", but the kernel has no such lock: some code in that process "
                  "opened and closed the file by itself, which drops every lock on it.",
              "stop that process's use of the database at once and check the database");
      Blame(finding, lock);
    }
  }

  void ListHolders() {
    for (const ConnectionFacts& facts : CollectConnections(look_, database_)) {
      if (facts.state == State::kIdle) continue;
      const LockFacts holder{.pid = facts.pid, .view = facts.view};
      std::string text = DescribeHolder(look_, holder) + " is " + Name(facts.state);
      if (const auto age_ms = look_.AgeMs(facts.since)) text += " for " + HumanDuration(*age_ms);
      text += ", holds" + HeldBy(facts);
      if (facts.sql) text += "\n" + *facts.sql;
      Finding& finding = Add(Severity::kOk, "holder", std::move(text));
      Blame(finding, holder);
    }
    const Snapshot* oldest = nullptr;
    for (const Snapshot& snapshot : snapshots_) {
      if (!snapshot.slot) continue;
      if (oldest == nullptr || snapshot.mark.value_or(0) < oldest->mark.value_or(0)) {
        oldest = &snapshot;
      }
    }
    if (oldest == nullptr) return;
    const Pin pin = oldest->pin.value_or(Pin::kNone);
    Finding& finding = Add(Severity::kOk, "oldest-snapshot",
                           "oldest snapshot: " + DescribeSnapshot(*oldest) + "\npins: " + Name(pin));
    Blame(finding, oldest->lock);
  }

  std::string HeldBy(const ConnectionFacts& facts) const {
    std::string text;
    for (const LockFacts& lock : locks_) {
      if (!lock.granted || lock.pid != facts.pid || lock.view != facts.view) continue;
      if (lock.resource == Resource::kWalOpen) continue;
      text += std::string(text.empty() ? " " : ", ") + Name(lock.resource) + " " + Name(lock.mode);
    }
    return text.empty() ? " nothing" : text;
  }

  void SayAllIsWell() {
    const bool waiting = std::any_of(locks_.begin(), locks_.end(),
                                     [](const LockFacts& lock) { return !lock.granted; });
    std::string text = waiting ? "" : "nobody is seen waiting; ";
    text += "no hot journal; no checkpoint is starved";
    Add(Severity::kOk, "state", std::move(text));
  }

  const Look& look_;
  const Database& database_;
  std::vector<LockFacts> locks_;
  std::vector<Snapshot> snapshots_;
  std::vector<Snapshot> earlier_;
  bool have_earlier_ = false;
  int trouble_ = 0;
  std::vector<Finding> findings_;
};

}  // namespace

const char* Name(Severity severity) {
  switch (severity) {
    case Severity::kDanger: return "danger";
    case Severity::kWarning: return "warning";
    case Severity::kOk: break;
  }
  return "ok";
}

std::vector<Finding> Diagnose(const Look& look, const Look* earlier) {
  std::vector<Finding> all;
  for (std::size_t i = 0; i < look.databases().size(); ++i) {
    const Database* before = earlier != nullptr ? &earlier->databases().at(i) : nullptr;
    auto findings = Diagnosis(look, look.databases().at(i), earlier, before).Run();
    std::move(findings.begin(), findings.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace lockscope::insight
