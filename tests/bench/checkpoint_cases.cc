// checkpoint(FULL) and checkpoint(TRUNCATE) with a busy timeout of 3 s, begun while another process
// holds the write lock and is about to write into a WAL that is empty or wholly checkpointed: it
// will restart the WAL under the checkpointer. A guard against the WAL-reset race that is armed too
// early refuses such a checkpoint until its timeout, with everybody locked out.
#include <unistd.h>

#include <array>
#include <optional>
#include <stdexcept>

#include "bench/cases.h"
#include "bench/connection.h"
#include "support/actor.h"

namespace lockscope::bench {
namespace {

class BlockedCheckpointCase : public Case {
 public:
  BlockedCheckpointCase(int mode, bool empty, const EpochOptions& options)
      : mode_(mode), empty_(empty), path_(options.folder + "/checkpoint.db"), writer_(Plain()) {
    CreateDatabase(path_, "wal");
    for (const Side side : {Side::kStock, Side::kShim}) {
      auto& connection = sides_[Index(side)];
      connection = std::make_unique<Connection>(path_, VfsOf(side, options.calibrate));
      connection->Exec("pragma synchronous = off; pragma wal_autocheckpoint = 0; select * from t");
      sqlite3_busy_handler(connection->get(), Busy, this);
    }
    writer_.Open("c", path_);
    writer_.Exec("c", "pragma synchronous = off; pragma wal_autocheckpoint = 0");
  }

  long FixedOperations() const override { return 1; }

  void Prepare(Side) override {
    writer_.Exec("c", "update t set v = v + 1 where id = 1");
    const auto emptied = writer_.Checkpoint("c", empty_ ? "truncate" : "passive");
    if (emptied.busy || emptied.log_frames != emptied.checkpointed_frames) {
      throw std::runtime_error("the WAL was not checkpointed");
    }
    writer_.Exec("c", "begin immediate; update t set v = v + 1 where id = 1");
  }

  Sample Run(Side side, long) override {
    commit_.reset();
    int frames = -1;
    int checkpointed = -1;
    begun_ = WallNs();
    const int result = sqlite3_wal_checkpoint_v2(sides_[Index(side)]->get(), nullptr, mode_,
                                                 &frames, &checkpointed);
    const double ns = WallNs() - begun_;
    if (result != SQLITE_OK || frames != checkpointed) {
      throw std::runtime_error("the checkpoint did not succeed: " + std::to_string(result));
    }
    if (!commit_ || !commit_->Wait().ok()) throw std::runtime_error("the writer did not commit");
    return {ns, 1};
  }

 private:
  static testing::Actor::Options Plain() {
    testing::Actor::Options options;
    options.plain = true;
    return options;
  }

  // The checkpointer has met the writer's lock: now the writer commits. As a busy timeout of 3 s,
  // in finer steps than SQLite's own, which would hide what there is to see.
  static int Busy(void* context, int) {
    auto& self = *static_cast<BlockedCheckpointCase*>(context);
    if (!self.commit_) self.commit_ = self.writer_.Start("c", "commit");
    usleep(50);
    return WallNs() - self.begun_ < 3e9 ? 1 : 0;
  }

  const int mode_;
  const bool empty_;
  const std::string path_;
  testing::Actor writer_;
  std::array<std::unique_ptr<Connection>, kSides> sides_;
  std::optional<testing::Answer> commit_;
  double begun_ = 0;
};

Comparison Blocked(const std::string& name, int mode, bool empty) {
  return {.name = name,
          .epoch =
              [mode, empty](const EpochOptions& options) {
                return std::make_unique<BlockedCheckpointCase>(mode, empty, options);
              },
          .share_of_rounds = 0.5,
          .pinned = false};
}

}  // namespace

std::vector<Comparison> BlockedCheckpointCases() {
  return {Blocked("checkpoint full, WAL empty", SQLITE_CHECKPOINT_FULL, true),
          Blocked("checkpoint full, WAL checkpointed", SQLITE_CHECKPOINT_FULL, false),
          Blocked("checkpoint truncate, WAL empty", SQLITE_CHECKPOINT_TRUNCATE, true),
          Blocked("checkpoint truncate, WAL checkpointed", SQLITE_CHECKPOINT_TRUNCATE, false)};
}

}  // namespace lockscope::bench
