#include "settings/log_choice.h"

#include <array>

#include "settings/words.h"

namespace lockscope::settings {
namespace {

constexpr std::array kLevels = {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn,
                                LogLevel::kError, LogLevel::kOff};

}  // namespace

const char* Name(LogLevel level) {
  static constexpr std::array<const char*, 5> kNames = {"debug", "info", "warn", "error", "off"};
  return kNames.at(static_cast<std::size_t>(level));
}

Result<LogChoice> ParseLogChoice(std::string_view value) {
  const std::size_t colon = value.find(':');
  const std::string_view word = value.substr(0, colon);
  for (const LogLevel level : kLevels) {
    if (!SameWord(word, Name(level))) continue;
    if (colon == std::string_view::npos) return LogChoice{.level = level, .file = {}};
    const std::string_view file = value.substr(colon + 1);
    if (file.empty() || file.find('\0') != std::string_view::npos || level == LogLevel::kOff) break;
    return LogChoice{.level = level, .file = std::string(file)};
  }
  return Status{SQLITE_MISUSE,
                "log is 'off', or 'debug', 'info', 'warn' or 'error', or one of these with ':' and "
                "a file, not '" +
                    std::string(value) + "'"};
}

}  // namespace lockscope::settings
