// What the setting `log` says: how much is logged, and where to.
//
//   "off"              nothing
//   "LEVEL"            that and what is worse, to stderr
//   "LEVEL:FILE"       the same, appended to a file
//
// LEVEL is debug, info, warn or error, in either case.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/status.h"

namespace lockscope::settings {

// What is worse comes later; kOff is worse than all.
enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };
const char* Name(LogLevel level);

struct LogChoice {
  LogLevel level = LogLevel::kOff;
  std::string file;  // empty: stderr

  friend bool operator==(const LogChoice&, const LogChoice&) = default;
};

// SQLITE_MISUSE, with the reason, for what means nothing.
Result<LogChoice> ParseLogChoice(std::string_view value);

}  // namespace lockscope::settings
