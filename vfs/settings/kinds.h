// The kinds of settings: a switch, a number, a text. Each knows its name, and whose word counts.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "model/status.h"
#include "settings/settings.h"

namespace lockscope::settings {

// The spellings of one side of a switch; the first is the one that it is shown by.
using Words = std::span<const char* const>;

// Two values: the word of the process, of the database's URI, of the environment, and the default.
struct SwitchSetting {
  const char* name;
  const char* environment;
  std::atomic<Switch>& process;
  std::atomic<Switch> from_environment{Switch::kUnset};
  std::atomic<Switch> by_default{Switch::kOn};
  Switch DatabaseSettings::*database;
  Words on;
  Words off;

  // In force but for the word of the process.
  bool Otherwise(const DatabaseSettings& of_database) const noexcept;
  bool InForce(const DatabaseSettings& of_database) const noexcept;
  const char* Spelled(bool is_on) const noexcept { return (is_on ? on : off).front(); }

  static constexpr Switch kNone = Switch::kUnset;
  // SQLITE_MISUSE, with the reason, for what is no value of it.
  Result<Switch> Parse(std::string_view value) const;
};

// Milliseconds, 0 … kNumberMax.
struct NumberSetting {
  const char* name;
  const char* environment;
  std::uint32_t by_default;
  Number DatabaseSettings::*database = nullptr;  // null: no database's own
  std::atomic<Number> process{kNoNumber};
  std::atomic<Number> from_environment{kNoNumber};

  std::uint32_t InForce(const DatabaseSettings& of_database) const noexcept;

  static constexpr Number kNone = kNoNumber;
  Result<Number> Parse(std::string_view value) const;
};

// The words about a switch or a number: the process's, a database's, the environment's.
template <class Kind>
Status SetWord(Kind& setting, std::string_view value);
template <class Kind>
Status SetWordFromUri(const Kind& setting, std::string_view value, DatabaseSettings& of_database);
template <class Kind>
Status LoadWord(Kind& setting);

// Any text but "" that `check` finds nothing wrong with, and no database's own.
struct TextSetting {
  const char* name;
  const char* environment;
  const char* is_a;                             // what it names, in an error
  Status (*check)(std::string_view) = nullptr;  // null: any text will do
  const char* by_default = nullptr;             // null: none

  // Guarded by the settings' mutex.
  std::optional<std::string> process = std::nullopt;
  std::optional<std::string> from_environment = std::nullopt;

  std::optional<std::string> InForce() const;
  std::optional<std::string> Word() const;  // the process's own
  void ForgetEnvironment();

  Status Set(std::string_view value);
  Status LoadEnvironment();
};

}  // namespace lockscope::settings
