// What the log says of locks: those held for long while somebody waited, and old snapshots, both
// told when they are let go, by the process that held them.
#pragma once

namespace lockscope::insight {

// Follows the settings `log`, `wait_log_ms` and `snapshot_warn_ms`.
void FollowLogSettings() noexcept;

}  // namespace lockscope::insight
