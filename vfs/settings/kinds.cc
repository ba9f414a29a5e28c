#include "settings/kinds.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <mutex>

#include "model/fork_safe_mutex.h"
#include "settings/words.h"

namespace lockscope::settings {
namespace {

constinit ForkSafeMutex g_mutex(LockRank::kSettings);

bool IsOneOf(Words words, std::string_view value) {
  return std::any_of(words.begin(), words.end(),
                     [value](const char* word) { return SameWord(value, word); });
}

Status NoSettingOfADatabase(const char* name) {
  return {SQLITE_MISUSE, std::string(name) + " is no setting of a single database"};
}

}  // namespace

// ---- switches and numbers ----

namespace {

// What Kind::Parse() takes, and the taking back of one's word.
template <class Kind>
auto ParseWord(const Kind& setting, std::string_view value) -> decltype(setting.Parse(value)) {
  if (SameWord(value, kNoWord)) return Kind::kNone;
  return setting.Parse(value);
}

}  // namespace

template <class Kind>
Status SetWord(Kind& setting, std::string_view value) {
  const auto word = ParseWord(setting, value);
  if (!word.ok()) return word.status();
  setting.process.store(word.value());
  return {};
}

template <class Kind>
Status SetWordFromUri(const Kind& setting, std::string_view value, DatabaseSettings& of_database) {
  if (setting.database == nullptr) return NoSettingOfADatabase(setting.name);
  const auto word = ParseWord(setting, value);
  if (!word.ok()) return word.status();
  of_database.*setting.database = word.value();
  return {};
}

template <class Kind>
Status LoadWord(Kind& setting) {
  const char* value = std::getenv(setting.environment);
  if (value == nullptr) return {};
  const auto word = setting.Parse(value);
  if (!word.ok()) return word.status();
  setting.from_environment.store(word.value());
  return {};
}

template Status SetWord(SwitchSetting&, std::string_view);
template Status SetWord(NumberSetting&, std::string_view);
template Status SetWordFromUri(const SwitchSetting&, std::string_view, DatabaseSettings&);
template Status SetWordFromUri(const NumberSetting&, std::string_view, DatabaseSettings&);
template Status LoadWord(SwitchSetting&);
template Status LoadWord(NumberSetting&);

// ---- switches ----

bool SwitchSetting::Otherwise(const DatabaseSettings& of_database) const noexcept {
  for (const Switch word :
       {of_database.*database, from_environment.load(std::memory_order_relaxed)}) {
    if (word != Switch::kUnset) return word == Switch::kOn;
  }
  return by_default.load(std::memory_order_relaxed) == Switch::kOn;
}

bool SwitchSetting::InForce(const DatabaseSettings& of_database) const noexcept {
  const Switch word = process.load(std::memory_order_relaxed);
  return word == Switch::kUnset ? Otherwise(of_database) : word == Switch::kOn;
}

Result<Switch> SwitchSetting::Parse(std::string_view value) const {
  if (IsOneOf(on, value)) return Switch::kOn;
  if (IsOneOf(off, value)) return Switch::kOff;
  return Status{SQLITE_MISUSE, std::string(name) + " is '" + Spelled(true) + "' or '" +
                                   Spelled(false) + "', not '" + std::string(value) + "'"};
}

// ---- numbers ----

std::uint32_t NumberSetting::InForce(const DatabaseSettings& of_database) const noexcept {
  const Number uri = database != nullptr ? of_database.*database : kNoNumber;
  for (const Number word : {process.load(std::memory_order_relaxed), uri,
                            from_environment.load(std::memory_order_relaxed)}) {
    if (word != kNoNumber) return static_cast<std::uint32_t>(word);
  }
  return by_default;
}

Result<Number> NumberSetting::Parse(std::string_view value) const {
  Number number = kNoNumber;
  const char* const end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  if (error == std::errc() && rest == end && number >= 0) return number;
  return Status{SQLITE_MISUSE, std::string(name) + " is a number of milliseconds, 0 to " +
                                   std::to_string(kNumberMax) + ", not '" + std::string(value) +
                                   "'"};
}

// ---- texts ----

std::optional<std::string> TextSetting::InForce() const {
  const std::lock_guard lock(g_mutex);
  if (process) return process;
  if (from_environment) return from_environment;
  return by_default != nullptr ? std::optional<std::string>(by_default) : std::nullopt;
}

std::optional<std::string> TextSetting::Word() const {
  const std::lock_guard lock(g_mutex);
  return process;
}

void TextSetting::ForgetEnvironment() {
  const std::lock_guard lock(g_mutex);
  from_environment.reset();
}

Status TextSetting::Set(std::string_view value) {
  const bool none = SameWord(value, kNoWord);
  if (value.empty()) {
    return {SQLITE_MISUSE, std::string(name) + " is a " + is_a + ", not ''; 'default' unsets it"};
  }
  if (!none && check != nullptr) {
    if (Status status = check(value); !status.ok()) return status;
  }
  const std::lock_guard lock(g_mutex);
  process = none ? std::nullopt : std::optional<std::string>(value);
  return {};
}

Status TextSetting::LoadEnvironment() {
  const char* value = std::getenv(environment);
  if (value == nullptr || *value == 0) return {};
  if (check != nullptr) {
    if (Status status = check(value); !status.ok()) return status;
  }
  const std::lock_guard lock(g_mutex);
  from_environment = value;
  return {};
}

}  // namespace lockscope::settings
