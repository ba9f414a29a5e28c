#include "insight/hazards.h"

#include <algorithm>

#include "insight/hazard_rules.h"
#include "insight/summary.h"

namespace lockscope::insight {

const char* Name(Severity severity) {
  switch (severity) {
    case Severity::kDanger:
      return "danger";
    case Severity::kWarning:
      return "warning";
    case Severity::kOk:
      break;
  }
  return "ok";
}

void AddLostLocks(const Scene& scene, std::vector<Hazard>& hazards) {
  for (const LockFacts& lock : scene.now.locks) {
    if (lock.verified != false) continue;
    hazards.push_back(
        {.hazard = "lost-lock",
         .severity = Severity::kDanger,
         .whose = lock,
         .text = "lost lock. " + DescribeHolder(scene.look(), lock) + " believes it holds " +
                 Name(lock.resource) + " " + Name(lock.mode) +
                 ", and the kernel has no such lock: some code in that process opened and closed "
                 "the file by itself, which drops every lock on it.",
         .advice =
             "stop that process's use of the database at once, and run PRAGMA integrity_check"});
  }
}

std::vector<Hazard> CollectHazards(const Scene& scene) {
  std::vector<Hazard> hazards;
  AddJournalHazards(scene, hazards);
  AddLostLocks(scene, hazards);
  AddOpenFileHazards(scene, hazards);
  AddConnectionHazards(scene, hazards);
  AddFileHazards(scene, hazards);
  AddPinHazards(scene, hazards);
  return hazards;
}

bool NeedsAnotherLook(const Sight& sight) {
  const Database& database = *sight.database;
  const bool long_wal = database.wal_index && database.wal_index->max_frame >= kManyFrames;
  return database.journal.content_may_be_hot || WalIndexIsBroken(sight) ||
         StrongestPin(sight.snapshots, Pin::kBackfill) != nullptr ||
         (long_wal && StrongestPin(sight.snapshots, Pin::kRestart) != nullptr);
}

}  // namespace lockscope::insight
