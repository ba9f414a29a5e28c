// What may be chosen, and whose word counts:
//   words     on and off in every spelling; shared and private in one; what is none
//   order     the process before the URI before the default (the environment:
//             shim/environment_test)
//   registry  what is published, and what the process takes back
//   texts     target and application: any text but ""; of the process only
//   numbers   milliseconds; recovery_wait_ms of a database too
//   log       a level, perhaps with a file
//   errors    unknown names, bad values, nothing changed by them

#include "settings/settings.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

namespace lockscope::settings {
namespace {

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() { LoadEnvironment(true); }
  ~SettingsTest() override {
    for (const char* name : {"application", "capture_sql", "log", "recovery_wait_ms", "registry",
                             "snapshot_warn_ms", "target", "wait_log_ms", "wal_reset_guard"}) {
      EXPECT_TRUE(Set(name, "default").ok());
    }
  }

  static std::string Value(const char* name, const DatabaseSettings& database = {}) {
    const auto value = Get(name, database);
    if (!value.ok()) return "error " + std::to_string(value.status().code);
    return value.value().value_or("(none)");
  }
};

// ---- words ----

TEST_F(SettingsTest, OnAndOffHaveManySpellings) {
  for (const char* word : {"on", "ON", "On", "1", "true", "TRUE", "yes"}) {
    EXPECT_TRUE(Set("capture_sql", "off").ok());
    EXPECT_TRUE(Set("capture_sql", word).ok()) << word;
    EXPECT_EQ(Value("capture_sql"), "on") << word;
  }
  for (const char* word : {"off", "OFF", "0", "false", "no"}) {
    EXPECT_TRUE(Set("capture_sql", "on").ok());
    EXPECT_TRUE(Set("capture_sql", word).ok()) << word;
    EXPECT_EQ(Value("capture_sql"), "off") << word;
  }
}

TEST_F(SettingsTest, TheRegistryHasItsOwnTwoWords) {
  for (const char* word : {"private", "PRIVATE", "Private"}) {
    EXPECT_TRUE(Set("registry", "shared").ok());
    EXPECT_TRUE(Set("registry", word).ok()) << word;
    EXPECT_EQ(Value("registry"), "private") << word;
  }
  EXPECT_TRUE(Set("registry", "SHARED").ok());
  EXPECT_EQ(Value("registry"), "shared");
  for (const char* word : {"on", "off", "1", "0", "true", "no", "", "public", "private "}) {
    const Status status = Set("registry", word);
    EXPECT_EQ(status.code, SQLITE_MISUSE) << word;
    EXPECT_EQ(status.message, "registry is 'shared' or 'private', not '" + std::string(word) + "'");
  }
  for (const char* word : {"shared", "private"}) {
    EXPECT_EQ(Set("capture_sql", word).code, SQLITE_MISUSE) << word;
  }
  EXPECT_EQ(Value("registry"), "shared");
}

TEST_F(SettingsTest, NamesAreSqlsInEitherCase) {
  EXPECT_TRUE(Set("Capture_SQL", "off").ok());
  EXPECT_EQ(Value("CAPTURE_SQL"), "off");
}

// ---- order ----

TEST_F(SettingsTest, TheDefaultsAreOnAndSharedAndNoText) {
  EXPECT_EQ(Value("capture_sql"), "on");
  EXPECT_EQ(Value("wal_reset_guard"), "on");  // LoadEnvironment was told that the bug is there
  EXPECT_EQ(Value("registry"), "shared");
  EXPECT_EQ(Value("target"), "(none)");
  EXPECT_EQ(Value("application"), "(none)");
}

TEST_F(SettingsTest, ADatabasesOwnWordGoesBeforeTheDefault) {
  DatabaseSettings database;
  EXPECT_TRUE(SetFromUri("capture_sql", "off", database).ok());
  EXPECT_EQ(Value("capture_sql", database), "off");
  EXPECT_EQ(Value("wal_reset_guard", database), "on");
  EXPECT_EQ(Value("capture_sql"), "on");
}

TEST_F(SettingsTest, TheProcesssWordGoesBeforeTheDatabases) {
  DatabaseSettings database;
  EXPECT_TRUE(SetFromUri("capture_sql", "off", database).ok());
  EXPECT_TRUE(SetFromUri("wal_reset_guard", "off", database).ok());
  EXPECT_TRUE(Set("capture_sql", "on").ok());
  EXPECT_EQ(Value("capture_sql", database), "on");
  EXPECT_EQ(Value("wal_reset_guard", database), "off");
  EXPECT_TRUE(Set("capture_sql", "default").ok());
  EXPECT_EQ(Value("capture_sql", database), "off");
}

TEST_F(SettingsTest, TheSwitchesReadAsTheyAreShown) {
  DatabaseSettings database;
  EXPECT_TRUE(WalResetGuard(database));
  EXPECT_TRUE(SetFromUri("wal_reset_guard", "off", database).ok());
  EXPECT_FALSE(WalResetGuard(database));
  EXPECT_TRUE(Set("wal_reset_guard", "on").ok());
  EXPECT_TRUE(WalResetGuard(database));
}

TEST_F(SettingsTest, TheEnvironmentIsReadOnce) {
  EXPECT_TRUE(LoadEnvironment(false).empty());
  EXPECT_EQ(Value("wal_reset_guard"), "on");
}

// ---- registry ----

TEST_F(SettingsTest, ADatabaseIsPublishedUnlessItOrTheProcessIsPrivate) {
  DatabaseSettings database;
  EXPECT_TRUE(PublishesLocks(database));
  EXPECT_TRUE(SetFromUri("registry", "private", database).ok());
  EXPECT_FALSE(PublishesLocks(database));
  EXPECT_EQ(Value("registry", database), "private");
  EXPECT_TRUE(PublishesLocks({}));  // others are not touched by it
  EXPECT_TRUE(Set("registry", "shared").ok());
  EXPECT_TRUE(PublishesLocks(database));
  EXPECT_TRUE(Set("registry", "private").ok());
  EXPECT_FALSE(PublishesLocks({}));
  EXPECT_TRUE(Set("registry", "default").ok());
  EXPECT_TRUE(PublishesLocks({}));
  EXPECT_FALSE(PublishesLocks(database));
  EXPECT_TRUE(SetFromUri("registry", "default", database).ok());
  EXPECT_TRUE(PublishesLocks(database));
}

TEST_F(SettingsTest, OnlyTheProcesssWordHidesTheProcess) {
  EXPECT_FALSE(HiddenByProcess());
  DatabaseSettings database;
  EXPECT_TRUE(SetFromUri("registry", "private", database).ok());
  EXPECT_FALSE(HiddenByProcess());
  EXPECT_TRUE(Set("registry", "private").ok());
  EXPECT_TRUE(HiddenByProcess());
  EXPECT_EQ(Set("registry", "on").code, SQLITE_MISUSE);
  EXPECT_TRUE(HiddenByProcess());
  EXPECT_TRUE(Set("registry", "shared").ok());
  EXPECT_FALSE(HiddenByProcess());
  EXPECT_TRUE(Set("registry", "private").ok());
  EXPECT_TRUE(Set("registry", "default").ok());
  EXPECT_FALSE(HiddenByProcess());
}

// ---- texts ----

TEST_F(SettingsTest, TheTargetIsAnyTextButEmpty) {
  EXPECT_TRUE(Set("target", "/a b/c.db").ok());
  EXPECT_EQ(Value("target"), "/a b/c.db");
  EXPECT_EQ(Target(), "/a b/c.db");
  const Status empty = Set("target", "");
  EXPECT_EQ(empty.code, SQLITE_MISUSE);
  EXPECT_EQ(Value("target"), "/a b/c.db");
  EXPECT_TRUE(Set("target", "DEFAULT").ok());
  EXPECT_EQ(Target(), std::nullopt);
}

TEST_F(SettingsTest, TheApplicationIsAnyTextButEmptyAndNotTheTarget) {
  EXPECT_TRUE(Set("application", "nightly import").ok());
  EXPECT_EQ(Value("application"), "nightly import");
  EXPECT_EQ(Application(), "nightly import");
  EXPECT_EQ(Target(), std::nullopt);
  EXPECT_TRUE(Set("target", "/a.db").ok());
  const Status empty = Set("Application", "");
  EXPECT_EQ(empty.code, SQLITE_MISUSE);
  EXPECT_EQ(empty.message, "application is a name, not ''; 'default' unsets it");
  EXPECT_EQ(Application(), "nightly import");
  EXPECT_TRUE(Set("application", "default").ok());
  EXPECT_EQ(Application(), std::nullopt);
  EXPECT_EQ(Target(), "/a.db");
}

// ---- numbers ----

TEST_F(SettingsTest, NumbersAreMilliseconds) {
  EXPECT_EQ(Value("recovery_wait_ms"), "0");
  EXPECT_EQ(Value("snapshot_warn_ms"), "60000");
  EXPECT_EQ(Value("wait_log_ms"), "1000");
  EXPECT_TRUE(Set("wait_log_ms", "0").ok());
  EXPECT_TRUE(Set("SNAPSHOT_WARN_MS", "2147483647").ok());
  EXPECT_EQ(WaitLogMs(), 0U);
  EXPECT_EQ(SnapshotWarnMs(), 2147483647U);
  for (const char* bad : {"", "-1", "1s", " 1", "1 ", "1.5", "0x10", "2147483648", "off", "ten"}) {
    const Status status = Set("wait_log_ms", bad);
    EXPECT_EQ(status.code, SQLITE_MISUSE) << bad;
    EXPECT_EQ(status.message, "wait_log_ms is a number of milliseconds, 0 to 2147483647, not '" +
                                  std::string(bad) + "'");
  }
  EXPECT_EQ(Value("wait_log_ms"), "0");
  EXPECT_TRUE(Set("wait_log_ms", "default").ok());
  EXPECT_EQ(Value("wait_log_ms"), "1000");
}

TEST_F(SettingsTest, OnlyTheRecoveryWaitIsADatabasesOwn) {
  DatabaseSettings database;
  EXPECT_TRUE(SetFromUri("recovery_wait_ms", "250", database).ok());
  EXPECT_EQ(RecoveryWaitMs(database), 250U);
  EXPECT_EQ(RecoveryWaitMs({}), 0U);
  EXPECT_TRUE(Set("recovery_wait_ms", "70").ok());
  EXPECT_EQ(RecoveryWaitMs(database), 70U);
  EXPECT_EQ(SetFromUri("recovery_wait_ms", "-5", database).code, SQLITE_MISUSE);
  EXPECT_EQ(SetFromUri("wait_log_ms", "5", database).code, SQLITE_MISUSE);
  EXPECT_EQ(SetFromUri("log", "info", database).code, SQLITE_MISUSE);
  EXPECT_TRUE(Set("recovery_wait_ms", "default").ok());
  EXPECT_EQ(RecoveryWaitMs(database), 250U);
}

// ---- log ----

TEST_F(SettingsTest, LogIsALevelPerhapsWithAFile) {
  EXPECT_EQ(Value("log"), "off");
  EXPECT_EQ(Log(), LogChoice{});
  EXPECT_TRUE(Set("log", "INFO").ok());
  EXPECT_EQ(Log(), (LogChoice{LogLevel::kInfo, ""}));
  EXPECT_TRUE(Set("log", "warn:/tmp/a:b.log").ok());
  EXPECT_EQ(Log(), (LogChoice{LogLevel::kWarn, "/tmp/a:b.log"}));
  EXPECT_EQ(Value("log"), "warn:/tmp/a:b.log");
  EXPECT_EQ(WordOfProcess("log"), "warn:/tmp/a:b.log");
  for (const char* bad : {"", "loud", "info:", "off:/tmp/x", ":/tmp/x", "info /tmp/x", "1"}) {
    EXPECT_EQ(Set("log", bad).code, SQLITE_MISUSE) << bad;
  }
  EXPECT_EQ(Log(), (LogChoice{LogLevel::kWarn, "/tmp/a:b.log"}));
  EXPECT_TRUE(Set("log", "default").ok());
  EXPECT_EQ(WordOfProcess("log"), "default");
  EXPECT_EQ(Value("log"), "off");
}

// ---- errors ----

TEST_F(SettingsTest, AnUnknownNameIsMisuseAndIsNamed) {
  for (const char* name : {"", "capture", "register", "app", "logs", "wait_log",
                           "lockscope_capture_sql", "capture_sql "}) {
    const Status status = Set(name, "on");
    EXPECT_EQ(status.code, SQLITE_MISUSE) << name;
    EXPECT_EQ(status.message,
              "unknown setting '" + std::string(name) +
                  "': there are application, capture_sql, log, recovery_wait_ms, registry, "
                  "snapshot_warn_ms, target, wait_log_ms and wal_reset_guard");
    EXPECT_EQ(Value(name), "error " + std::to_string(SQLITE_MISUSE)) << name;
  }
}

TEST_F(SettingsTest, ABadValueIsMisuseAndChangesNothing) {
  EXPECT_TRUE(Set("capture_sql", "off").ok());
  for (const char* value : {"", "2", "onn", "o", "off ", "NULL"}) {
    const Status status = Set("capture_sql", value);
    EXPECT_EQ(status.code, SQLITE_MISUSE) << value;
    EXPECT_EQ(status.message, "capture_sql is 'on' or 'off', not '" + std::string(value) + "'");
  }
  EXPECT_EQ(Value("capture_sql"), "off");
}

TEST_F(SettingsTest, AUriMaySetWhatIsADatabasesOwn) {
  DatabaseSettings database;
  for (const std::string name : {"application", "target"}) {
    const Status status = SetFromUri(name, "x", database);
    EXPECT_EQ(status.code, SQLITE_MISUSE) << name;
    EXPECT_EQ(status.message, name + " is no setting of a single database");
    EXPECT_EQ(Value(name.c_str(), database), "(none)");
  }
  EXPECT_EQ(SetFromUri("log", "debug", database).code, SQLITE_MISUSE);
  EXPECT_EQ(SetFromUri("capture_sql", "maybe", database).code, SQLITE_MISUSE);
  EXPECT_EQ(database.capture_sql, Switch::kUnset);
  EXPECT_EQ(SetFromUri("registry", "off", database).code, SQLITE_MISUSE);
  EXPECT_EQ(database.registry, Switch::kUnset);
}

}  // namespace
}  // namespace lockscope::settings
