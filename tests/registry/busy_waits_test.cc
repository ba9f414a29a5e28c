// What is a wait, and how it ends. Groups:
//   rows        one a wait, over SQLite's retries, and how it ended
//   swallowed   refusals that SQLite does without: no row
//   overtaken   by a commit between a snapshot and its write lock
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry/reason_fixture.h"

namespace lockscope::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// ---- rows ----

class WaitTest : public ReasonTest {};
INSTANTIATE_TEST_SUITE_P(InTheWay, WaitTest, ::testing::Values(In::kPlain, In::kLockscope), NameOf);

TEST_P(WaitTest, OneRowIsOneWaitOverAllRetriesUntilItIsGranted) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  asker_.BusyTimeout("c", 20'000);
  Answer waiting = asker_.Start("c", "delete from t");
  ASSERT_TRUE(Eventually([&] {
    const Json rows = OfPid(SeenHere("waits", db_), asker_.pid());
    return rows.size() == 1 && rows.at(0).at("refusals") > 3;
  }));
  Json wait = Wait();
  EXPECT_TRUE(wait.at("outcome").is_null()) << wait.dump(2);
  blocker().Exec("c", "rollback");
  EXPECT_TRUE(waiting.Wait().ok());
  EXPECT_EQ(Waits(), 1U);
  wait = Wait();
  EXPECT_EQ(wait.at("outcome"), "acquired") << wait.dump(2);
  EXPECT_GE(wait.at("waited_ms"), 3);
  ExpectBlocker(wait, "writer", "begin immediate");
}

TEST_P(WaitTest, GivenUpItIsBusyAndTheNextIsAnother) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  asker_.BusyTimeout("c", 30);
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  EXPECT_EQ(asker_.Try("c", "delete from t where id = 2").code, SQLITE_BUSY);
  // It could be asked for once more, as far as others can tell, till it has not been for a while.
  Json rows;
  ASSERT_TRUE(Eventually([&] {
    rows = OfPid(SeenHere("waits", db_), asker_.pid());
    return rows.size() == 2 && rows.at(0).at("outcome") == "busy";
  })) << rows.dump(2);
  EXPECT_EQ(rows.at(0).at("sql"), "delete from t where id = 2");
  EXPECT_EQ(rows.at(1).at("sql"), "delete from t");
  for (const Json& row : rows) {
    EXPECT_EQ(row.at("outcome"), "busy");
    EXPECT_GT(row.at("refusals"), 1);
  }
}

TEST_P(WaitTest, AClosedConnectionsWaitsStay) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  asker_.Open("stays", db_);
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  asker_.Close("c");
  EXPECT_EQ(Wait().at("outcome"), "busy");
}

// ---- swallowed ----

class SwallowedTest : public ReasonTest {};
INSTANTIATE_TEST_SUITE_P(InTheWay, SwallowedTest, ::testing::Values(In::kPlain));

TEST_P(SwallowedTest, APassiveCheckpointThatMeetsAReader) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  Commit(blocker(), "c");
  blocker().Exec("c", "begin; select count(*) from t");
  Commit(asker_, "c");
  asker_.Exec("c", "pragma wal_checkpoint");
  EXPECT_EQ(Waits(), 0U);
}

TEST_P(SwallowedTest, AnAutomaticCheckpointThatMeetsAnother) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "pragma wal_autocheckpoint = 1");
  Commit(blocker(), "c");
  blocker().PauseAt("after shm-lock ckpt exclusive by=c");
  Answer checkpoint = blocker().Start("c", "pragma wal_checkpoint");
  blocker().AwaitPoint();
  asker_.Exec("c", "update t set v = v + 1 where id = 1");
  asker_.Exec("c", "begin; update t set v = v + 1 where id = 1; commit");
  EXPECT_EQ(Waits(), 0U) << SeenHere("waits", db_).dump(2);
  // Asked for by itself it is the caller's.
  asker_.Exec("c", "pragma wal_checkpoint");
  blocker().Continue();
  EXPECT_TRUE(checkpoint.Wait().ok());
  EXPECT_EQ(Waits(), 1U);
  EXPECT_EQ(Wait().at("reason"), "checkpoint");
}

// sqlite3_wal_checkpoint_v2() by a connection that runs nothing else is no automatic one, whatever
// locks it took before.
TEST_P(SwallowedTest, ACheckpointOfTheApplicationsOwnIsNone) {
  for (const char* mode : {"passive", "truncate"}) {
    SCOPED_TRACE(mode);
    const std::string path = dir_ / (std::string(mode) + ".db");
    CreateDatabase(path, {.journal_mode = "wal"});
    HostProcess asker;
    asker.Open("c", path);
    asker.Exec("c", "select count(*) from t");
    blocker().Open(mode, path);
    for (int i = 0; i < 5; ++i) {
      Commit(blocker(), mode);
      EXPECT_FALSE(asker.Checkpoint("c", mode).busy);
    }
    Commit(blocker(), mode);
    blocker().PauseAt("after shm-lock ckpt exclusive by=" + std::string(mode));
    Answer checkpoint = blocker().Start(mode, "pragma wal_checkpoint");
    blocker().AwaitPoint();
    EXPECT_TRUE(asker.Checkpoint("c", mode).busy);
    const Json rows = OfPid(SeenHere("waits", path), asker.pid());
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows.at(0).at("reason"), "checkpoint");
    blocker().Continue();
    EXPECT_TRUE(checkpoint.Wait().ok());
  }
}

TEST_P(SwallowedTest, AWriterThatCannotStartANewWal) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  Commit(asker_, "c");
  blocker().Exec("c", "begin; select count(*) from t");
  asker_.Exec("c", "pragma wal_checkpoint");
  Commit(asker_, "c");
  EXPECT_EQ(Waits(), 0U) << SeenHere("waits", db_).dump(2);
}

// Its own commits are part of what a connection sees, while an unfinished SELECT holds the
// snapshot.
TEST_P(SwallowedTest, AWriterWithAnUnfinishedSelectIsNotStale) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Step("c", "select id from t");
  for (int i = 0; i < 3; ++i) Commit(asker_, "c");
  EXPECT_EQ(Waits(), 0U) << SeenHere("waits", db_).dump(2);
  Commit(blocker(), "c");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, kBusySnapshot);
  EXPECT_EQ(Wait().at("reason"), "snapshot-stale");
}

TEST_P(SwallowedTest, AConnectionThatClosesBeforeTheLast) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Open("stays", db_);
  asker_.Exec("stays", "select count(*) from t");
  asker_.Close("c");
  EXPECT_EQ(Waits(), 0U) << SeenHere("waits", db_).dump(2);
}

TEST_P(SwallowedTest, ADatabaseThatIsDetachedWhileOthersUseIt) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Open("other", dir_ / "other.db");
  for (const std::string detach : {"detach a", " ; /* a */ -- b\n DETACH a"}) {
    asker_.Exec("other", "attach '" + db_ + "' as a; select count(*) from a.t");
    asker_.Exec("other", detach);
  }
  EXPECT_EQ(Waits(), 0U) << SeenHere("waits", db_).dump(2);
}

TEST_P(SwallowedTest, TheSameWithoutAnySql) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "select lockscope_set('capture_sql', 'off')");
  asker_.Open("stays", db_);
  asker_.Exec("stays", "select count(*) from t; pragma wal_autocheckpoint = 1");
  asker_.Open("leaves", db_);
  asker_.Exec("leaves", "select count(*) from t");
  asker_.Close("leaves");
  asker_.Open("other", dir_ / "other.db");
  asker_.Exec("other", "attach '" + db_ + "' as a; select count(*) from a.t; detach a");
  blocker().PauseAt("after shm-lock ckpt exclusive by=c");
  Answer checkpoint = blocker().Start("c", "pragma wal_checkpoint");
  blocker().AwaitPoint();
  Commit(asker_, "stays");
  EXPECT_EQ(Waits(), 0U) << SeenHere("waits", db_).dump(2);
  asker_.Exec("stays", "pragma wal_checkpoint");
  blocker().Continue();
  EXPECT_TRUE(checkpoint.Wait().ok());
  EXPECT_EQ(Waits(), 1U);
  EXPECT_EQ(asker_.Try("stays", "pragma journal_mode = delete").code, SQLITE_BUSY);
  EXPECT_EQ(Waits(), 2U);
}

// ---- overtaken: the write lock is had, with a snapshot that another commit has made old ----

class OvertakenTest : public ReasonTest {
 protected:
  // Commits in between `sql`'s snapshot and its write lock.
  Reply OvertakenIn(const std::string& sql) {
    asker_.PauseAt("before shm-lock write exclusive by=c");
    Answer answer = asker_.Start("c", sql);
    asker_.AwaitPoint();
    Commit(blocker(), "c");
    asker_.Continue();
    return answer.Wait();
  }
};
INSTANTIATE_TEST_SUITE_P(InTheWay, OvertakenTest, ::testing::Values(In::kPlain));

TEST_P(OvertakenTest, AStatementByItselfTriesAgain) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "pragma busy_timeout = 20000");
  EXPECT_TRUE(OvertakenIn("update t set v = v + 1 where id = 1").ok());
  EXPECT_EQ(Waits(), 1U);
  EXPECT_EQ(Wait().at("outcome"), "acquired") << Wait().dump(2);
  EXPECT_TRUE(OvertakenIn("begin immediate").ok());
  EXPECT_EQ(Wait().at("outcome"), "acquired") << Wait().dump(2);
  asker_.Exec("c", "commit; begin");
  EXPECT_TRUE(OvertakenIn("update t set v = v + 1 where id = 1").ok());
  EXPECT_EQ(Wait().at("outcome"), "acquired") << Wait().dump(2);
}

TEST_P(OvertakenTest, WithoutBusyHandlerItIsNotToldToRollBack) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  EXPECT_EQ(OvertakenIn("update t set v = v + 1 where id = 1").code, SQLITE_BUSY);
  const Json wait = Wait();
  EXPECT_EQ(wait.at("outcome"), "busy");
  EXPECT_EQ(wait.at("reason"), "unknown");
  EXPECT_THAT(wait.value("explanation", ""),
              AllOf(HasSubstr("another connection committed"), HasSubstr("Waiting helps")));
  EXPECT_EQ(wait.at("refusals"), 1);
}

TEST_P(OvertakenTest, ATransactionThatHasReadIs) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "pragma busy_timeout = 20000; begin; select count(*) from t");
  EXPECT_EQ(OvertakenIn("update t set v = v + 1 where id = 1").code, kBusySnapshot);
  EXPECT_EQ(Wait().at("reason"), "snapshot-stale");
  EXPECT_THAT(Wait().value("explanation", ""), HasSubstr("Waiting does not help"));
}

TEST_P(OvertakenTest, SoIsAStatementBesideAnUnfinishedSelect) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "pragma busy_timeout = 20000");
  asker_.Step("c", "select id from t");
  EXPECT_EQ(OvertakenIn("update t set v = v + 1 where id = 1").code, kBusySnapshot);
  EXPECT_EQ(Wait().at("reason"), "snapshot-stale");
  EXPECT_THAT(Wait().value("explanation", ""), HasSubstr("reset that SELECT"));
}

TEST_P(OvertakenTest, SoItIsInAnAttachedDatabase) {
  Make("wal");
  OpenBlocker();
  asker_.Open("c", dir_ / "other.db");
  asker_.Exec("c", "attach '" + db_ + "' as a; select count(*) from a.t");
  asker_.Exec("c", "pragma busy_timeout = 20000");
  asker_.Step("c", "select id from a.t");
  EXPECT_EQ(OvertakenIn("update a.t set v = v + 1 where id = 1").code, kBusySnapshot);
  EXPECT_EQ(Wait().at("reason"), "snapshot-stale");
  EXPECT_THAT(Wait().value("explanation", ""), HasSubstr("reset that SELECT"));
}

}  // namespace
}  // namespace lockscope::testing
