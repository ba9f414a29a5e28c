#include "settings/settings.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "model/fork_safe_mutex.h"

namespace lockscope::settings {
namespace internal {

constinit std::atomic<Switch> g_capture_sql_word{Switch::kUnset};

}  // namespace internal

namespace {

constinit std::atomic<Switch> g_wal_reset_guard_word{Switch::kUnset};

// One on/off setting: the word of the process, of the environment, and the default.
struct SwitchSetting {
  const char* name;
  const char* environment;
  std::atomic<Switch>& process;
  std::atomic<Switch> from_environment{Switch::kUnset};
  std::atomic<Switch> by_default{Switch::kOn};
  Switch DatabaseSettings::*database;

  // In force but for the word of the process.
  bool Otherwise(const DatabaseSettings& of_database) const noexcept {
    for (const Switch word :
         {of_database.*database, from_environment.load(std::memory_order_relaxed)}) {
      if (word != Switch::kUnset) return word == Switch::kOn;
    }
    return by_default.load(std::memory_order_relaxed) == Switch::kOn;
  }
  bool InForce(const DatabaseSettings& of_database) const noexcept {
    const Switch word = process.load(std::memory_order_relaxed);
    return word == Switch::kUnset ? Otherwise(of_database) : word == Switch::kOn;
  }
};

constinit SwitchSetting g_capture_sql{.name = "capture_sql",
                                      .environment = "LOCKSCOPE_CAPTURE_SQL",
                                      .process = internal::g_capture_sql_word,
                                      .database = &DatabaseSettings::capture_sql};
constinit SwitchSetting g_wal_reset_guard{.name = "wal_reset_guard",
                                          .environment = "LOCKSCOPE_WAL_RESET_GUARD",
                                          .process = g_wal_reset_guard_word,
                                          .database = &DatabaseSettings::wal_reset_guard};
constinit std::array<SwitchSetting*, 2> g_switches = {&g_capture_sql, &g_wal_reset_guard};

constexpr std::string_view kTarget = "target";

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kSettings);
  return mutex;
}

// Guarded by Mutex().
struct TargetWords {
  std::optional<std::string> process;
  std::optional<std::string> environment;
};

TargetWords& Targets() {
  static TargetWords* const words = new TargetWords();
  return *words;
}

bool SameName(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [&](char x, char y) { return lower(x) == lower(y); });
}

SwitchSetting* FindSwitch(std::string_view name) {
  for (SwitchSetting* setting : g_switches) {
    if (SameName(name, setting->name)) return setting;
  }
  return nullptr;
}

std::optional<Switch> ParseSwitch(std::string_view value) {
  for (const char* on : {"on", "1", "true", "yes"}) {
    if (SameName(value, on)) return Switch::kOn;
  }
  for (const char* off : {"off", "0", "false", "no"}) {
    if (SameName(value, off)) return Switch::kOff;
  }
  return std::nullopt;
}

Status BadValue(std::string_view name, std::string_view value) {
  return {SQLITE_MISUSE, std::string(name) + " is 'on' or 'off', not '" + std::string(value) + "'"};
}

Status UnknownSetting(std::string_view name) {
  return {SQLITE_MISUSE, "unknown setting '" + std::string(name) +
                             "': there are capture_sql, target and wal_reset_guard"};
}

}  // namespace

std::vector<std::string> LoadEnvironment(bool bug_present) {
  static std::atomic<bool> loaded{false};
  std::vector<std::string> complaints;
  if (loaded.exchange(true)) return complaints;
  g_wal_reset_guard.by_default.store(bug_present ? Switch::kOn : Switch::kOff);
  for (SwitchSetting* setting : g_switches) {
    const char* value = std::getenv(setting->environment);
    if (value == nullptr) continue;
    if (const auto word = ParseSwitch(value)) {
      setting->from_environment.store(*word);
    } else {
      complaints.push_back("lockscope: ignored the environment's " +
                           std::string(setting->environment) + ": " +
                           BadValue(setting->name, value).message);
    }
  }
  if (const char* target = std::getenv("LOCKSCOPE_TARGET"); target != nullptr && *target != 0) {
    const std::lock_guard lock(Mutex());
    Targets().environment = target;
  }
  return complaints;
}

Status Set(std::string_view name, std::string_view value) {
  if (SameName(name, kTarget)) {
    if (value.empty()) return {SQLITE_MISUSE, "target is a database, not ''; 'default' unsets it"};
    const std::lock_guard lock(Mutex());
    if (SameName(value, "default")) {
      Targets().process.reset();
    } else {
      Targets().process = std::string(value);
    }
    return {};
  }
  SwitchSetting* setting = FindSwitch(name);
  if (setting == nullptr) return UnknownSetting(name);
  if (SameName(value, "default")) {
    setting->process.store(Switch::kUnset);
    return {};
  }
  const auto word = ParseSwitch(value);
  if (!word) return BadValue(setting->name, value);
  setting->process.store(*word);
  return {};
}

Result<std::optional<std::string>> Get(std::string_view name, const DatabaseSettings& database) {
  if (SameName(name, kTarget)) return Target();
  const SwitchSetting* setting = FindSwitch(name);
  if (setting == nullptr) return UnknownSetting(name);
  return std::optional<std::string>(setting->InForce(database) ? "on" : "off");
}

Status SetFromUri(std::string_view name, std::string_view value, DatabaseSettings& database) {
  if (SameName(name, kTarget)) return {SQLITE_MISUSE, "target is no setting of a single database"};
  const SwitchSetting* setting = FindSwitch(name);
  if (setting == nullptr) return UnknownSetting(name);
  if (SameName(value, "default")) {
    database.*setting->database = Switch::kUnset;
    return {};
  }
  const auto word = ParseSwitch(value);
  if (!word) return BadValue(setting->name, value);
  database.*setting->database = *word;
  return {};
}

bool CaptureSqlOtherwise(const DatabaseSettings& database) noexcept {
  return g_capture_sql.Otherwise(database);
}

bool WalResetGuard(const DatabaseSettings& database) noexcept {
  return g_wal_reset_guard.InForce(database);
}

std::optional<std::string> Target() {
  const std::lock_guard lock(Mutex());
  return Targets().process ? Targets().process : Targets().environment;
}

}  // namespace lockscope::settings
