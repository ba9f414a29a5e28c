// lockscope shell: the sqlite3 shell as a diagnostic session. Skipped where there is no sqlite3.
//
//   1  the session: DB is the target, and is not opened
//   2  where lockscope.so is found
//   3  what is said where something is missing
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "command.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class ShellTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RunProgram({.argv = {"sh", "-c", "command -v sqlite3"}}).ok()) {
      GTEST_SKIP() << "there is no sqlite3 here";
    }
    CreateDatabase(path_, {.journal_mode = "delete"});
  }

  TempDir dir_;
  std::string path_ = dir_ / "it's a \"test\".db";
};

// ---- 1 ----

TEST_F(ShellTest, ShowsTheLocksOfADatabaseThatIsLockedExclusively) {
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin exclusive");
  const auto before = ReadLocksOf(path_);

  const ProgramResult result =
      Lockscope({"shell", path_, "--", "-list", "select pid, resource, mode from lockscope_locks"});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, std::to_string(writer.pid()) + "|database|EXCLUSIVE\n");
  EXPECT_TRUE(Eventually([&] { return ReadLocksOf(path_) == before; }, std::chrono::seconds(5)));
}

TEST_F(ShellTest, DatabaseIsTheTargetAndNotOpened) {
  const ProgramResult result =
      RunProgram({.argv = {LOCKSCOPE_COMMAND, "shell", "it's a \"test\".db"},
                  .input = "select lockscope_get('target');\n"
                           "select count(*), max(file) from pragma_database_list;\n",
                  .directory = dir_.path()});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, path_ + "\n1|\n");
}

TEST_F(ShellTest, StatusIsTheShellsOwn) {
  const ProgramResult result = Lockscope({"shell", path_, "--", "select nonsense"});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_NE(result.err.find("nonsense"), std::string::npos) << result;
}

// ---- 2 ----

TEST_F(ShellTest, ExtensionIsFoundInTheLibraryFolderOfAnInstallation) {
  namespace fs = std::filesystem;
  for (const char* place : {"bin", "lib"}) fs::create_directory(dir_ / place);
  fs::copy(LOCKSCOPE_COMMAND, dir_ / "bin/lockscope");
  fs::copy(LOCKSCOPE_LOADABLE_FILE, dir_ / "lib/lockscope.so");
  const ProgramResult result = RunProgram(
      {.argv = {dir_ / "bin/lockscope", "shell", path_, "--", "select lockscope_version()"}});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out.rfind("lockscope 0.", 0), 0U) << result;
}

TEST_F(ShellTest, EnvironmentNamesAnotherExtension) {
  std::filesystem::copy(LOCKSCOPE_LOADABLE_FILE, dir_ / "mine.so");
  const ProgramResult result = Lockscope({"shell", path_, "--", "select lockscope_version()"},
                                         {{"LOCKSCOPE_EXTENSION", dir_ / "mine.so"}});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out.rfind("lockscope 0.", 0), 0U) << result;
}

// ---- 3 ----

TEST_F(ShellTest, MissingExtensionIsSaid) {
  const ProgramResult result =
      Lockscope({"shell", path_}, {{"LOCKSCOPE_EXTENSION", dir_ / "none.so"}});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.err.find(dir_ / "none.so"), std::string::npos) << result;

  std::filesystem::copy(LOCKSCOPE_COMMAND, dir_ / "alone");
  const ProgramResult alone = RunProgram({.argv = {dir_ / "alone", "shell", path_}});
  EXPECT_EQ(alone.exit_code, 1);
  EXPECT_NE(alone.err.find("LOCKSCOPE_EXTENSION"), std::string::npos) << alone;
}

// The session would go on without lockscope, and end well.
TEST_F(ShellTest, ExtensionThatCannotBeLoadedEndsTheSession) {
  const ProgramResult result =
      Lockscope({"shell", path_, "--", "select 'went on'"}, {{"LOCKSCOPE_EXTENSION", path_}});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_EQ(result.out, "");
}

TEST_F(ShellTest, OneErrorDoesNotEndTheSession) {
  const ProgramResult result = RunProgram({.argv = {LOCKSCOPE_COMMAND, "shell", path_},
                                           .input = "select nonsense;\nselect 'went on';\n"});
  EXPECT_EQ(result.out, "went on\n") << result;
}

TEST_F(ShellTest, MissingDatabaseIsSaidBeforeAnythingIsStarted) {
  const ProgramResult result = Lockscope({"shell", dir_ / "none.db", "--", "select 1"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find(dir_ / "none.db"), std::string::npos) << result;
}

// Needs no sqlite3: that is what it is about.
TEST(ShellWithoutSqlite3Test, MissingShellIsSaid) {
  const TempDir dir;
  CreateDatabase(dir / "a.db");
  const ProgramResult result = Lockscope({"shell", dir / "a.db"}, {{"PATH", dir.path()}});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_EQ(result.out, "");
  EXPECT_NE(result.err.find("sqlite3 is not in PATH"), std::string::npos) << result;
}

}  // namespace
}  // namespace lockscope::testing
