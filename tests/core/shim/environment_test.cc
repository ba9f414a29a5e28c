// Settings in the environment, which a process reads once: each case is this program again.
//   good  below the URI and the process's own word
//   bad   logged once, ignored
//   load  LOCKSCOPE_DEFAULT=0 leaves the default VFS as it is

#include <gtest/gtest.h>

#include <cstdio>

#include "core/session.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

// What the program says of itself in a child process: see Report below.
ProgramResult InEnvironment(const Environment& env) {
  ProgramResult result = RunProgram({.argv = {OwnProgram(), "--gtest_also_run_disabled_tests",
                                              "--gtest_filter=EnvironmentChild.DISABLED_Report"},
                                     .env = env});
  EXPECT_EQ(result.exit_code, 0) << result;
  return result;
}

bool Says(const ProgramResult& result, const std::string& line) {
  return ("\n" + result.out).find("\n" + line + "\n") != std::string::npos;
}

TEST(EnvironmentChild, DISABLED_Report) {
  const LogCapture log;
  TempDir dir;
  Db plain(dir / "a.db");
  Db by_uri("file:" + (dir / "a.db") + "?lockscope_capture_sql=on&lockscope_wal_reset_guard=off");
  std::puts("");
  std::printf("logging %s\n", plain.Value("select lockscope_get('log')").c_str());
  const auto report = [](const char* what, Db& db) {
    std::printf("%s %s\n", what,
                db.Value("select lockscope_get('capture_sql'), lockscope_get('wal_reset_guard'),"
                         "lockscope_get('target')")
                    .c_str());
  };
  for (const char* name : {"registry", "application"}) {
    std::printf("%s %s\n", name,
                plain.Value("select lockscope_get('" + std::string(name) + "')").c_str());
  }
  report("plain", plain);
  report("uri", by_uri);
  plain.Exec("select lockscope_set('capture_sql', 'on')");
  report("set", plain);
  plain.Exec("select lockscope_set('capture_sql', 'default')");
  report("unset", plain);
  plain.Exec("create table t(x); begin immediate");
  if (plain.Value("select lockscope_get('target')") == "NULL") {
    std::printf("sql %s\n", plain.Value("select sql from lockscope_locks").c_str());
  }
  for (const std::string& line : log.Lines()) std::printf("log %s\n", line.c_str());
}

const std::string kGuard = [] {
  const int version = sqlite3_libversion_number();
  const bool bug = version < 3044006 || (version >= 3045000 && version < 3050007) ||
                   (version >= 3051000 && version < 3051003);
  return std::string(bug ? "on" : "off");
}();

// ---- good ----

TEST(EnvironmentTest, WithoutAnyTheDefaultsAreInForce) {
  const ProgramResult result = InEnvironment({});
  EXPECT_TRUE(Says(result, "plain on " + kGuard + " NULL")) << result;
  EXPECT_TRUE(Says(result, "uri on off NULL")) << result;
  EXPECT_TRUE(Says(result, "registry shared")) << result;
  EXPECT_TRUE(Says(result, "application NULL")) << result;
  EXPECT_TRUE(Says(result, "sql begin immediate")) << result;
  EXPECT_EQ(result.out.find("\nlog "), std::string::npos) << result;
}

TEST(EnvironmentTest, GoesBeforeTheDefaultAndBehindTheOthers) {
  ProgramResult result =
      InEnvironment({{"LOCKSCOPE_CAPTURE_SQL", "off"}, {"LOCKSCOPE_WAL_RESET_GUARD", "on"}});
  EXPECT_TRUE(Says(result, "plain off on NULL")) << result;
  EXPECT_TRUE(Says(result, "uri on off NULL")) << result;
  EXPECT_TRUE(Says(result, "set on on NULL")) << result;
  EXPECT_TRUE(Says(result, "unset off on NULL")) << result;
  EXPECT_TRUE(Says(result, "sql NULL")) << result;
}

TEST(EnvironmentTest, MaySetTheTarget) {
  const ProgramResult result = InEnvironment({{"LOCKSCOPE_TARGET", "/some/where.db"}});
  EXPECT_TRUE(Says(result, "plain on " + kGuard + " /some/where.db")) << result;
}

TEST(EnvironmentTest, MayMakeTheProcessPrivateAndNameIt) {
  const ProgramResult result =
      InEnvironment({{"LOCKSCOPE_REGISTRY", "PRIVATE"}, {"LOCKSCOPE_APPLICATION", "the import"}});
  EXPECT_TRUE(Says(result, "registry private")) << result;
  EXPECT_TRUE(Says(result, "application the import")) << result;
  EXPECT_TRUE(Says(result, "plain on " + kGuard + " NULL")) << result;
}

TEST(EnvironmentTest, AnEmptyTextIsNone) {
  const ProgramResult result =
      InEnvironment({{"LOCKSCOPE_TARGET", ""}, {"LOCKSCOPE_APPLICATION", ""}});
  EXPECT_TRUE(Says(result, "plain on " + kGuard + " NULL")) << result;
  EXPECT_TRUE(Says(result, "application NULL")) << result;
}

// ---- bad ----

TEST(EnvironmentTest, ABadValueIsLoggedOnceAndIgnored) {
  ProgramResult result =
      InEnvironment({{"LOCKSCOPE_CAPTURE_SQL", "maybe"}, {"LOCKSCOPE_WAL_RESET_GUARD", "off"}});
  EXPECT_TRUE(Says(result, "plain on off NULL")) << result;
  EXPECT_TRUE(Says(result, "log " + std::to_string(SQLITE_WARNING) +
                               " lockscope: ignored the environment's LOCKSCOPE_CAPTURE_SQL: "
                               "capture_sql is 'on' or 'off', not 'maybe'"))
      << result;
  EXPECT_EQ(result.out.find("\nlog "), result.out.rfind("\nlog ")) << result;
  result = InEnvironment({{"LOCKSCOPE_REGISTRY", "off"}});
  EXPECT_TRUE(Says(result, "registry shared")) << result;
  EXPECT_TRUE(Says(result, "log " + std::to_string(SQLITE_WARNING) +
                               " lockscope: ignored the environment's LOCKSCOPE_REGISTRY: "
                               "registry is 'shared' or 'private', not 'off'"))
      << result;
}

// Where the log cannot be written to is found out only when it is opened; other settings do not
// depend on it.
TEST(EnvironmentTest, ALogThatCannotBeOpenedIsLoggedOnceAndIgnored) {
  const TempDir dir;
  const ProgramResult result =
      InEnvironment({{"LOCKSCOPE_LOG", "info:" + (dir / "none/lockscope.log")}});
  EXPECT_TRUE(Says(result, "logging off")) << result;
  EXPECT_TRUE(Says(result, "set on " + kGuard + " NULL")) << result;
  EXPECT_NE(result.out.find("\nlog " + std::to_string(SQLITE_WARNING) +
                            " lockscope: ignored the environment's LOCKSCOPE_LOG: "),
            std::string::npos)
      << result;
}

// ---- load ----

TEST(EnvironmentTest, LoadingMakesTheShimTheDefaultUnlessToldNotTo) {
  TempDir dir;
  struct Case {
    Environment env;
    std::size_t rows;
  };
  for (const Case& c : {Case{{}, 1}, Case{{{"LOCKSCOPE_DEFAULT", "1"}}, 1},
                        Case{{{"LOCKSCOPE_DEFAULT", "0"}}, 0}}) {
    Actor actor({.plain = true, .env = c.env});
    actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
    actor.Open("c", dir / "a.db");
    actor.Exec("c", "create table if not exists t(x)");
    const std::string shim_rows =
        "select * from lockscope_connections(" + Quote(dir / "a.db") + ") where source = 'shim'";
    EXPECT_EQ(actor.Query("m", shim_rows).size(), c.rows);
    actor.Open("by_name", "file:" + (dir / "a.db") + "?vfs=lockscope");
    EXPECT_EQ(actor.Query("m", shim_rows).size(), c.rows + 1);
  }
}

}  // namespace
}  // namespace lockscope::testing
