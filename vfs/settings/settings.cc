#include "settings/settings.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <span>

#include "model/fork_safe_mutex.h"

namespace lockscope::settings {
namespace internal {

constinit std::atomic<Switch> g_capture_sql_word{Switch::kUnset};

}  // namespace internal

namespace {

constinit std::atomic<Switch> g_registry_word{Switch::kUnset};
constinit std::atomic<Switch> g_wal_reset_guard_word{Switch::kUnset};

// As a value: no word at all.
constexpr std::string_view kNoWord = "default";

// The spellings of one side of a switch; the first is the one that it is shown by.
using Words = std::span<const char* const>;

constexpr std::array kOnWords = {"on", "1", "true", "yes"};
constexpr std::array kOffWords = {"off", "0", "false", "no"};
constexpr std::array kSharedWords = {"shared"};
constexpr std::array kPrivateWords = {"private"};

bool SameName(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [&](char x, char y) { return lower(x) == lower(y); });
}

bool IsOneOf(Words words, std::string_view value) {
  return std::any_of(words.begin(), words.end(),
                     [value](const char* word) { return SameName(value, word); });
}

// A setting with two values: the word of the process, of the environment, and the default.
struct SwitchSetting {
  const char* name;
  const char* environment;
  std::atomic<Switch>& process;
  std::atomic<Switch> from_environment{Switch::kUnset};
  std::atomic<Switch> by_default{Switch::kOn};
  Switch DatabaseSettings::*database;
  Words on = kOnWords;
  Words off = kOffWords;

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

  const char* Name(bool is_on) const noexcept { return (is_on ? on : off).front(); }

  // SQLITE_MISUSE, with the reason, for what is no value of it.
  Result<Switch> Parse(std::string_view value) const {
    if (IsOneOf(on, value)) return Switch::kOn;
    if (IsOneOf(off, value)) return Switch::kOff;
    return Status{SQLITE_MISUSE, std::string(name) + " is '" + Name(true) + "' or '" + Name(false) +
                                     "', not '" + std::string(value) + "'"};
  }
  // The same for one who may also take his word back.
  Result<Switch> ParseWord(std::string_view value) const {
    if (SameName(value, kNoWord)) return Switch::kUnset;
    return Parse(value);
  }
};

constinit SwitchSetting g_capture_sql{.name = "capture_sql",
                                      .environment = "LOCKSCOPE_CAPTURE_SQL",
                                      .process = internal::g_capture_sql_word,
                                      .database = &DatabaseSettings::capture_sql};
constinit SwitchSetting g_registry{.name = "registry",
                                   .environment = "LOCKSCOPE_REGISTRY",
                                   .process = g_registry_word,
                                   .database = &DatabaseSettings::registry,
                                   .on = kSharedWords,
                                   .off = kPrivateWords};
constinit SwitchSetting g_wal_reset_guard{.name = "wal_reset_guard",
                                          .environment = "LOCKSCOPE_WAL_RESET_GUARD",
                                          .process = g_wal_reset_guard_word,
                                          .database = &DatabaseSettings::wal_reset_guard};
constinit std::array g_switches = {&g_capture_sql, &g_registry, &g_wal_reset_guard};

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kSettings);
  return mutex;
}

// A setting that is any text but "", and no database's own.
struct TextSetting {
  const char* name;
  const char* environment;
  const char* is_a;  // what it names, in an error

  // Guarded by Mutex().
  std::optional<std::string> process = std::nullopt;
  std::optional<std::string> from_environment = std::nullopt;

  std::optional<std::string> InForce() const {
    const std::lock_guard lock(Mutex());
    return process ? process : from_environment;
  }
  void LoadEnvironment() {
    const char* value = std::getenv(environment);
    if (value == nullptr || *value == 0) return;
    const std::lock_guard lock(Mutex());
    from_environment = value;
  }
  Status Set(std::string_view value) {
    if (value.empty()) {
      return {SQLITE_MISUSE, std::string(name) + " is a " + is_a + ", not ''; 'default' unsets it"};
    }
    const std::lock_guard lock(Mutex());
    if (SameName(value, kNoWord)) {
      process.reset();
    } else {
      process = std::string(value);
    }
    return {};
  }
};

// Never destroyed: threads may ask while the process ends.
struct TextSettings {
  TextSetting application{
      .name = "application", .environment = "LOCKSCOPE_APPLICATION", .is_a = "name"};
  TextSetting target{.name = "target", .environment = "LOCKSCOPE_TARGET", .is_a = "database"};

  std::array<TextSetting*, 2> All() { return {&application, &target}; }
};

TextSettings& Texts() {
  static TextSettings* const texts = new TextSettings();
  return *texts;
}

SwitchSetting* FindSwitch(std::string_view name) {
  for (SwitchSetting* setting : g_switches) {
    if (SameName(name, setting->name)) return setting;
  }
  return nullptr;
}

TextSetting* FindText(std::string_view name) {
  for (TextSetting* setting : Texts().All()) {
    if (SameName(name, setting->name)) return setting;
  }
  return nullptr;
}

Status UnknownSetting(std::string_view name) {
  return {SQLITE_MISUSE,
          "unknown setting '" + std::string(name) +
              "': there are application, capture_sql, registry, target and wal_reset_guard"};
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
    const auto word = setting->Parse(value);
    if (word.ok()) {
      setting->from_environment.store(word.value());
    } else {
      complaints.push_back("lockscope: ignored the environment's " +
                           std::string(setting->environment) + ": " + word.status().message);
    }
  }
  for (TextSetting* setting : Texts().All()) setting->LoadEnvironment();
  return complaints;
}

Status Set(std::string_view name, std::string_view value) {
  if (TextSetting* text = FindText(name)) return text->Set(value);
  SwitchSetting* setting = FindSwitch(name);
  if (setting == nullptr) return UnknownSetting(name);
  const auto word = setting->ParseWord(value);
  if (!word.ok()) return word.status();
  setting->process.store(word.value());
  return {};
}

Result<std::optional<std::string>> Get(std::string_view name, const DatabaseSettings& database) {
  if (const TextSetting* text = FindText(name)) return text->InForce();
  const SwitchSetting* setting = FindSwitch(name);
  if (setting == nullptr) return UnknownSetting(name);
  return std::optional<std::string>(setting->Name(setting->InForce(database)));
}

Status SetFromUri(std::string_view name, std::string_view value, DatabaseSettings& database) {
  if (const TextSetting* text = FindText(name)) {
    return {SQLITE_MISUSE, std::string(text->name) + " is no setting of a single database"};
  }
  const SwitchSetting* setting = FindSwitch(name);
  if (setting == nullptr) return UnknownSetting(name);
  const auto word = setting->ParseWord(value);
  if (!word.ok()) return word.status();
  database.*setting->database = word.value();
  return {};
}

bool CaptureSqlOtherwise(const DatabaseSettings& database) noexcept {
  return g_capture_sql.Otherwise(database);
}

bool WalResetGuard(const DatabaseSettings& database) noexcept {
  return g_wal_reset_guard.InForce(database);
}

bool PublishesLocks(const DatabaseSettings& database) noexcept {
  return g_registry.InForce(database);
}

bool HiddenByProcess() noexcept {
  return g_registry_word.load(std::memory_order_relaxed) == Switch::kOff;
}

std::optional<std::string> Application() { return Texts().application.InForce(); }

std::optional<std::string> Target() { return Texts().target.InForce(); }

}  // namespace lockscope::settings
