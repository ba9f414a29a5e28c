// Looking is harmless: the command changes neither locks nor files.
//
//   1  others' locks are as they were
//   2  files that a closing connection would delete or change are there still
//   3  SQLite is not even woken
#include <gtest/gtest.h>

#include <csignal>

#include "command.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

const std::vector<std::string> kCommands = {
    "connections", "locks", "snapshots", "wal", "blockers", "events", "stats", "why", "hazards"};

// Everything that looks, once each way.
void LookInAllWays(const std::string& path) {
  for (const std::string& command : kCommands) {
    EXPECT_GE(Lockscope({command, path}).exit_code, 0) << command;
    EXPECT_FALSE(Rows(command, {path}).is_discarded()) << command;
  }
}

// The kernel may list a lock twice, or not at all, when others change elsewhere while it is asked:
// what is true stays.
void ExpectLocks(const std::string& path, const std::vector<std::string>& lines) {
  EXPECT_TRUE(Eventually([&] { return ReadLocksOf(path) == lines; }, std::chrono::seconds(5)))
      << ::testing::PrintToString(ReadLocksOf(path)) << " instead of "
      << ::testing::PrintToString(lines);
}

std::string Whole(const std::string& path) {
  return ReadBytes(path, 0, static_cast<std::size_t>(FileSize(path)));
}

// ---- 1 ----

TEST(LookingTest, LocksOfAWalDatabaseAreAsTheyWere) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path);
  const auto readers = HoldReadSlots(path);
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin immediate");

  const auto database = ReadLocksOf(path);
  const auto shm = ReadLocksOf(path + "-shm");
  ASSERT_GE(shm.size(), 6U);
  LookInAllWays(path);
  ExpectLocks(path, database);
  ExpectLocks(path + "-shm", shm);
  writer.Exec("c", "update t set v = 1 where id = 1; update t set v = 0 where id = 1; commit");
}

TEST(LookingTest, LocksOfARollbackDatabaseAreAsTheyWere) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin exclusive");

  const auto before = ReadLocksOf(path);
  ASSERT_FALSE(before.empty());
  LookInAllWays(path);
  ExpectLocks(path, before);
  writer.Exec("c", "commit");
}

// ---- 2 ----

TEST(LookingTest, AWalThatNobodyHasOpenStaysAsItIs) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path);
  LeaveWalToRecover(path);
  const std::vector<std::string> files = {path, path + "-wal", path + "-shm"};
  std::vector<std::string> before;
  before.reserve(files.size());
  for (const std::string& file : files) before.push_back(Whole(file));
  ASSERT_FALSE(before.at(1).empty());

  LookInAllWays(path);
  for (std::size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(Whole(files.at(i)), before.at(i)) << files.at(i);
  }
}

TEST(LookingTest, AWalDatabaseAtRestGetsNoWalAndNoWalIndex) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path);
  LookInAllWays(path);
  EXPECT_EQ(FileSize(path + "-wal"), -1);
  EXPECT_EQ(FileSize(path + "-shm"), -1);
}

TEST(LookingTest, AHotJournalStaysHot) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  LeaveHotJournal(path);
  const std::string database = Whole(path);
  const std::string journal = Whole(path + "-journal");

  LookInAllWays(path);
  EXPECT_EQ(Whole(path), database);
  EXPECT_EQ(Whole(path + "-journal"), journal);
  Actor reader;
  reader.OpenReadOnly("c", path);
  EXPECT_EQ(reader.Try("c", "select * from t").code, SQLITE_READONLY_ROLLBACK);
}

// ---- 3 ----

// With an SQLite that ends whoever opens a database or only begins to use it.
TEST(LookingTest, SqliteIsNotUsed) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path);
  const Environment env = {{"LD_PRELOAD", LOCKSCOPE_DEADLY_SQLITE}};
  const ProgramResult control = Lockscope({"exec", "--db", path, "--", "true"}, env);
  if (control.ok()) GTEST_SKIP() << "the program has an SQLite inside";
  EXPECT_EQ(control.signal, SIGABRT) << control;
  std::vector<std::string> commands = kCommands;
  commands.emplace_back("barriers");
  for (const std::string& command : commands) {
    const ProgramResult result = Lockscope({command, path}, env);
    EXPECT_EQ(result.exit_code, 0) << command << ": " << result;
  }
}

}  // namespace
}  // namespace lockscope::testing
