#include <algorithm>
#include <string>
#include <vector>

#include "insight/hazard_rules.h"
#include "insight/summary.h"
#include "kernel/file_systems.h"

namespace lockscope::insight {
namespace {

void AddFileSystem(const Scene& scene, std::vector<Hazard>& hazards) {
  const auto type = kernel::FileSystemOf(scene.database().path);
  if (!type) return;
  const kernel::LockSafety safety = kernel::SafetyOf(*type);
  if (safety == kernel::LockSafety::kSafe) return;
  const bool unsafe = safety == kernel::LockSafety::kUnsafe;
  std::string text = "unsafe file system: the database lies on " + *type + ". ";
  text += unsafe ? "Its locks may not reach everybody who can change the file"
                 : "Whether its locks reach everybody who can change the file depends on how it is "
                   "set up";
  if (scene.database().wal_mode) {
    text += ", and the -shm of a WAL is shared by the processes of one machine alone";
  }
  hazards.push_back(
      {.hazard = "unsafe-filesystem",
       .severity = unsafe ? Severity::kDanger : Severity::kWarning,
       .text = text + ".",
       .advice = unsafe ? "keep the database on a local file system, and let one process there "
                          "serve the others"
                        : "make sure that only one machine uses it, or keep it on a local file "
                          "system"});
}

// Recovery needs the checkpoint and the recovery lock, and the write lock too where the reader has
// not got it.
const LockFacts* InTheWayOfRecovery(const Sight& now) {
  const auto found = std::find_if(now.locks.begin(), now.locks.end(), [](const LockFacts& lock) {
    return lock.granted && lock.resource == Resource::kWalCheckpoint;
  });
  return found == now.locks.end() ? nullptr : &*found;
}

// What was torn at two looks, with nobody to write it, its writer died over.
void AddTornWalIndex(const Scene& scene, std::vector<Hazard>& hazards) {
  if (!WalIndexIsBroken(scene.now)) return;
  if (!scene.earlier.Possible() || !scene.earlier.WalIndexWasBroken()) return;
  const bool torn = scene.database().wal_index_state == format::WalIndexState::kTorn;
  Hazard hazard{.hazard = "torn-wal-index",
                .severity = Severity::kWarning,
                .text = std::string("torn wal-index. ") +
                        (torn ? "The two copies of its header differ"
                              : "Its header cannot be true: checksum, version or page size") +
                        ", and nobody is writing it: a writer died in mid-update, or the -shm was "
                        "damaged. Nobody can read until it is recovered from the WAL.",
                .advice = "nothing: the next reader recovers it, if it may write the -shm"};
  if (const LockFacts* lock = InTheWayOfRecovery(scene.now)) {
    hazard.severity = Severity::kDanger;
    hazard.text += "\n" + DescribeHolder(scene.look(), *lock) + " holds " + Name(lock->resource) +
                   " " + Name(lock->mode) + DescribeAge(scene.look(), *lock) +
                   ", which recovery needs: everybody gets SQLITE_BUSY meanwhile.";
    hazard.advice = "end that checkpoint or release that barrier; then the next reader recovers it";
    hazard.whose = *lock;
  }
  hazards.push_back(std::move(hazard));
}

}  // namespace

void AddFileHazards(const Scene& scene, std::vector<Hazard>& hazards) {
  AddFileSystem(scene, hazards);
  AddTornWalIndex(scene, hazards);
}

}  // namespace lockscope::insight
