// Why: situations made real by processes, with lockscope in whoever is in the way and without. The
// reason, who, and with which SQL; where it cannot be told, `unknown`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry/reason_fixture.h"

namespace lockscope::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr int kBusyRecovery = 261;  // SQLITE_BUSY_RECOVERY

INSTANTIATE_TEST_SUITE_P(InTheWay, ReasonTest, ::testing::Values(In::kPlain, In::kLockscope),
                         NameOf);

TEST_P(ReasonTest, AWriterHoldsReserved) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "writer", "begin immediate");
  EXPECT_EQ(wait.at("resource"), "database");
  EXPECT_EQ(wait.at("mode"), "RESERVED");
  EXPECT_EQ(wait.at("sql"), "delete from t");
  EXPECT_EQ(wait.at("outcome"), "busy");
  EXPECT_EQ(wait.at("refusals"), 1);
}

TEST_P(ReasonTest, AWriterHoldsTheWalWriteLock) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "writer", "begin immediate");
  EXPECT_EQ(wait.at("resource"), "wal-write");
}

TEST_P(ReasonTest, PendingStarvesReaders) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  Actor reader;
  reader.Open("r", db_);
  reader.Step("r", "select id from t");
  blocker().Exec("c", "begin immediate");
  Commit(blocker(), "c");
  EXPECT_EQ(blocker().Try("c", "commit").code, SQLITE_BUSY);
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "pending-writer", "commit");
  EXPECT_THAT(wait.value("explanation", ""),
              HasSubstr("It waits for the readers to end: pid " + std::to_string(reader.pid())));
}

TEST_P(ReasonTest, AReaderKeepsACommitWaiting) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Step("c", "select id from t");
  asker_.Exec("c", "begin immediate; update t set v = v + 1 where id = 1");
  EXPECT_EQ(asker_.Try("c", "commit").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "readers", "select id from t");
  EXPECT_EQ(wait.at("mode"), "EXCLUSIVE");
}

TEST_P(ReasonTest, ExclusiveLockingMode) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "pragma locking_mode = exclusive");
  blocker().Exec("c", "update t set v = v + 1 where id = 1");
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  // By its locks alone it could as well be a transaction without a journal file.
  ExpectBlocker(Wait(), GetParam() == In::kLockscope ? "exclusive" : "unknown",
                "update t set v = v + 1 where id = 1");
}

TEST_P(ReasonTest, ExclusiveLockingModeWhileItWrites) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "pragma main.locking_mode = 'Exclusive'");
  EXPECT_EQ(WhileItCommits("before write main by=c").at("reason"),
            GetParam() == In::kLockscope ? "exclusive" : "unknown");
}

TEST_P(ReasonTest, AfterExclusiveLockingModeACommitIsAnyCommit) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "pragma locking_mode = exclusive; select count(*) from t");
  blocker().Exec("c", "pragma locking_mode = normal; select count(*) from t");
  EXPECT_EQ(WhileItCommits("before sync journal by=c").at("reason"), "unknown");
}

// A pragma without a schema is told to the main database alone, and meant for all.
TEST_P(ReasonTest, AnAttachedDatabasesLockingModeIsNotKnown) {
  Make("delete");
  OpenAsker();
  blocker().Open("c", dir_ / "main.db");
  blocker().Exec("c", "attach '" + db_ + "' as a; pragma a.locking_mode = exclusive");
  blocker().Exec("c", "pragma locking_mode = normal; select count(*) from a.t");
  EXPECT_EQ(WhileItCommits("before sync journal by=c").at("reason"), "unknown");
}

TEST_P(ReasonTest, ATransactionThatBeganExclusively) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "Begin  EXCLUSIVE transaction");
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  ExpectBlocker(Wait(), GetParam() == In::kLockscope ? "exclusive" : "unknown",
                "Begin  EXCLUSIVE transaction");
}

// A commit has EXCLUSIVE while its journal, which begins with zeros until then, is synced…
TEST_P(ReasonTest, ACommitThatSyncsItsJournalIsNotTakenForExclusiveLockingMode) {
  Make("delete");
  ExpectUnknownWhileItCommits("delete", "before sync journal by=c");
}

// …and once more when it has finished the journal without deleting it.
TEST_P(ReasonTest, ACommitThatHasFinishedAPersistentJournalIsNotTakenForExclusiveLockingMode) {
  Make("delete");
  ExpectUnknownWhileItCommits("persist", "before sync journal nth=3 by=c");
}

TEST_P(ReasonTest, ACommitThatHasCutItsJournalOffIsNotTakenForExclusiveLockingMode) {
  Make("delete");
  ExpectUnknownWhileItCommits("truncate", "before sync journal nth=3 by=c");
}

TEST_P(ReasonTest, ATransactionWithoutAJournalFileIsNotTakenForExclusiveLockingMode) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "pragma journal_mode = memory");
  blocker().Exec("c", "pragma cache_size = 1");
  blocker().Exec("c", "begin");
  blocker().Exec("c", "update t set pad = randomblob(300)");
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  ExpectBlocker(Wait(), "unknown", "update t set pad = randomblob(300)");
}

TEST_P(ReasonTest, AChangeOfJournalModeWaitsForOpenConnections) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  EXPECT_EQ(asker_.Try("c", "pragma journal_mode = delete").code, SQLITE_BUSY);
  const Json wait = Wait();
  EXPECT_EQ(wait.at("reason"), "unknown") << wait.dump(2);
  EXPECT_EQ(wait.at("blocker_pid"), blocker().pid());
  EXPECT_THAT(wait.value("explanation", ""), HasSubstr("every open connection is in the way"));
}

// Waiting is of no use to a transaction that has read: SQLite calls no busy handler then.
TEST_P(ReasonTest, AReaderThatWantsToWriteIsNotToldToWait) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "begin");
  asker_.Exec("c", "select count(*) from t");
  blocker().Exec("c", "begin immediate");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "writer", "begin immediate");
  EXPECT_THAT(wait.value("explanation", ""), HasSubstr("Waiting does not help a transaction that"));
  // As it stands now, and as it stood.
  const auto says_so = AllOf(StartsWith("writer: pid " + std::to_string(blocker().pid())),
                             HasSubstr("Waiting does not help a transaction that"));
  EXPECT_THAT(Why(), says_so);
  blocker().Exec("c", "rollback");
  EXPECT_THAT(Why(), says_so);
}

// Nor does SQLite call the busy handler of a connection whose own SELECT is unfinished.
TEST_P(ReasonTest, AWriterBesideItsOwnUnfinishedSelectIsToldToFinishIt) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    const std::string path = dir_ / (std::string(mode) + ".db");
    CreateDatabase(path, {.journal_mode = mode});
    HostProcess asker;
    asker.Open("c", path);
    asker.BusyTimeout("c", 20'000);
    asker.Exec("c", "update t set v = v + 1 where id = 1; select count(*) from t");
    const std::string name = mode;
    blocker().Open(name, path);
    asker.Step("c", "select id from t");
    blocker().Exec(name, "begin immediate");
    EXPECT_EQ(asker.Try("c", "delete from t").code, SQLITE_BUSY);
    const Json rows = OfPid(SeenHere("waits", path), asker.pid());
    ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
    const Json& wait = rows.at(0);
    EXPECT_EQ(wait.value("reason", ""), name == "wal" ? "writer" : "upgrade-deadlock");
    EXPECT_EQ(wait.value("refusals", 0), 1);
    EXPECT_THAT(wait.value("explanation", ""),
                AllOf(HasSubstr("Waiting does not help"), HasSubstr("unfinished SELECT")));
    const auto why = [&] { return asker.Query("c", "select lockscope_why()").at(0).at(0); };
    EXPECT_THAT(why(), HasSubstr("unfinished SELECT"));
    // Without it waiting helps, whatever was read before.
    asker.Finish("c");
    asker.BusyTimeout("c", 5);
    EXPECT_EQ(asker.Try("c", "delete from t").code, SQLITE_BUSY);
    EXPECT_THAT(why(), AllOf(StartsWith("writer: "), HasSubstr("Waiting helps")));
    blocker().Close(name);
  }
}

// PRAGMA journal_mode=WAL reads first, and SQLite calls no busy handler for what it wants then.
TEST_P(ReasonTest, AChangeToWalThatMeetsAWriterIsNoUpgrade) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  asker_.Exec("c", "pragma busy_timeout = 20000");
  EXPECT_EQ(asker_.Try("c", "pragma journal_mode = wal").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "writer", "begin immediate");
  EXPECT_THAT(wait.value("explanation", ""), HasSubstr("SQLite does not wait for this"));
  EXPECT_THAT(Why(), AllOf(StartsWith("writer: pid "), HasSubstr("SQLite does not wait for this")));
}

TEST_P(ReasonTest, NorIsItToldToWaitOnceTheWriterIsGone) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  BeRefusedUnseen(asker_, "c", db_, "pragma journal_mode = wal");
  blocker().Exec("c", "rollback");
  EXPECT_THAT(Why(), AllOf(StartsWith("unknown: nobody looked into who was in the way. SQLite does "
                                      "not wait for this"),
                           Not(HasSubstr("busy timeout."))));
}

TEST_P(ReasonTest, AVacuum) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().PauseAt("after open journal by=c");
  Answer vacuum = blocker().Start("c", "vacuum");
  blocker().AwaitPoint();
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  blocker().Continue();
  EXPECT_TRUE(vacuum.Wait().ok());
  ExpectBlocker(wait, GetParam() == In::kLockscope ? "exclusive" : "unknown", "vacuum");
}

// A vacuum that writes back has a journal, as any transaction: without lockscope it could be
// either.
TEST_P(ReasonTest, AVacuumThatWritesBackIsNotTakenForAnother) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().PauseAt("before write main by=c");
  Answer vacuum = blocker().Start("c", "vacuum");
  blocker().AwaitPoint();
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  blocker().Continue();
  EXPECT_TRUE(vacuum.Wait().ok());
  ExpectBlocker(wait, GetParam() == In::kLockscope ? "exclusive" : "unknown", "vacuum");
}

TEST_P(ReasonTest, ACommitThatWritesIsAWriter) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().PauseAt("before write main by=c");
  Answer update = blocker().Start("c", "update t set v = v + 1");
  blocker().AwaitPoint();
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  blocker().Continue();
  EXPECT_TRUE(update.Wait().ok());
  ExpectBlocker(wait, GetParam() == In::kLockscope ? "writer" : "unknown",
                "update t set v = v + 1");
}

TEST_P(ReasonTest, AHotJournalIsRolledBack) {
  Make("delete");
  OpenAsker();
  LeaveHotJournal(db_);
  blocker().PauseAt("before write main nth=3");
  blocker().Open("c", db_);
  Answer rows = blocker().Start("c", "select count(*) from t");
  blocker().AwaitPoint();
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  const std::string why = asker_.Query("c", "select lockscope_why()").at(0).at(0);
  blocker().Continue();
  EXPECT_TRUE(rows.Wait().ok());
  ExpectBlocker(wait, "hot-journal-recovery", "");
  EXPECT_THAT(why, StartsWith("hot-journal-recovery: pid " + std::to_string(blocker().pid())));
  if (GetParam() == In::kLockscope) {
    EXPECT_THAT(why, HasSubstr("It rolls a crashed transaction back, 2 of "));
  }
}

TEST_P(ReasonTest, TheWalIsRecovered) {
  Make("wal");
  LeaveWalToRecover(db_);
  blocker().PauseAt("before read wal nth=3");
  blocker().Open("c", db_);
  Answer rows = blocker().Start("c", "select count(*) from t");
  blocker().AwaitPoint();
  asker_.Open("c", db_);
  EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, kBusyRecovery);
  const Json wait = Wait();
  blocker().Continue();
  EXPECT_TRUE(rows.Wait().ok());
  EXPECT_EQ(wait.at("reason"), "wal-recovery") << wait.dump(2);
  EXPECT_EQ(wait.at("blocker_pid"), blocker().pid());
}

// A process without lockscope could as well be a writer beside a checkpoint, by its locks.
TEST_P(ReasonTest, ATruncateCheckpointWaitsForReaders) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  Actor reader;
  reader.Open("r", db_);
  Commit(reader, "r");
  reader.Exec("r", "begin; select count(*) from t");
  blocker().BusyTimeout("c", 20'000);
  blocker().TellAt("before sleep by=c");
  Answer checkpoint = blocker().Start("c", "pragma wal_checkpoint(truncate)");
  blocker().AwaitPoint();
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  reader.Exec("r", "commit");
  EXPECT_TRUE(checkpoint.Wait().ok());
  ExpectBlocker(wait, GetParam() == In::kLockscope ? "checkpoint" : "unknown",
                "pragma wal_checkpoint(truncate)");
}

TEST_P(ReasonTest, TheSnapshotIsStale) {
  Make("wal");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "begin; select count(*) from t");
  Commit(blocker(), "c");
  EXPECT_EQ(asker_.Try("c", "delete from t").code, kBusySnapshot);
  const Json wait = Wait();
  EXPECT_EQ(wait.at("reason"), "snapshot-stale") << wait.dump(2);
  EXPECT_EQ(wait.at("outcome"), "busy");
  EXPECT_EQ(wait.at("waited_ms"), 0);
  EXPECT_EQ(wait.at("sql"), "delete from t");
  EXPECT_TRUE(wait.at("blocker_pid").is_null());
  EXPECT_THAT(wait.value("explanation", ""), HasSubstr("Waiting does not help"));
}

TEST_P(ReasonTest, TwoReadersBothWantToWrite) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  asker_.Exec("c", "begin; select count(*) from t");
  blocker().Exec("c", "begin; select count(*) from t");
  Commit(blocker(), "c");  // which is the transaction's
  EXPECT_EQ(asker_.Try("c", "delete from t").code, SQLITE_BUSY);
  const Json wait = Wait();
  ExpectBlocker(wait, "upgrade-deadlock", "update t set v = v + 1 where id = 1");
  EXPECT_THAT(wait.value("explanation", ""), HasSubstr("Waiting does not help"));
  EXPECT_THAT(Why(), AllOf(StartsWith("upgrade-deadlock: pid " + std::to_string(blocker().pid())),
                           HasSubstr("Waiting does not help")));
}

// Too many refusals to look into them all: what is known by itself is known of each.
TEST_P(ReasonTest, AReaderThatWantsToWriteIsNotToldToWaitThoughNobodyLooked) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    const std::string path = dir_ / (std::string(mode) + ".db");
    CreateDatabase(path, {.journal_mode = mode});
    HostProcess asker;
    asker.Open("c", path);
    const std::string name = mode;
    blocker().Open(name, path);
    blocker().Exec(name, "begin immediate");
    asker.Exec("c", "begin; select count(*) from t");
    BeRefusedUnseen(asker, "c", path);
    EXPECT_THAT(asker.Query("c", "select lockscope_why()").at(0).at(0),
                AllOf(HasSubstr("pid " + std::to_string(blocker().pid())),
                      HasSubstr("Waiting does not help")));
    blocker().Close(name);
  }
}

TEST_P(ReasonTest, SeveralReadersAreAllNamed) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  Actor other;
  other.Open("r", db_);
  other.Step("r", "select id from t");
  blocker().Step("c", "select id from t");
  asker_.Exec("c", "begin immediate; update t set v = v + 1 where id = 1");
  EXPECT_EQ(asker_.Try("c", "commit").code, SQLITE_BUSY);
  const Json wait = Wait();
  EXPECT_EQ(wait.at("reason"), "readers") << wait.dump(2);
  EXPECT_TRUE(wait.at("blocker_pid").is_null());
  for (const pid_t pid : {blocker().pid(), other.pid()}) {
    EXPECT_THAT(wait.value("explanation", ""), HasSubstr("pid " + std::to_string(pid) + " ("));
  }
}

TEST_P(ReasonTest, WhoOpensTheTableOfBlockersFindsTheSameReason) {
  Make("delete");
  OpenAsker();
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  const Json rows = SeenHere("blockers", db_);
  ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
  EXPECT_EQ(rows.at(0).at("reason"), "writer");
}

class OwnReasonTest : public ReasonTest {};
INSTANTIATE_TEST_SUITE_P(InTheWay, OwnReasonTest, ::testing::Values(In::kLockscope));

TEST_P(OwnReasonTest, ABarrier) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    HostProcess asker;
    const std::string path = dir_ / (std::string(mode) + ".db");
    CreateDatabase(path, {.journal_mode = mode});
    asker.Open("c", path);
    asker.Exec("c", "select count(*) from t");
    blocker().Open(mode, path);
    blocker().Exec(mode, "select count(*) from t");
    blocker().Exec(mode, "select lockscope_barrier('write')");
    EXPECT_EQ(asker.Try("c", "delete from t").code, SQLITE_BUSY);
    const Json rows = OfPid(SeenHere("waits", path), asker.pid());
    ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
    EXPECT_EQ(rows.at(0).at("reason"), "barrier") << rows.dump(2);
    EXPECT_EQ(rows.at(0).at("blocker_pid"), blocker().pid());
    blocker().Close(mode);
  }
}

}  // namespace
}  // namespace lockscope::testing
