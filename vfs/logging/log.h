// The log: what happened to locks, in lines, for whoever asked for them with the setting `log`.
//
//   2026-11-28T05:12:46.123Z [warning] lockscope[4711]: …
//
// Off by default, and then asking costs one load. Nothing here fails, blocks for long or ends the
// process.
//
// Threads: any.
#pragma once

#include <atomic>
#include <string_view>

#include "model/status.h"
#include "settings/log_choice.h"

namespace lockscope::logging {

using Level = settings::LogLevel;

namespace internal {
extern std::atomic<Level> g_level __attribute__((visibility("hidden")));
}  // namespace internal

// Whether a line of that level is written now.
inline bool Enabled(Level level) noexcept {
  return level >= internal::g_level.load(std::memory_order_relaxed);
}

// Writes a line, control characters in it made harmless. Nothing where Enabled() is false.
void Write(Level level, std::string_view text) noexcept;

// Follows the setting: opens what it names, and closes what was open before. SQLITE_MISUSE, with
// the reason, where that cannot be appended to, or is a file that this process has open already,
// which could be a database: then everything is as before.
Status Follow();

}  // namespace lockscope::logging
