#include "insight/diagnosis.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "insight/comparison.h"
#include "insight/connections.h"
#include "insight/hazards.h"
#include "insight/process_scan.h"
#include "insight/snapshots.h"
#include "insight/summary.h"
#include "insight/wait_findings.h"

namespace lockscope::insight {
namespace {

constexpr std::size_t kNamedAtMost = 5;

std::string LockName(const LockFacts& lock) {
  return std::string(Name(lock.resource)) + " " + Name(lock.mode);
}

// A line feed in a name would begin a new line of the finding.
std::string OnOneLine(std::string path) {
  std::replace(path.begin(), path.end(), '\n', '?');
  return path;
}

std::string Sentence(const std::vector<std::string>& facts) {
  std::string text;
  for (const std::string& fact : facts) {
    if (!text.empty()) text += "; ";
    text += fact;
  }
  return text;
}

class Diagnosis {
 public:
  explicit Diagnosis(const Scene& scene)
      : scene_(scene),
        look_(scene.look()),
        database_(scene.database()),
        locks_(scene.now.locks),
        snapshots_(scene.now.snapshots),
        connections_(CollectConnections(look_, database_)),
        earlier_(scene.earlier) {}

  std::vector<Finding> Run() {
    CheckHazards();
    CheckWhoKeepsOthersOut();
    CheckWalIndex();
    std::stable_sort(findings_.begin(), findings_.end(),
                     [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
    ListHolders();
    NameOldestSnapshot();
    ListIdle();
    SayWhatIsWell();
    return std::move(findings_);
  }

 private:
  Finding& Add(Severity severity, std::string hazard, std::string text, std::string advice = {}) {
    return findings_.emplace_back(Finding{.database = database_.path,
                                          .severity = severity,
                                          .hazard = std::move(hazard),
                                          .text = std::move(text),
                                          .advice = std::move(advice)});
  }

  static void Blame(Finding& finding, const Who& who) {
    finding.pid = who.pid;
    finding.connection = who.connection;
  }

  bool Found(const char* hazard) const {
    return std::any_of(findings_.begin(), findings_.end(),
                       [hazard](const Finding& finding) { return finding.hazard == hazard; });
  }

  std::string Describe(const LockFacts& lock) const { return DescribeHolder(look_, lock); }

  static std::string SqlLine(const std::optional<std::string>& sql) {
    return sql ? "\n" + OneLine(*sql) : std::string();
  }

  // ---- hazards ----

  void CheckHazards() {
    for (Hazard& hazard : CollectHazards(scene_)) {
      const std::string_view word = hazard.hazard;
      // What a reader is blamed for already says how old its snapshot is.
      const bool reader = word == "starved-checkpoint" || word == "long-snapshot";
      if (word == "long-snapshot" && blamed_readers_.count(WhoOf(*hazard.whose)) > 0) continue;
      if (hazard.whose) hazard.text += SqlLine(hazard.whose->sql);
      Finding& finding =
          Add(hazard.severity, hazard.hazard, std::move(hazard.text), std::move(hazard.advice));
      if (!hazard.whose) continue;
      Blame(finding, WhoOf(*hazard.whose));
      if (reader) blamed_readers_.insert(WhoOf(*hazard.whose));
      if (word == "hot-journal") blamed_writers_.insert(WhoOf(*hazard.whose));
    }
  }

  // ---- locks ----

  void CheckWhoKeepsOthersOut() {
    if (!earlier_.Possible()) return;
    for (const ConnectionFacts& facts : connections_) {
      const Who who = WhoOf(facts.pid, facts.view);
      if (blamed_writers_.count(who) > 0) continue;
      if (const LockFacts* lock = WorstThatStays(who)) Accuse(*lock);
    }
  }

  bool Holds(const Who& who, Resource resource) const {
    return std::any_of(locks_.begin(), locks_.end(), [&](const LockFacts& lock) {
      return lock.granted && lock.resource == resource && lock.mode == LockMode::kExclusive &&
             WhoOf(lock) == who;
    });
  }

  // Of the locks that keep others out, held at both looks: recovery says more than the write lock
  // that goes with it, and so on. Null for none.
  const LockFacts* WorstThatStays(const Who& who) const {
    const LockFacts* worst = nullptr;
    for (const LockFacts& lock : locks_) {
      const bool keeps_out = lock.resource == Resource::kWalWrite ||
                             lock.resource == Resource::kWalRecover ||
                             lock.resource == Resource::kDatabase;
      const bool strong = lock.resource == Resource::kDatabase ? lock.mode >= LockMode::kReserved
                                                               : lock.mode == LockMode::kExclusive;
      if (!keeps_out || !strong || !lock.granted || WhoOf(lock) != who) continue;
      if (!earlier_.Has(lock) || !KeepsOutStill(lock)) continue;
      if (worst == nullptr || lock.resource > worst->resource) worst = &lock;
    }
    return worst;
  }

  // A writer that commits lets others in between. Recovery, and EXCLUSIVE in WAL mode, do not end
  // with a commit.
  bool KeepsOutStill(const LockFacts& lock) const {
    const bool database = lock.resource == Resource::kDatabase;
    if (lock.resource == Resource::kWalRecover || (database && database_.wal_mode)) return true;
    return !earlier_.Committed();
  }

  struct Accusation {
    const char* hazard;
    std::string text;
    const char* advice;
  };

  Accusation AccusationFor(const LockFacts& lock) const {
    static constexpr const char* kEndIt =
        "COMMIT or ROLLBACK there; if it is meant to take that long, give the others a busy "
        "timeout";
    if (lock.resource == Resource::kWalRecover) {
      return {"wal-recovery",
              "the WAL is being recovered: everybody else gets SQLITE_BUSY_RECOVERY",
              "wait until it is done"};
    }
    if (lock.resource == Resource::kWalWrite && Holds(WhoOf(lock), Resource::kWalCheckpoint)) {
      return {
          "checkpoint",
          "a checkpoint waits for readers, and keeps writers out meanwhile: they get SQLITE_BUSY",
          "end the readers' transactions, or checkpoint PASSIVE, which waits for nobody"};
    }
    if (lock.mode == LockMode::kPending) {
      return {
          "pending-writer",
          "a writer waits to commit until the readers are gone, and no new reader is let in; it "
          "waits for " +
              Readers(WhoOf(lock)),
          "end the readers' transactions"};
    }
    if (lock.resource == Resource::kDatabase && lock.mode == LockMode::kExclusive) {
      return {"exclusive", "the database is locked: nobody else can read or write",
              database_.wal_mode
                  ? "exclusive locking mode ends with PRAGMA locking_mode=NORMAL and "
                    "the next read, or when the connection closes"
                  : kEndIt};
    }
    return {"writer", "open write transaction: nobody else can write, they get SQLITE_BUSY",
            kEndIt};
  }

  void Accuse(const LockFacts& lock) {
    const Accusation accusation = AccusationFor(lock);
    const char* idle = earlier_.Committed() ? "" : ", nothing committed in between";
    Blame(Add(Severity::kWarning, accusation.hazard,
              accusation.text + ".\n" + Describe(lock) + ": " + LockName(lock) +
                  DescribeAge(look_, lock) + ", held at two looks " + earlier_.Distance() + idle +
                  SqlLine(lock.sql),
              accusation.advice),
          WhoOf(lock));
    blamed_writers_.insert(WhoOf(lock));
  }

  // Everybody but `writer` who holds SHARED.
  std::string Readers(const Who& writer) const {
    std::vector<std::string> readers;
    for (const LockFacts& lock : locks_) {
      if (lock.resource != Resource::kDatabase || !lock.granted || WhoOf(lock) == writer) continue;
      readers.push_back(Describe(lock));
    }
    return readers.empty() ? "readers that are gone by now" : List(readers);
  }

  void CheckWalIndex() {
    if (database_.wal_index || snapshots_.empty() || !database_.wal_mode) return;
    if (Found("torn-wal-index")) return;
    Add(Severity::kWarning, "unreadable",
        "the wal-index " + OnOneLine(database_.path) +
            "-shm cannot be read, or is being written: what the "
            "snapshots see and pin cannot be told.",
        "run as the database's owner; if that changes nothing, the next reader will recover it");
  }

  // ---- facts ----

  void ListHolders() {
    for (const ConnectionFacts& facts : connections_) {
      const Who who = WhoOf(facts.pid, facts.view);
      if (facts.state == State::kIdle || blamed_writers_.count(who) > 0) continue;
      if (facts.state == State::kReading && blamed_readers_.count(who) > 0) continue;
      std::string text =
          Describe({.pid = facts.pid, .view = facts.view}) + " is " + Name(facts.state);
      if (const auto age_ms = look_.AgeMs(facts.since)) text += " for " + HumanDuration(*age_ms);
      text += LocksOf(who);
      Blame(Add(Severity::kOk, "holder", text + SqlLine(facts.sql)), who);
    }
  }

  // ", holds wal-write EXCLUSIVE, wal-read-1 SHARED". What every connection to a WAL database holds
  // is left out.
  std::string LocksOf(const Who& who) const {
    std::vector<std::string> held;
    std::vector<std::string> wanted;
    for (const LockFacts& lock : locks_) {
      const bool always = lock.resource == Resource::kWalOpen ||
                          (database_.wal_mode && lock.resource == Resource::kDatabase &&
                           lock.mode == LockMode::kShared);
      if (always || WhoOf(lock) != who) continue;
      (lock.granted ? held : wanted).push_back(LockName(lock));
    }
    std::string text;
    for (const std::string& lock : wanted) text += ", wants " + lock;
    for (std::size_t i = 0; i < held.size(); ++i) text += (i == 0 ? ", holds " : ", ") + held[i];
    return text;
  }

  void NameOldestSnapshot() {
    const Snapshot* oldest = nullptr;
    for (const Snapshot& snapshot : snapshots_) {
      if (!snapshot.slot) continue;
      if (oldest == nullptr || snapshot.mark.value_or(0) < oldest->mark.value_or(0)) {
        oldest = &snapshot;
      }
    }
    if (oldest == nullptr || blamed_readers_.count(WhoOf(oldest->lock)) > 0) return;
    std::string pins = ", what it pins cannot be told";
    if (oldest->pin == Pin::kNone) pins = ", pins nothing";
    if (oldest->pin == Pin::kBackfill) pins = ", and checkpoints stop there";
    if (oldest->pin == Pin::kRestart) pins = ", and the WAL cannot start over meanwhile";
    Blame(Add(Severity::kOk, "oldest-snapshot",
              "oldest snapshot: " + Describe(oldest->lock) + ": " +
                  DescribeSnapshot(look_, *oldest) + pins),
          WhoOf(oldest->lock));
  }

  void ListIdle() {
    std::vector<std::string> idle;
    for (const ConnectionFacts& facts : connections_) {
      if (facts.state == State::kIdle)
        idle.push_back(Describe({.pid = facts.pid, .view = facts.view}));
    }
    if (!idle.empty()) Add(Severity::kOk, "idle", "open and idle: " + List(idle));
  }

  static std::string List(const std::vector<std::string>& names) {
    std::string text;
    for (std::size_t i = 0; i < std::min(names.size(), kNamedAtMost); ++i) {
      text += (i == 0 ? "" : ", ") + names[i];
    }
    const std::size_t more = names.size() - std::min(names.size(), kNamedAtMost);
    return more == 0 ? text : text + " and " + std::to_string(more) + " more";
  }

  void SayWhatIsWell() {
    std::vector<std::string> well;
    if (connections_.empty()) well.emplace_back("nobody is seen to have it open");
    if (!Found("hot-journal")) well.emplace_back("no hot journal");
    const bool pins_told = database_.wal_index || connections_.empty();
    if (database_.wal_mode && pins_told && !Found("starved-checkpoint")) {
      well.emplace_back("no starved checkpoint");
    }
    const bool kept_out = std::any_of(locks_.begin(), locks_.end(), [](const LockFacts& lock) {
      return lock.resource == Resource::kDatabase ? lock.mode >= LockMode::kReserved
                                                  : lock.resource == Resource::kWalWrite;
    });
    if (!kept_out && !connections_.empty()) well.emplace_back("nobody is writing");
    const bool any_unverified = std::any_of(locks_.begin(), locks_.end(), [](const auto& lock) {
      return lock.source == Source::kShim && lock.granted && lock.verified != true;
    });
    if (!database_.Connections().empty() && !any_unverified) {
      well.emplace_back("every recorded lock is held in the kernel");
    }
    if (!well.empty()) Add(Severity::kOk, "state", Sentence(well));
  }

  const Scene& scene_;
  const Look& look_;
  const Database& database_;
  const std::vector<LockFacts>& locks_;
  const std::vector<Snapshot>& snapshots_;
  std::vector<ConnectionFacts> connections_;
  const Comparison& earlier_;
  std::set<Who> blamed_readers_;
  std::set<Who> blamed_writers_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> Diagnose(const Look& look, const Look* earlier, const SlotWatch* watch) {
  std::vector<Finding> all;
  const ProcessScan processes(look);
  for (std::size_t i = 0; i < look.databases().size(); ++i) {
    const Sight now(look, look.databases().at(i));
    std::optional<Sight> before;
    if (earlier != nullptr) before.emplace(*earlier, earlier->databases().at(i));
    const Comparison comparison(before ? &*before : nullptr, now, watch);
    auto findings = Diagnosis({now, comparison, processes}).Run();
    auto waits = WaitFindings(look, look.databases().at(i));
    findings.insert(findings.begin(), std::make_move_iterator(waits.begin()),
                    std::make_move_iterator(waits.end()));
    std::stable_sort(findings.begin(), findings.end(),
                     [](const Finding& a, const Finding& b) { return a.severity > b.severity; });
    std::move(findings.begin(), findings.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace lockscope::insight
