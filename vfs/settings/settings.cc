#include "settings/settings.h"

#include <array>
#include <atomic>

#include "settings/kinds.h"
#include "settings/words.h"

namespace lockscope::settings {
namespace internal {

constinit std::atomic<Switch> g_capture_sql_word{Switch::kUnset};

}  // namespace internal

namespace {

constinit std::atomic<Switch> g_registry_word{Switch::kUnset};
constinit std::atomic<Switch> g_wal_reset_guard_word{Switch::kUnset};

constexpr std::array kOnWords = {"on", "1", "true", "yes"};
constexpr std::array kOffWords = {"off", "0", "false", "no"};
constexpr std::array kSharedWords = {"shared"};
constexpr std::array kPrivateWords = {"private"};

constinit SwitchSetting g_capture_sql{.name = "capture_sql",
                                      .environment = "LOCKSCOPE_CAPTURE_SQL",
                                      .process = internal::g_capture_sql_word,
                                      .database = &DatabaseSettings::capture_sql,
                                      .on = kOnWords,
                                      .off = kOffWords};
constinit SwitchSetting g_registry{.name = "registry",
                                   .environment = "LOCKSCOPE_REGISTRY",
                                   .process = g_registry_word,
                                   .database = &DatabaseSettings::registry,
                                   .on = kSharedWords,
                                   .off = kPrivateWords};
constinit SwitchSetting g_wal_reset_guard{.name = "wal_reset_guard",
                                          .environment = "LOCKSCOPE_WAL_RESET_GUARD",
                                          .process = g_wal_reset_guard_word,
                                          .database = &DatabaseSettings::wal_reset_guard,
                                          .on = kOnWords,
                                          .off = kOffWords};
constinit std::array g_switches = {&g_capture_sql, &g_registry, &g_wal_reset_guard};

constinit NumberSetting g_recovery_wait_ms{.name = "recovery_wait_ms",
                                           .environment = "LOCKSCOPE_RECOVERY_WAIT_MS",
                                           .by_default = 0,
                                           .database = &DatabaseSettings::recovery_wait_ms};
constinit NumberSetting g_snapshot_warn_ms{
    .name = "snapshot_warn_ms", .environment = "LOCKSCOPE_SNAPSHOT_WARN_MS", .by_default = 60'000};
constinit NumberSetting g_wait_log_ms{
    .name = "wait_log_ms", .environment = "LOCKSCOPE_WAIT_LOG_MS", .by_default = 1000};
constinit std::array g_numbers = {&g_recovery_wait_ms, &g_snapshot_warn_ms, &g_wait_log_ms};

Status CheckLog(std::string_view value) {
  const auto choice = ParseLogChoice(value);
  return choice.ok() ? Status{} : choice.status();
}

// Never destroyed: threads may ask while the process ends.
struct TextSettings {
  TextSetting application{
      .name = "application", .environment = "LOCKSCOPE_APPLICATION", .is_a = "name"};
  TextSetting log{.name = "log",
                  .environment = "LOCKSCOPE_LOG",
                  .is_a = "level",
                  .check = CheckLog,
                  .by_default = "off"};
  TextSetting target{.name = "target", .environment = "LOCKSCOPE_TARGET", .is_a = "database"};

  std::array<TextSetting*, 3> All() { return {&application, &log, &target}; }
};

TextSettings& Texts() {
  static TextSettings* const texts = new TextSettings();
  return *texts;
}

template <class Setting, std::size_t N>
Setting* FindIn(const std::array<Setting*, N>& settings, std::string_view name) {
  for (Setting* setting : settings) {
    if (SameWord(name, setting->name)) return setting;
  }
  return nullptr;
}

Status UnknownSetting(std::string_view name) {
  return {SQLITE_MISUSE,
          "unknown setting '" + std::string(name) +
              "': there are application, capture_sql, log, recovery_wait_ms, registry, "
              "snapshot_warn_ms, target, wait_log_ms and wal_reset_guard"};
}

}  // namespace

std::vector<std::string> LoadEnvironment(bool bug_present) {
  static std::atomic<bool> loaded{false};
  std::vector<std::string> complaints;
  if (loaded.exchange(true)) return complaints;
  g_wal_reset_guard.by_default.store(bug_present ? Switch::kOn : Switch::kOff);
  const auto loaded_from = [&complaints](const char* environment, const Status& status) {
    if (status.ok()) return;
    complaints.push_back("lockscope: ignored the environment's " + std::string(environment) + ": " +
                         status.message);
  };
  for (SwitchSetting* setting : g_switches) loaded_from(setting->environment, LoadWord(*setting));
  for (NumberSetting* setting : g_numbers) loaded_from(setting->environment, LoadWord(*setting));
  for (TextSetting* setting : Texts().All()) {
    loaded_from(setting->environment, setting->LoadEnvironment());
  }
  return complaints;
}

Status Set(std::string_view name, std::string_view value) {
  if (TextSetting* text = FindIn(Texts().All(), name)) return text->Set(value);
  if (NumberSetting* number = FindIn(g_numbers, name)) return SetWord(*number, value);
  if (SwitchSetting* setting = FindIn(g_switches, name)) return SetWord(*setting, value);
  return UnknownSetting(name);
}

Result<std::optional<std::string>> Get(std::string_view name, const DatabaseSettings& database) {
  if (const TextSetting* text = FindIn(Texts().All(), name)) return text->InForce();
  if (const NumberSetting* number = FindIn(g_numbers, name)) {
    return std::optional<std::string>(std::to_string(number->InForce(database)));
  }
  if (const SwitchSetting* setting = FindIn(g_switches, name)) {
    return std::optional<std::string>(setting->Spelled(setting->InForce(database)));
  }
  return UnknownSetting(name);
}

Status SetFromUri(std::string_view name, std::string_view value, DatabaseSettings& database) {
  if (const TextSetting* text = FindIn(Texts().All(), name)) {
    return {SQLITE_MISUSE, std::string(text->name) + " is no setting of a single database"};
  }
  if (const NumberSetting* number = FindIn(g_numbers, name)) {
    return SetWordFromUri(*number, value, database);
  }
  const SwitchSetting* setting = FindIn(g_switches, name);
  return setting != nullptr ? SetWordFromUri(*setting, value, database) : UnknownSetting(name);
}

bool CaptureSqlOtherwise(const DatabaseSettings& database) noexcept {
  return g_capture_sql.Otherwise(database);
}

bool WalResetGuard(const DatabaseSettings& database) noexcept {
  return g_wal_reset_guard.InForce(database);
}

Switch WalResetGuardWord() noexcept {
  return g_wal_reset_guard_word.load(std::memory_order_relaxed);
}

bool WalResetGuardOtherwise(const DatabaseSettings& database) noexcept {
  return g_wal_reset_guard.Otherwise(database);
}

bool PublishesLocks(const DatabaseSettings& database) noexcept {
  return g_registry.InForce(database);
}

bool HiddenByProcess() noexcept {
  return g_registry_word.load(std::memory_order_relaxed) == Switch::kOff;
}

std::uint32_t RecoveryWaitMs(const DatabaseSettings& database) noexcept {
  return g_recovery_wait_ms.InForce(database);
}

std::uint32_t WaitLogMs() noexcept { return g_wait_log_ms.InForce({}); }

std::uint32_t SnapshotWarnMs() noexcept { return g_snapshot_warn_ms.InForce({}); }

void ForgetEnvironmentsLog() { Texts().log.ForgetEnvironment(); }

LogChoice Log() {
  const auto choice = ParseLogChoice(Texts().log.InForce().value_or("off"));
  return choice.ok() ? choice.value() : LogChoice{};
}

std::string WordOfProcess(std::string_view name) {
  const TextSetting* text = FindIn(Texts().All(), name);
  const auto word = text != nullptr ? text->Word() : std::nullopt;
  return word.value_or(std::string(kNoWord));
}

std::optional<std::string> Application() { return Texts().application.InForce(); }

std::optional<std::string> Target() { return Texts().target.InForce(); }

}  // namespace lockscope::settings
