// Every SQLITE_BUSY explained: situations made real by processes, with lockscope in whoever is in
// the way and without. Groups:
//   situations  the reason, who, and with which SQL; where it cannot be told, `unknown`
//   waits       one row a wait, over SQLite's retries, and how it ended
//   swallowed   refusals that SQLite does without: no row
//   overtaken   by a commit between a snapshot and its write lock
//   why         lockscope_why(), of the connection that asks
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "barrier/hosted.h"
#include "registry/seen.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr int kBusyRecovery = 261;
constexpr int kBusySnapshot = 517;

enum class In { kPlain, kLockscope };  // the process that is in the way

std::unique_ptr<Actor> NewProcess(In in) {
  if (in == In::kLockscope) return std::make_unique<HostProcess>();
  return std::make_unique<Actor>();
}

void Commit(Actor& actor, const std::string& name) {
  actor.Exec(name, "update t set v = v + 1 where id = 1");
}

// Until one is not looked into, since there are too many of them.
void BeRefusedUnseen(Actor& actor, const std::string& name, const std::string& path) {
  const bool unseen = Eventually([&] {
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(actor.Try(name, "delete from t").code, SQLITE_BUSY);
    }
    const Json rows = OfPid(SeenHere("waits", path), actor.pid());
    return !rows.empty() && rows.at(0).at("explanation").is_null();
  });
  EXPECT_TRUE(unseen);
}

std::string NameOf(const ::testing::TestParamInfo<In>& of) {
  return of.param == In::kPlain ? "WithoutLockscope" : "WithLockscope";
}

class ReasonTest : public ::testing::TestWithParam<In> {
 protected:
  ReasonTest() : blocker_(NewProcess(GetParam())) {}

  void Make(const std::string& journal_mode) {
    CreateDatabase(db_, {.journal_mode = journal_mode});
  }
  void OpenAsker() {
    asker_.Open("c", db_);
    asker_.Exec("c", "select count(*) from t");
  }
  void OpenBlocker() {
    blocker_->Open("c", db_);
    blocker_->Exec("c", "select count(*) from t");
  }
  Actor& blocker() { return *blocker_; }

  // The newest wait of the asker.
  Json Wait() {
    const Json rows = OfPid(SeenHere("waits", db_), asker_.pid());
    EXPECT_FALSE(rows.empty());
    return rows.empty() ? Json::object() : rows.at(0);
  }
  // What lockscope_why() tells the asker.
  std::string Why() { return asker_.Query("c", "select lockscope_why()").at(0).at(0); }
  std::size_t Waits() { return OfPid(SeenHere("waits", db_), asker_.pid()).size(); }

  // Of the asker who wants to read while the blocker's commit is stopped at that point.
  Json WhileItCommits(const std::string& point) {
    blocker().PauseAt(point);
    Answer update = blocker().Start("c", "update t set v = v + 1 where id = 1");
    blocker().AwaitPoint();
    EXPECT_EQ(asker_.Try("c", "select count(*) from t").code, SQLITE_BUSY);
    Json wait = Wait();
    blocker().Continue();
    EXPECT_TRUE(update.Wait().ok());
    return wait;
  }

  void ExpectUnknownWhileItCommits(const std::string& journal_mode, const std::string& point) {
    OpenAsker();
    OpenBlocker();
    blocker().Exec("c", "pragma journal_mode = " + journal_mode);
    const Json wait = WhileItCommits(point);
    ExpectBlocker(wait, "unknown", "update t set v = v + 1 where id = 1");
    EXPECT_THAT(wait.value("explanation", ""), HasSubstr("Waiting helps where it is a commit"));
  }

  // `sql` of the blocker counts where it has lockscope.
  void ExpectBlocker(const Json& wait, const std::string& reason, const std::string& sql) {
    SCOPED_TRACE(wait.dump(2));
    EXPECT_EQ(wait.value("reason", ""), reason);
    EXPECT_EQ(wait.at("blocker_pid"), blocker().pid());
    EXPECT_THAT(wait.value("explanation", ""),
                HasSubstr("pid " + std::to_string(blocker().pid()) + " ("));
    if (GetParam() == In::kLockscope) {
      EXPECT_TRUE(wait.at("blocker_connection").is_number());
      EXPECT_EQ(wait.at("blocker_sql"), sql.empty() ? Json() : Json(sql));
    } else {
      EXPECT_TRUE(wait.at("blocker_connection").is_null());
      EXPECT_TRUE(wait.at("blocker_sql").is_null());
    }
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  HostProcess asker_;

 private:
  const std::unique_ptr<Actor> blocker_;
};

INSTANTIATE_TEST_SUITE_P(InTheWay, ReasonTest, ::testing::Values(In::kPlain, In::kLockscope),
                         NameOf);

// ---- situations ----

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

// ---- waits ----

TEST_P(ReasonTest, OneRowIsOneWaitOverAllRetriesUntilItIsGranted) {
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

TEST_P(ReasonTest, GivenUpItIsBusyAndTheNextIsAnother) {
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

TEST_P(ReasonTest, AClosedConnectionsWaitsStay) {
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
  asker_.Exec("other", "attach '" + db_ + "' as a; select count(*) from a.t; detach a");
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

// ---- why ----

TEST_P(ReasonTest, WhyIsTheLastBusyAsItStandsNow) {
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
TEST_P(ReasonTest, AnOldBusyIsNotBlamedOnWhoIsInTheWayNow) {
  Make("wal");
  OpenAsker();
  Actor earlier;
  earlier.Open("c", db_);
  earlier.Exec("c", "begin immediate");
  BeRefusedUnseen(asker_, "c", db_);
  earlier.Exec("c", "rollback");
  OpenBlocker();
  blocker().Exec("c", "begin immediate");
  std::this_thread::sleep_for(std::chrono::milliseconds(2200));
  EXPECT_THAT(Why(), StartsWith("unknown: nobody looked into who was in the way. That was "));
}

// The same one may have come again: what was found then is told, unless it is known to be there
// since.
TEST_P(ReasonTest, AnOldBusyIsToldAsItStandsNowWhereTheLockIsHeldSince) {
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
TEST(SteppingBackTest, WhySaysThatAWriterDied) {
  const TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  Actor writer;
  writer.Open("c", db);
  HostProcess reader({.env = {{"LOCKSCOPE_RECOVERY_WAIT_MS", "20000"}}});
  reader.OpenReadOnly("c", db);
  reader.Exec("c", "select count(*) from t");
  // Without syncs the journal is complete, and may be hot, from its first record on.
  writer.Exec("c", "pragma synchronous = off; begin immediate");
  writer.Exec("c", "update t set v = v + 1 where id = 1");
  reader.PauseAt("after lock shared by=c");
  Answer rows = reader.Start("c", "select count(*) from t");
  reader.AwaitPoint();
  writer.Kill();
  reader.Continue();
  EXPECT_EQ(rows.Wait().code, SQLITE_BUSY);
  const auto why = [&] {
    return reader.Query("c", "select lockscope_why('" + db + "')").at(0).at(0);
  };
  EXPECT_THAT(why(), StartsWith("hot-journal-recovery: a writer died in mid-transaction"));
  const Json waits = OfPid(SeenHere("waits", db), reader.pid());
  ASSERT_EQ(waits.size(), 1U) << waits.dump(2);
  const Json& wait = waits.at(0);
  EXPECT_EQ(wait.at("reason"), "hot-journal-recovery") << wait.dump(2);
  EXPECT_EQ(wait.at("resource"), "database");
  EXPECT_EQ(wait.at("mode"), "SHARED");
  EXPECT_EQ(wait.at("sql"), "select count(*) from t");
  EXPECT_TRUE(wait.at("blocker_pid").is_null());
  // Once it has its rows, that is no BUSY of its any more.
  EXPECT_EQ(IntegrityCheck(db), "ok");
  reader.Exec("c", "select count(*) from t");
  EXPECT_EQ(OfPid(SeenHere("waits", db), reader.pid()).at(0).at("outcome"), "busy");
}

TEST(SteppingBackTest, WithABusyTimeoutItIsAWaitThatEndsWithTheRollback) {
  const TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  Actor writer;
  writer.Open("c", db);
  HostProcess reader({.env = {{"LOCKSCOPE_RECOVERY_WAIT_MS", "20000"}}});
  reader.OpenReadOnly("c", db);
  reader.BusyTimeout("c", 20'000);
  reader.Exec("c", "select count(*) from t");
  writer.Exec("c", "pragma synchronous = off; begin immediate");
  writer.Exec("c", "update t set v = v + 1 where id = 1");
  reader.PauseAt("after lock shared by=c");
  Answer rows = reader.Start("c", "select count(*) from t");
  reader.AwaitPoint();
  writer.Kill();
  reader.Continue();
  ASSERT_TRUE(Eventually([&] {
    const Json waits = OfPid(SeenHere("waits", db), reader.pid());
    return waits.size() == 1 && waits.at(0).at("outcome").is_null();
  }));
  EXPECT_EQ(IntegrityCheck(db), "ok");
  EXPECT_EQ(rows.Wait().text(), "200");
  const Json waits = OfPid(SeenHere("waits", db), reader.pid());
  ASSERT_EQ(waits.size(), 1U) << waits.dump(2);
  EXPECT_EQ(waits.at(0).at("outcome"), "acquired");
  EXPECT_THAT(reader.Query("c", "select lockscope_why('" + db + "')").at(0).at(0),
              StartsWith("nothing: "));
}

TEST_P(ReasonTest, SomebodyElsesBusyIsNotOurs) {
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
TEST_P(ReasonTest, TheDiagnosisTellsWhoBlocksWhomAndWhatWasGivenUp) {
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
