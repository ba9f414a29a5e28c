// lockscope wal: how long the WAL is, how much of it is checkpointed, and who pins it.
#include <array>

#include "table_command.h"

namespace lockscope::tools {
namespace {

constexpr std::array kShown = {
    ShownColumn{"page_size", "PAGE", Fit::kRight, Plain},
    ShownColumn{"frames", "FRAMES", Fit::kRight, Commas},
    ShownColumn{"backfilled", "BACKFILLED", Fit::kRight, Commas},
    ShownColumn{"pending_frames", "PENDING", Fit::kRight, Commas},
    ShownColumn{"wal_bytes", "WAL FILE", Fit::kRight, Bytes},
    ShownColumn{"oldest_snapshot_frame", "OLDEST", Fit::kRight, Commas},
    ShownColumn{"oldest_snapshot_age_ms", "AGE", Fit::kRight, Duration},
    ShownColumn{"backfill_pinned_by", "BACKFILL PIN", Fit::kRight, Plain},
    ShownColumn{"restart_pinned_by", "RESTART PIN", Fit::kRight, Plain},
};

constexpr TableCommand kCommand{
    .table = "wal",
    .description = "how long the WAL is, how much is checkpointed, and who pins it",
    .shown = kShown,
    .nothing = "there is no WAL: rollback-journal mode in",
};

}  // namespace

void AddWal(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
