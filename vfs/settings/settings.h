// Settings: what may be chosen, and whose word counts.
//
// The word nearest the user wins: lockscope_set() in this process, then the URI parameter of the
// database (?lockscope_capture_sql=off), then the environment (LOCKSCOPE_CAPTURE_SQL), then the
// default.
//
//   name             values           URI  default
//   application       text             no   none
//   capture_sql       on, off          yes  on
//   log               see log_choice   no   off
//   recovery_wait_ms  milliseconds     yes  0
//   registry          shared, private  yes  shared
//   snapshot_warn_ms  milliseconds     no   60000
//   target            text             no   none
//   wait_log_ms       milliseconds     no   1000
//   wal_reset_guard   on, off          yes  on where this SQLite has the WAL-reset bug
//
// Threads: any. Switches and numbers are single atomic loads.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/status.h"
#include "settings/log_choice.h"

namespace lockscope::settings {

enum class Switch : std::int8_t { kUnset = -1, kOff = 0, kOn = 1 };

// Milliseconds, or none.
using Number = std::int32_t;
inline constexpr Number kNoNumber = -1;
inline constexpr Number kNumberMax = 2'147'483'647;

// What the URI of one database said. Constant once it is open.
struct DatabaseSettings {
  Switch capture_sql = Switch::kUnset;
  Switch registry = Switch::kUnset;  // kOn: shared
  Switch wal_reset_guard = Switch::kUnset;
  Number recovery_wait_ms = kNoNumber;
};

// Reads the environment, once; later calls do nothing and return nothing. Returns a sentence for
// each value that means nothing and is ignored. `bug_present` is the default of wal_reset_guard.
std::vector<std::string> LoadEnvironment(bool bug_present);

// lockscope_set(): for the whole process. The value "default" takes an earlier word back.
// SQLITE_MISUSE, with the reason, for an unknown name or a value that means nothing.
Status Set(std::string_view name, std::string_view value);

// The value in force for a database opened with `database`; null where a text is not set.
// SQLITE_MISUSE for an unknown name.
Result<std::optional<std::string>> Get(std::string_view name, const DatabaseSettings& database);

// The URI parameter "lockscope_" + name. SQLITE_MISUSE, with the reason, for an unknown name, one
// that is no setting of a single database, or a bad value.
Status SetFromUri(std::string_view name, std::string_view value, DatabaseSettings& database);

// capture_sql is asked for at every lock: all but the word of the process is fixed when a database
// is opened, and remembered as `otherwise`.
bool CaptureSqlOtherwise(const DatabaseSettings& database) noexcept;
namespace internal {
extern std::atomic<Switch> g_capture_sql_word __attribute__((visibility("hidden")));
}  // namespace internal
inline Switch CaptureSqlWord() noexcept {
  return internal::g_capture_sql_word.load(std::memory_order_relaxed);
}
inline bool CaptureSql(bool otherwise) noexcept {
  const Switch word = CaptureSqlWord();
  return word == Switch::kUnset ? otherwise : word == Switch::kOn;
}

bool WalResetGuard(const DatabaseSettings& database) noexcept;
// The two halves of it, for who tells them to other processes: the word of the process, which may
// change, and what is in force without one, fixed when the database is opened.
Switch WalResetGuardWord() noexcept;
bool WalResetGuardOtherwise(const DatabaseSettings& database) noexcept;

// Whether what is opened with `database` shows its locks to other processes: asked when it is
// opened.
bool PublishesLocks(const DatabaseSettings& database) noexcept;
// Whether lockscope_set('registry', 'private') is the word of the process now: it goes for what was
// opened as shared, too.
bool HiddenByProcess() noexcept;

// How long a request that is refused because another process recovers the database is waited for;
// 0: not at all.
std::uint32_t RecoveryWaitMs(const DatabaseSettings& database) noexcept;
// From which length on a wait, or a lock held against waiters, is logged.
std::uint32_t WaitLogMs() noexcept;
// From which age on a read snapshot is logged and a hazard.
std::uint32_t SnapshotWarnMs() noexcept;

// What LOCKSCOPE_LOG says cannot be done: it is ignored.
void ForgetEnvironmentsLog();
// What is logged, and where to.
LogChoice Log();
// The word of this process about a text, which may be "default"; for one who may have to set it
// back.
std::string WordOfProcess(std::string_view name);

// The name of this process in the tables; null: none.
std::optional<std::string> Application();
std::optional<std::string> Target();

}  // namespace lockscope::settings
