// lockscope_why(), of the connection that asks, and the diagnosis of everybody's waits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "registry/reason_fixture.h"

namespace lockscope::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class WhyTest : public ReasonTest {};
INSTANTIATE_TEST_SUITE_P(InTheWay, WhyTest, ::testing::Values(In::kPlain, In::kLockscope), NameOf);

TEST_P(WhyTest, WhyIsTheLastBusyAsItStandsNow) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  const auto why = [&] { return asker_.Query("c", "select lockscope_why()").at(0).at(0); };
  EXPECT_THAT(why(), StartsWith("nothing: "));
  blocker().Exec("c", "begin immediate");
  EXPECT_THAT(why(), StartsWith("writer: pid " + std::to_string(blocker().pid())));
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  EXPECT_THAT(why(), AllOf(StartsWith("writer: pid " + std::to_string(blocker().pid())),
                           HasSubstr("the WAL write lock"), HasSubstr("Waiting helps")));
  blocker().Exec("c", "rollback");
  EXPECT_THAT(why(), StartsWith("writer: pid " + std::to_string(blocker().pid())));
  EXPECT_TRUE(asker_.Try("c", "select lockscope_why('no such')").code == SQLITE_CANTOPEN);
}

// Whoever holds the lock now need not be who held it then.
TEST_P(WhyTest, AnOldBusyIsNotBlamedOnWhoIsInTheWayNow) {
  Make("wal");
  OpenAsker();
  Actor earlier;
  earlier.Open("c", db_);
  earlier.Exec("c", "begin immediate");
  BeRefusedUnseen(asker_, "c", db_);
  earlier.Exec("c", "rollback");
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(Why(), "unknown: nobody looked into who was in the way.");
  std::this_thread::sleep_for(std::chrono::milliseconds(1700));
  EXPECT_THAT(Why(), StartsWith("unknown: nobody looked into who was in the way. That was "));
}

class OwnWhyTest : public ReasonTest {};
INSTANTIATE_TEST_SUITE_P(InTheWay, OwnWhyTest, ::testing::Values(In::kLockscope), NameOf);

TEST_P(OwnWhyTest, AFreshBusyIsNotBlamedOnWhoIsKnownToHaveComeLater) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  Actor earlier;
  earlier.Open("c", db_);
  earlier.Exec("c", "begin immediate");
  BeRefusedUnseen(asker_, "c", db_);
  earlier.Exec("c", "rollback");
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(Why(), "unknown: nobody looked into who was in the way.");
}

// The same one may have come again: what was found then is told, unless it is known to be there
// since.
TEST_P(WhyTest, AnOldBusyIsToldAsItStandsNowWhereTheLockIsHeldSince) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  std::this_thread::sleep_for(std::chrono::milliseconds(2200));
  const auto begins = StartsWith("writer: pid " + std::to_string(blocker().pid()));
  const bool known = GetParam() == In::kLockscope;
  const std::string why = Why();
  EXPECT_THAT(why, begins);
  EXPECT_EQ(why.find("That was ") == std::string::npos, known) << why;
  blocker().Exec("c", "rollback; begin immediate");
  EXPECT_THAT(Why(), AllOf(begins, HasSubstr("That was ")));
}

// A read-only connection with recovery_wait_ms that has SHARED when the writer dies is answered
// BUSY by lockscope, not by a lock.
class SteppingBackTest : public ::testing::Test {
 protected:
  SteppingBackTest() {
    CreateDatabase(db_, {.journal_mode = "delete"});
    writer_.Open("c", db_);
    reader_.OpenReadOnly("c", db_);
    reader_.Exec("c", "select count(*) from t");
  }
  // The writer dies while the reader's statement stands between SHARED and what it asks next.
  Answer ReadWhileTheWriterDies() {
    // Without syncs the journal is complete, and may be hot, from its first record on.
    writer_.Exec("c", "pragma synchronous = off; begin immediate");
    writer_.Exec("c", "update t set v = v + 1 where id = 1");
    reader_.PauseAt("after lock shared by=c");
    Answer rows = reader_.Start("c", "select count(*) from t");
    reader_.AwaitPoint();
    writer_.Kill();
    reader_.Continue();
    return rows;
  }
  Json Waits() { return OfPid(SeenHere("waits", db_), reader_.pid()); }
  std::string Why() {
    return reader_.Query("c", "select lockscope_why('" + db_ + "')").at(0).at(0);
  }

  const TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Actor writer_;
  HostProcess reader_{{.env = {{"LOCKSCOPE_RECOVERY_WAIT_MS", "20000"}}}};
};

TEST_F(SteppingBackTest, WhySaysThatAWriterDied) {
  EXPECT_EQ(ReadWhileTheWriterDies().Wait().code, SQLITE_BUSY);
  EXPECT_THAT(Why(), StartsWith("hot-journal-recovery: a writer died in mid-transaction"));
  const Json waits = Waits();
  ASSERT_EQ(waits.size(), 1U) << waits.dump(2);
  const Json& wait = waits.at(0);
  EXPECT_EQ(wait.at("reason"), "hot-journal-recovery") << wait.dump(2);
  EXPECT_EQ(wait.at("resource"), "database");
  EXPECT_EQ(wait.at("mode"), "SHARED");
  EXPECT_EQ(wait.at("sql"), "select count(*) from t");
  EXPECT_TRUE(wait.at("blocker_pid").is_null());
  // Once it has its rows, that is no BUSY of its any more.
  EXPECT_EQ(IntegrityCheck(db_), "ok");
  reader_.Exec("c", "select count(*) from t");
  EXPECT_EQ(Waits().at(0).at("outcome"), "busy");
}

TEST_F(SteppingBackTest, WithABusyTimeoutItIsAWaitThatEndsWithTheRollback) {
  reader_.BusyTimeout("c", 20'000);
  Answer rows = ReadWhileTheWriterDies();
  ASSERT_TRUE(Eventually([&] {
    const Json waits = Waits();
    return waits.size() == 1 && waits.at(0).at("outcome").is_null();
  }));
  EXPECT_EQ(IntegrityCheck(db_), "ok");
  EXPECT_EQ(rows.Wait().text(), "200");
  const Json waits = Waits();
  ASSERT_EQ(waits.size(), 1U) << waits.dump(2);
  EXPECT_EQ(waits.at(0).at("outcome"), "acquired");
  EXPECT_THAT(Why(), StartsWith("nothing: "));
}

TEST_P(WhyTest, SomebodyElsesBusyIsNotOurs) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Open("other", db_);
  asker_.Exec("other", "select count(*) from t");
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  blocker().Exec("c", "rollback");
  EXPECT_THAT(asker_.Query("other", "select lockscope_why()").at(0).at(0), StartsWith("nothing: "));
}

#ifdef LOCKSCOPE_COMMAND
TEST_P(WhyTest, TheDiagnosisTellsWhoBlocksWhomAndWhatWasGivenUp) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  asker_.Open("loser", db_);
  EXPECT_EQ(asker_.Try("loser", "delete from t where id = 7").code, SQLITE_BUSY);
  asker_.BusyTimeout("c", 20'000);
  Answer waiting = asker_.Start("c", "delete from t");
  ASSERT_TRUE(Eventually([&] {
    const Json rows = OfPid(SeenHere("waits", db_), asker_.pid());
    return rows.size() == 2 && rows.at(0).at("waited_ms") > 600;
  }));
  const ProgramResult result = RunProgram({.argv = {LOCKSCOPE_COMMAND, "why", "--json", db_}});
  EXPECT_EQ(result.exit_code, 1) << result;
  blocker().Exec("c", "rollback");
  EXPECT_TRUE(waiting.Wait().ok());
  const Json findings = Json::parse(result.out);
  const auto said = [&](const std::string& hazard, pid_t pid) {
    for (const Json& finding : findings) {
      if (finding.at("hazard") == hazard && finding.at("pid") == pid) return finding;
    }
    return Json::object();
  };
  const std::string holder = "pid " + std::to_string(blocker().pid()) + " (";
  const Json waits = said("writer", asker_.pid());
  EXPECT_EQ(waits.value("severity", ""), "warning") << findings.dump(2);
  EXPECT_THAT(waits.value("text", ""),
              AllOf(HasSubstr(" waits for the WAL write lock for "), HasSubstr("\ndelete from t\n"),
                    HasSubstr("writer: " + holder)));
  const Json gave_up = said("busy", asker_.pid());
  EXPECT_EQ(gave_up.value("severity", ""), "ok") << findings.dump(2);
  EXPECT_THAT(gave_up.value("text", ""),
              AllOf(HasSubstr("one request was given up"),
                    HasSubstr("\ndelete from t where id = 7\n"), HasSubstr("writer: " + holder)));
}
#endif

}  // namespace
}  // namespace lockscope::testing
