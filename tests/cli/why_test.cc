// lockscope why, run against processes of plain SQLite.
//
//   1  the forgetful reader: shared scenario "starved checkpoint", played by actors
//   2  hot journals
//   3  who keeps others out
//   4  form: text, JSON, exit status
#include <gtest/gtest.h>

#include "command.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class WhyTest : public ::testing::Test {
 protected:
  void MakeDatabase(const std::string& journal_mode, int rows = 200) {
    CreateDatabase(path_, {.journal_mode = journal_mode, .rows = rows});
  }

  // Keeps the sum at 0 and touches up to 40 pages, 20 for the index among them.
  static void Transfer(Actor& writer, int from) {
    std::string sql = "begin immediate;";
    for (int i = 0; i < 20; ++i) {
      const std::string id = std::to_string(1 + (from * 211 + i * 97) % 4000);
      sql += "update t set pad = randomblob(300) where id = " + id + ";";
    }
    writer.Exec("c", sql + "commit");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
};

// ---- 1 ----

TEST_F(WhyTest, NamesTheForgetfulReaderThatStarvesCheckpoints) {
  MakeDatabase("wal", 4000);
  Actor writer;
  writer.Open("c", path_);
  Transfer(writer, 0);
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select count(*) from t");
  Actor::CheckpointResult sqlite;
  int transfers = 0;
  do {
    Transfer(writer, ++transfers);
    sqlite = writer.Checkpoint("c", "passive");
  } while (sqlite.log_frames - sqlite.checkpointed_frames < 1000 && transfers < 1000);
  ASSERT_GE(sqlite.log_frames - sqlite.checkpointed_frames, 1000);

  const ProgramResult text = Lockscope({"why", path_});
  EXPECT_EQ(text.exit_code, 1) << text;
  EXPECT_NE(text.out.find("danger   starved checkpoint. Nothing past frame " +
                          std::to_string(sqlite.checkpointed_frames) + " can be checkpointed"),
            std::string::npos)
      << text;
  EXPECT_NE(text.out.find("\n         pid " + std::to_string(reader.pid()) + " ("),
            std::string::npos)
      << text;
  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "starved-checkpoint");
  EXPECT_EQ(finding.at("severity"), "danger");
  EXPECT_EQ(finding.at("pid"), reader.pid());

  // It goes, and the checkpoint gets to the end.
  reader.Exec("c", "commit");
  sqlite = writer.Checkpoint("c", "truncate");
  EXPECT_FALSE(sqlite.busy);
  EXPECT_EQ(Lockscope({"why", path_}).exit_code, 0);
}

TEST_F(WhyTest, AReaderOnSlotZeroKeepsEverythingFromBeingCheckpointed) {
  MakeDatabase("wal");
  Actor reader;  // the WAL is empty: it reads the database alone
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "update t set v = 0 where id = 1");
  const auto sqlite = writer.Checkpoint("c", "passive");
  EXPECT_EQ(sqlite.checkpointed_frames, 0);

  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "starved-checkpoint");
  EXPECT_EQ(finding.at("severity"), "warning");
  EXPECT_EQ(finding.at("pid"), reader.pid());
  EXPECT_NE(finding.at("text").get<std::string>().find("Nothing at all"), std::string::npos);
}

TEST_F(WhyTest, NamesEveryReaderInTheWayTheFirstFirst) {
  MakeDatabase("wal");
  const auto readers = HoldReadSlots(path_);
  std::vector<pid_t> blamed;
  for (const Json& finding : Rows("why", {path_})) {
    if (finding.at("hazard") == "starved-checkpoint") blamed.push_back(finding.at("pid"));
  }
  // The last one sees the newest commit.
  EXPECT_EQ(blamed, (std::vector<pid_t>{readers[0]->pid(), readers[1]->pid(), readers[2]->pid(),
                                        readers[3]->pid()}));
}

TEST_F(WhyTest, AReaderAtTheTipIsNamedOnceTheWalIsLong) {
  MakeDatabase("wal", 4000);
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "pragma wal_autocheckpoint = 0");
  Transfer(writer, 0);
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  Json findings = Rows("why", {path_});
  EXPECT_FALSE(AnyWhere(findings, "hazard", "long-snapshot")) << findings.dump(2);
  EXPECT_EQ(RowWhere(findings, "hazard", "oldest-snapshot").at("pid"), reader.pid());

  reader.Exec("c", "commit");
  int frames = 0;
  while (frames < 1000) {
    writer.Exec("c", "update t set pad = randomblob(300)");
    const int now = Rows("wal", {path_}).at(0).at("frames");
    ASSERT_GT(now, frames);
    frames = now;
  }
  reader.Exec("c", "begin; select * from t limit 1");
  const auto sqlite = writer.Checkpoint("c", "passive");
  ASSERT_EQ(sqlite.checkpointed_frames, frames);  // it does not keep anything from being copied
  findings = Rows("why", {path_});
  const Json finding = RowWhere(findings, "hazard", "long-snapshot");
  EXPECT_EQ(finding.at("severity"), "warning");
  EXPECT_EQ(finding.at("pid"), reader.pid());
}

// ---- 2 ----

TEST_F(WhyTest, AHotJournalIsADangerAndADatabaseWithoutIsNot) {
  MakeDatabase("delete");
  EXPECT_EQ(Lockscope({"why", path_}).exit_code, 0);
  LeaveHotJournal(path_);
  const ProgramResult text = Lockscope({"why", path_});
  EXPECT_EQ(text.exit_code, 1) << text;
  EXPECT_NE(text.out.find("\ndanger   hot journal. "), std::string::npos) << text;
  EXPECT_NE(text.out.find("\n         -> open the database once"), std::string::npos) << text;
  EXPECT_TRUE(RowWhere(Rows("why", {path_}), "hazard", "hot-journal").at("pid").is_null());

  EXPECT_EQ(IntegrityCheck(path_), "ok");  // it opens the database, and so plays the journal back
  EXPECT_EQ(Lockscope({"why", path_}).exit_code, 0);
}

TEST_F(WhyTest, WhoRollsAJournalBackIsNamed) {
  MakeDatabase("delete");
  LeaveHotJournal(path_);
  Actor recovering;
  recovering.PauseAt("after lock exclusive");
  recovering.Open("c", path_);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();

  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "hot-journal");
  EXPECT_EQ(finding.at("severity"), "warning");
  EXPECT_EQ(finding.at("pid"), recovering.pid());
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
}

TEST_F(WhyTest, AJournalOfALiveWriterOrAFinishedOneIsNotHot) {
  MakeDatabase("persist");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "pragma journal_mode = persist; update t set v = 0 where id = 1");
  ASSERT_GT(FileSize(path_ + "-journal"), 0);
  EXPECT_FALSE(AnyWhere(Rows("why", {path_}), "hazard", "hot-journal"));
  // With a spilled cache the journal is synced and would be hot if the writer were dead.
  writer.Exec("c", "pragma cache_size = 1; begin; update t set pad = zeroblob(300)");
  EXPECT_FALSE(AnyWhere(Rows("why", {path_}), "hazard", "hot-journal"));
}

// ---- 3 ----

TEST_F(WhyTest, WhoKeepsWritersOutIsNamedInBothJournalModes) {
  for (const std::string mode : {"wal", "delete"}) {
    path_ = dir_ / (mode + ".db");
    MakeDatabase(mode);
    Actor writer;
    writer.Open("c", path_);
    writer.Exec("c", "begin immediate");
    const Json finding = RowWhere(Rows("why", {path_}), "hazard", "writer");
    EXPECT_EQ(finding.at("severity"), "warning") << mode;
    EXPECT_EQ(finding.at("pid"), writer.pid()) << mode;
    writer.Exec("c", "commit");
    EXPECT_EQ(Lockscope({"why", path_}).exit_code, 0) << mode;
  }
}

TEST_F(WhyTest, WhoKeepsEverybodyOutIsNamed) {
  MakeDatabase("delete");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin exclusive");
  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "exclusive");
  EXPECT_EQ(finding.at("severity"), "warning");
  EXPECT_EQ(finding.at("pid"), writer.pid());
}

TEST_F(WhyTest, WhoHasAWalDatabaseInExclusiveLockingModeIsNamed) {
  MakeDatabase("wal");
  Actor alone;
  alone.Open("c", path_);
  alone.Exec("c", "pragma locking_mode = exclusive; update t set v = 0 where id = 1");
  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "exclusive");
  EXPECT_EQ(finding.at("pid"), alone.pid());
  EXPECT_NE(finding.at("advice").get<std::string>().find("locking_mode"), std::string::npos);
}

TEST_F(WhyTest, TheReadersThatAWriterWaitsForAreNamed) {
  MakeDatabase("delete");
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate; update t set v = 0 where id = 1");
  ASSERT_EQ(writer.Try("c", "commit").code, SQLITE_BUSY);

  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "pending-writer");
  EXPECT_EQ(finding.at("pid"), writer.pid());
  EXPECT_NE(
      finding.at("text").get<std::string>().find("waits for pid " + std::to_string(reader.pid())),
      std::string::npos)
      << finding.dump(2);
}

TEST_F(WhyTest, ACheckpointThatKeepsWritersOutIsNamed) {
  MakeDatabase("wal");
  Actor checkpointer;
  checkpointer.Open("c", path_);
  checkpointer.Exec("c", "update t set v = 0 where id = 1");
  checkpointer.PauseAt("after shm-lock 4+4 exclusive");
  Answer done = checkpointer.Start("c", "pragma wal_checkpoint(truncate)");
  checkpointer.AwaitPoint();
  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "checkpoint");
  EXPECT_EQ(finding.at("pid"), checkpointer.pid());
  checkpointer.Continue();
  EXPECT_TRUE(done.Wait().ok());
}

TEST_F(WhyTest, WhoRecoversTheWalIsNamed) {
  MakeDatabase("wal");
  LeaveWalToRecover(path_);
  Actor recovering;
  recovering.PauseAt("after shm-lock recover exclusive");
  recovering.Open("c", path_);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();
  EXPECT_EQ(RowWhere(Rows("why", {path_}), "hazard", "wal-recovery").at("pid"), recovering.pid());
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
}

// The process itself has not noticed: what it publishes is compared with what the kernel has.
TEST_F(WhyTest, ALostLockOfAnotherProcessIsADanger) {
  for (const char* mode : {"delete", "wal"}) {
    path_ = dir_ / mode;
    MakeDatabase(mode);
    Actor writer;
    writer.Load("m", LOCKSCOPE_LOADABLE_FILE);
    writer.Open("c", path_);
    writer.Exec("c", "begin immediate; update t set v = v + 1");
    const Json before = Rows("why", {path_});
    EXPECT_FALSE(AnyWhere(before, "hazard", "lost-lock")) << before.dump(2);
    writer.StrayClose(path_);
    const ProgramResult text = Lockscope({"why", path_});
    EXPECT_EQ(text.exit_code, 1) << text;
    EXPECT_NE(text.out.find("danger   lost lock. pid " + std::to_string(writer.pid()) + " ("),
              std::string::npos)
        << text;
    const Json finding = RowWhere(Rows("why", {path_}), "hazard", "lost-lock");
    EXPECT_EQ(finding.at("severity"), "danger");
    EXPECT_EQ(finding.at("pid"), writer.pid());
    EXPECT_EQ(finding.at("connection"), 1);
  }
}

// ---- 4 ----

TEST_F(WhyTest, FirstLineTellsTheStateOfTheDatabase) {
  MakeDatabase("wal");
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "update t set v = 0 where id = 1");
  const auto sqlite = writer.Checkpoint("c", "passive");
  const std::string frames = std::to_string(sqlite.log_frames);
  const ProgramResult wal = Lockscope({"why", path_});
  EXPECT_EQ(wal.exit_code, 0) << wal;
  EXPECT_EQ(wal.out.rfind(path_ + ": WAL, 4096-byte pages, " + frames + " frames (", 0), 0U) << wal;
  EXPECT_NE(wal.out.find("), " + frames + " checkpointed\nok       "), std::string::npos) << wal;

  path_ = dir_ / "rollback.db";
  MakeDatabase("delete");
  const ProgramResult rollback = Lockscope({"why", "rollback.db"}, {}, dir_.path());
  EXPECT_EQ(rollback.exit_code, 0);
  EXPECT_EQ(rollback.out.rfind("rollback.db: rollback journal, 4096-byte pages, ", 0), 0U)
      << rollback;
  EXPECT_NE(rollback.out.find("\nok       nobody is seen to have it open; no hot journal\n"),
            std::string::npos)
      << rollback;
}

TEST_F(WhyTest, JsonHasItsKeysInOrderAndTheDatabaseByItsFullName) {
  MakeDatabase("delete");
  LeaveHotJournal(path_);
  const ProgramResult result = Lockscope({"why", "--json", "a.db"}, {}, dir_.path());
  EXPECT_EQ(result.exit_code, 1);
  for (const Json& finding : Json::parse(result.out)) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : finding.items()) keys.push_back(key);
    EXPECT_EQ(keys, (std::vector<std::string>{"database", "severity", "hazard", "pid", "connection",
                                              "text", "advice"}));
    EXPECT_EQ(finding.at("database"), path_);
  }
}

TEST_F(WhyTest, SeveralDatabasesAreToldOneAfterTheOther) {
  MakeDatabase("delete");
  LeaveHotJournal(path_);
  CreateDatabase(dir_ / "b.db");
  const ProgramResult result = Lockscope({"why", dir_ / "b.db", dir_ / "none.db", path_});
  EXPECT_EQ(result.exit_code, 1);
  const std::size_t first = result.out.find(dir_ / "b.db: WAL");
  const std::size_t second = result.out.find(path_ + ": rollback journal");
  EXPECT_EQ(first, 0U) << result;
  EXPECT_NE(second, std::string::npos) << result;
  EXPECT_GT(result.out.find("danger "), second) << result;
  EXPECT_NE(result.err.find(dir_ / "none.db"), std::string::npos) << result;
}

TEST_F(WhyTest, ADatabaseThatCannotBeReadIsStatus1AndNoFinding) {
  const ProgramResult text = Lockscope({"why", dir_ / "none.db"});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_EQ(text.out, "");
  const ProgramResult json = Lockscope({"why", "--json", dir_ / "none.db"});
  EXPECT_EQ(json.exit_code, 1);
  EXPECT_EQ(json.out, "[]\n");
}

}  // namespace
}  // namespace lockscope::testing
