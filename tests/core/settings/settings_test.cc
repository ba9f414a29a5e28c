// What may be chosen, and whose word counts:
//   words     on and off in every spelling; what is none
//   order     the process before the URI before the default (the environment:
//   shim/environment_test) target    any text; of the process only errors    unknown names, bad
//   values, nothing changed by them

#include "settings/settings.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

namespace lockscope::settings {
namespace {

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() { LoadEnvironment(true); }
  ~SettingsTest() override {
    for (const char* name : {"capture_sql", "wal_reset_guard", "target"}) {
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

TEST_F(SettingsTest, NamesAreSqlsInEitherCase) {
  EXPECT_TRUE(Set("Capture_SQL", "off").ok());
  EXPECT_EQ(Value("CAPTURE_SQL"), "off");
}

// ---- order ----

TEST_F(SettingsTest, TheDefaultsAreOn) {
  EXPECT_EQ(Value("capture_sql"), "on");
  EXPECT_EQ(Value("wal_reset_guard"), "on");  // LoadEnvironment was told that the bug is there
  EXPECT_EQ(Value("target"), "(none)");
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

// ---- target ----

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

// ---- errors ----

TEST_F(SettingsTest, AnUnknownNameIsMisuseAndIsNamed) {
  for (const char* name : {"", "capture", "registry", "application", "log", "wait_log_ms",
                           "lockscope_capture_sql", "capture_sql "}) {
    const Status status = Set(name, "on");
    EXPECT_EQ(status.code, SQLITE_MISUSE) << name;
    EXPECT_NE(status.message.find("'" + std::string(name) + "'"), std::string::npos) << name;
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
  EXPECT_EQ(SetFromUri("target", "x", database).code, SQLITE_MISUSE);
  EXPECT_EQ(SetFromUri("registry", "private", database).code, SQLITE_MISUSE);
  EXPECT_EQ(SetFromUri("capture_sql", "maybe", database).code, SQLITE_MISUSE);
  EXPECT_EQ(database.capture_sql, Switch::kUnset);
}

}  // namespace
}  // namespace lockscope::settings
