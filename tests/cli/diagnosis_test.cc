// What two looks tell apart: what stays from what only passes by. `why` looks twice by the clock;
// here the looks are taken at chosen moments.
//
//   1  readers
//   2  writers
//   3  journals
//   4  numbers for people
#include "insight/diagnosis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "insight/summary.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::insight {
namespace {

using testing::Actor;
using testing::CreateDatabase;
using testing::TempDir;

class DiagnosisTest : public ::testing::Test {
 protected:
  void SetUp() override { CreateDatabase(path_); }

  void BeginReading(Actor& actor) { actor.Exec("c", "begin; select * from t limit 1"); }
  void Commit(Actor& actor) { actor.Exec("c", "update t set v = 0 where id = 1"); }

  Look Now() const { return Look::At({path_}); }

  static std::optional<Finding> Find(const std::vector<Finding>& findings, const char* hazard) {
    const auto found = std::find_if(findings.begin(), findings.end(),
                                    [hazard](const auto& f) { return f.hazard == hazard; });
    return found == findings.end() ? std::nullopt : std::optional(*found);
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
};

// ---- 1 ----

TEST_F(DiagnosisTest, AReaderThatStaysIsBlamedAndOneThatPassesByIsNot) {
  Actor writer;
  writer.Open("c", path_);
  Commit(writer);
  Actor reader;
  reader.Open("c", path_);
  BeginReading(reader);
  Commit(writer);
  const Look first = Now();
  const Look second = Now();
  const auto stays = Find(Diagnose(second, &first), "starved-checkpoint");
  ASSERT_TRUE(stays);
  EXPECT_EQ(stays->pid, reader.pid());

  // It ends and begins anew: then it sees the newest commit, and another commit makes that old.
  reader.Exec("c", "commit");
  BeginReading(reader);
  Commit(writer);
  const Look third = Now();
  EXPECT_FALSE(Find(Diagnose(third, &second), "starved-checkpoint"));
  EXPECT_TRUE(Find(Diagnose(third, nullptr), "starved-checkpoint"));  // one look cannot tell
}

TEST_F(DiagnosisTest, AReaderOnSlotZeroThatLetACheckpointThroughIsNotTheSame) {
  Actor writer;
  writer.Open("c", path_);
  Actor reader;
  reader.Open("c", path_);
  BeginReading(reader);
  Commit(writer);
  const Look first = Now();
  const Look second = Now();
  EXPECT_TRUE(Find(Diagnose(second, &first), "starved-checkpoint"));

  reader.Exec("c", "commit");
  ASSERT_GT(writer.Checkpoint("c", "passive").checkpointed_frames, 0);
  BeginReading(reader);  // on slot 0 again
  Commit(writer);        // into a WAL that starts over
  const Look third = Now();
  ASSERT_EQ(third.databases().at(0).wal_index->backfilled, 0U);
  EXPECT_FALSE(Find(Diagnose(third, &second), "starved-checkpoint"));
}

TEST_F(DiagnosisTest, AReaderOnSlotZeroIsTheSameWhenTheWalStartsOverUnderIt) {
  Actor writer;
  writer.Open("c", path_);
  Commit(writer);
  writer.Checkpoint("c", "passive");
  Actor reader;
  reader.Open("c", path_);
  BeginReading(reader);
  const Look first = Now();
  EXPECT_FALSE(Find(Diagnose(first, nullptr), "starved-checkpoint"));  // there is nothing to copy
  Commit(writer);
  const Look second = Now();
  ASSERT_NE(first.databases().at(0).wal_index->salt1, second.databases().at(0).wal_index->salt1);
  const auto starved = Find(Diagnose(second, &first), "starved-checkpoint");
  ASSERT_TRUE(starved);
  EXPECT_EQ(starved->pid, reader.pid());
}

// ---- 2 ----

TEST_F(DiagnosisTest, AWriterThatCommitsInBetweenIsNotBlamed) {
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate");
  const Look first = Now();
  const Look second = Now();
  const auto stuck = Find(Diagnose(second, &first), "writer");
  ASSERT_TRUE(stuck);
  EXPECT_EQ(stuck->pid, writer.pid());

  writer.Exec("c", "update t set v = 0 where id = 1; commit; begin immediate");
  const Look third = Now();
  const auto findings = Diagnose(third, &second);
  EXPECT_FALSE(Find(findings, "writer"));
  const auto holder = Find(findings, "holder");
  ASSERT_TRUE(holder);
  EXPECT_EQ(holder->pid, writer.pid());
  EXPECT_EQ(holder->severity, Severity::kOk);
  EXPECT_NE(holder->text.find("is writing, holds wal-write EXCLUSIVE"), std::string::npos)
      << holder->text;
}

TEST_F(DiagnosisTest, AWriterIsNotSuspectedAfterOneLook) {
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate");
  EXPECT_FALSE(Find(Diagnose(Now(), nullptr), "writer"));
}

// ---- 3 ----

TEST_F(DiagnosisTest, AJournalIsHotOnceItsWriterIsGone) {
  path_ = dir_ / "rollback.db";
  CreateDatabase(path_, {.journal_mode = "delete"});
  Actor writer;
  writer.Open("c", path_);
  // A spilled cache: the journal is synced, and half of the transaction in the database.
  writer.Exec("c", "pragma cache_size = 1; begin; update t set pad = zeroblob(300)");
  const Look alive = Now();
  EXPECT_FALSE(Find(Diagnose(alive, nullptr), "hot-journal"));
  writer.Kill();
  const Look dead = Now();
  const auto hot = Find(Diagnose(dead, &alive), "hot-journal");
  ASSERT_TRUE(hot);
  EXPECT_EQ(hot->severity, Severity::kDanger);
}

TEST_F(DiagnosisTest, AJournalThatAppearedBetweenTheLooksIsNotYetHot) {
  path_ = dir_ / "rollback.db";
  CreateDatabase(path_, {.journal_mode = "delete"});
  const Look before = Now();
  testing::LeaveHotJournal(path_);
  const Look after = Now();
  EXPECT_FALSE(Find(Diagnose(after, &before), "hot-journal"));
  EXPECT_TRUE(Find(Diagnose(after, nullptr), "hot-journal"));
  EXPECT_TRUE(Find(Diagnose(Now(), &after), "hot-journal"));
}

// A change of journal mode to WAL that crashed: the header says WAL already, and nobody has one
// open.
TEST_F(DiagnosisTest, AJournalBesideAWalHeaderIsHotWhereNobodyHasTheWalOpen) {
  const std::string rollback = dir_ / "rollback.db";
  CreateDatabase(rollback, {.journal_mode = "delete"});
  testing::LeaveHotJournal(rollback);
  std::filesystem::rename(rollback + "-journal", path_ + "-journal");
  const Look first = Now();
  EXPECT_TRUE(Find(Diagnose(Now(), &first), "hot-journal"));
}

// ---- 4 ----

TEST(SummaryTest, NumbersAreForPeople) {
  EXPECT_EQ(WithCommas(0), "0");
  EXPECT_EQ(WithCommas(999), "999");
  EXPECT_EQ(WithCommas(406276), "406,276");
  EXPECT_EQ(WithCommas(1000000), "1,000,000");
  EXPECT_EQ(HumanBytes(999), "999 bytes");
  EXPECT_EQ(HumanBytes(4096), "4.1 kB");
  EXPECT_EQ(HumanBytes(1673857120), "1.7 GB");
  EXPECT_EQ(HumanBytes(999'999), "1.0 MB");
  EXPECT_EQ(HumanDuration(87), "87 ms");
  EXPECT_EQ(HumanDuration(12'400), "12.4 s");
  EXPECT_EQ(HumanDuration(61'000), "1 min 1 s");
  EXPECT_EQ(HumanDuration(11'520'000), "3 h 12 min");
  EXPECT_EQ(HumanMicros(0), "0 us");
  EXPECT_EQ(HumanMicros(999), "999 us");
  EXPECT_EQ(HumanMicros(1000), "1.0 ms");
  EXPECT_EQ(HumanMicros(87'340), "87.3 ms");
  EXPECT_EQ(HumanMicros(999'949), "999.9 ms");
  EXPECT_EQ(HumanMicros(999'950), "1.0 s");
  EXPECT_EQ(HumanMicros(11'520'000'000), "3 h 12 min");
  EXPECT_EQ(OneLine("  SELECT *\n\t FROM t  "), "SELECT * FROM t");
  EXPECT_EQ(OneLine(" \n "), "");
}

}  // namespace
}  // namespace lockscope::insight
