#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "insight/hazard_rules.h"
#include "insight/snapshots.h"
#include "insight/summary.h"
#include "settings/settings.h"

namespace lockscope::insight {
namespace {

class Pins {
 public:
  Pins(const Scene& scene, std::vector<Hazard>& hazards)
      : scene_(scene), snapshots_(scene.now.snapshots), hazards_(hazards) {}

  void Run() {
    AddBackfillPins();
    AddRestartPins();
    AddOldSnapshots();
  }

 private:
  // The holder and its snapshot.
  std::string HolderOf(const Snapshot& snapshot) const {
    return DescribeHolder(scene_.look(), snapshot.lock) + ": " +
           DescribeSnapshot(scene_.look(), snapshot);
  }

  void AddBackfillPins() {
    const Snapshot* strongest = StrongestPin(snapshots_, Pin::kBackfill);
    if (strongest == nullptr) return;
    // Every one that stops checkpoints, the first to stop them first: to end only that one may help
    // only as far as the next.
    std::vector<const Snapshot*> pins;
    for (const Snapshot& snapshot : snapshots_) {
      if (snapshot.pin != Pin::kBackfill) continue;
      if (!scene_.earlier.Possible() || scene_.earlier.Has(snapshot)) pins.push_back(&snapshot);
    }
    std::stable_sort(pins.begin(), pins.end(), [](const Snapshot* a, const Snapshot* b) {
      return a->mark.value_or(0) < b->mark.value_or(0);
    });
    for (const Snapshot* snapshot : pins) {
      AddBackfillPin(*snapshot, snapshot->mark.value_or(0) == strongest->mark.value_or(0));
    }
  }

  void AddBackfillPin(const Snapshot& snapshot, bool first) {
    const format::WalIndex& wal = *scene_.database().wal_index;
    const std::uint64_t stop = snapshot.mark.value_or(wal.backfilled);
    const std::uint64_t pinned = snapshot.pinned_bytes.value_or(0);
    const bool many = pinned >= kManyFrames * wal.FrameBytes();
    std::string text = "starved checkpoint. ";
    if (!first) {
      text += "Once the readers before it are gone, checkpoints stop at frame " + WithCommas(stop);
    } else if (stop == 0) {
      text += "Nothing at all can be checkpointed, the WAL grows";
    } else {
      text += "Nothing past frame " + WithCommas(stop) + " can be checkpointed, the WAL grows";
    }
    text += ": " + HumanBytes(pinned) + " pinned.\n" + HolderOf(snapshot);
    hazards_.push_back(
        {.hazard = "starved-checkpoint",
         .severity = many ? Severity::kDanger : Severity::kWarning,
         .whose = snapshot.lock,
         .text = std::move(text),
         .advice = "end that transaction (COMMIT or ROLLBACK), or finish or reset the statement; "
                   "then the next checkpoint can run"});
  }

  void AddRestartPins() {
    // A reader at the tip is what every reader is for a moment. It matters where the WAL is long
    // already and the same reader is seen twice.
    const auto& wal_index = scene_.database().wal_index;
    if (!scene_.earlier.Possible() || !wal_index || wal_index->max_frame < kManyFrames) return;
    if (StrongestPin(snapshots_, Pin::kBackfill) != nullptr) return;  // that comes first
    for (const Snapshot& snapshot : snapshots_) {
      if (snapshot.pin != Pin::kRestart || !scene_.earlier.Has(snapshot)) continue;
      if (Writes(snapshot)) continue;  // of a writer, that is the news
      hazards_.push_back(
          {.hazard = "long-snapshot",
           .severity = Severity::kWarning,
           .whose = snapshot.lock,
           .text = "long WAL. All of it can be checkpointed, but it cannot start over while this "
                   "snapshot is held, and grows with every commit: " +
                   HumanBytes(snapshot.pinned_bytes.value_or(0)) + " now.\n" + HolderOf(snapshot),
           .advice = "if it is not meant to be open, end that transaction or finish the "
                     "statement"});
    }
  }

  // Whatever they pin. Only of connections that tell since when: the kernel does not.
  void AddOldSnapshots() {
    const std::int64_t limit_ms = settings::SnapshotWarnMs();
    for (const Snapshot& snapshot : snapshots_) {
      const auto age_ms = scene_.look().AgeMs(snapshot.lock.since);
      if (!age_ms || *age_ms < limit_ms || IsLong(snapshot)) continue;
      hazards_.push_back({.hazard = "long-snapshot",
                          .severity = Severity::kWarning,
                          .whose = snapshot.lock,
                          .text = "old snapshot, " + HumanDuration(*age_ms) +
                                  " by now: longer than snapshot_warn_ms, " +
                                  HumanDuration(limit_ms) + ", allows.\n" + HolderOf(snapshot),
                          .advice =
                              "if it is not meant to be open, end that transaction or finish the "
                              "statement"});
    }
  }

  bool IsLong(const Snapshot& snapshot) const {
    return std::any_of(hazards_.begin(), hazards_.end(), [&](const Hazard& hazard) {
      return std::string_view(hazard.hazard) == "long-snapshot" &&
             WhoOf(*hazard.whose) == WhoOf(snapshot.lock);
    });
  }

  bool Writes(const Snapshot& snapshot) const {
    const auto& locks = scene_.now.locks;
    return std::any_of(locks.begin(), locks.end(), [&](const LockFacts& lock) {
      return lock.granted && lock.resource == Resource::kWalWrite &&
             lock.mode == LockMode::kExclusive && WhoOf(lock) == WhoOf(snapshot.lock);
    });
  }

  const Scene& scene_;
  const std::vector<Snapshot>& snapshots_;
  std::vector<Hazard>& hazards_;
};

}  // namespace

void AddPinHazards(const Scene& scene, std::vector<Hazard>& hazards) { Pins(scene, hazards).Run(); }

}  // namespace lockscope::insight
