// Recoveries by real processes, seen from one that does not have the database open. Groups:
//   HotJournalTest     hot, and what only looks like it
//   RollbackTest       followed from begin to end, with and without lockscope in the process
//   NoRollbackTest     EXCLUSIVE without RESERVED that is no recovery
//   SuperJournalTest   the journal's super-journal, there and gone
//   WalRecoveryTest    the same of a WAL
//   WaitRecoveryTest   lockscope_wait_recovery
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "insight/recovery_wait.h"
#include "kernel/descriptors.h"
#include "looker.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

constexpr int kRows = 2000;

// The columns that most tests compare, in this order.
constexpr char kSeen[] =
    "select kind, state, pid, source, connection, pages_done, pages_total, refused"
    "  from lockscope_recoveries(?1)";

class RecoveriesTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode = "delete") {
    CreateDatabase(db_, {.journal_mode = journal_mode, .rows = kRows});
  }
  // A host's connections go through the shim.
  static void MakeHost(Actor& actor) { actor.Load("load", LOCKSCOPE_LOADABLE_FILE); }

  std::string State() const { return looker_.One("select lockscope_recovery_state(?1)", {db_})[0]; }
  std::vector<Row> Seen() const { return looker_.All(kSeen, {db_}); }
  // The one recovery of this state.
  Row OneOf(const std::string& state, const std::string& columns) const {
    return looker_.One("select " + columns + " from lockscope_recoveries(?1) where state = ?2",
                       {db_, state});
  }
  std::string JournalBytes() const { return std::to_string(FileSize(db_ + "-journal")); }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  const Looker looker_;
};

// ---- hot, and what only looks like it ----

using HotJournalTest = RecoveriesTest;

TEST_F(HotJournalTest, WaitsForTheNextWriter) {
  Make();
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(Seen().size(), 0U);
  LeaveHotJournal(db_);
  EXPECT_EQ(State(), "hot");
  EXPECT_EQ(OneOf("hot",
                  "kind, pid, process, connection, source, since, age_ms, sql, journal,"
                  " journal_bytes, pages_total > 10, pages_done, started, duration_ms, refused,"
                  " super_journal"),
            (Row{"rollback-journal", "NULL", "NULL", "NULL", "kernel", "NULL", "NULL", "NULL",
                 db_ + "-journal", JournalBytes(), "1", "NULL", "NULL", "NULL", "NULL", "NULL"}));
  EXPECT_EQ(IntegrityCheck(db_), "ok");
  EXPECT_EQ(State(), "none");
}

// Its blocks would stay in use as long as the looking process lives.
TEST_F(HotJournalTest, IsNotKeptOpenOnceItIsDeleted) {
  Make();
  LeaveHotJournal(db_);
  const FileId journal = kernel::StatPath(db_ + "-journal").value().id;
  EXPECT_EQ(State(), "hot");
  EXPECT_EQ(kernel::OpenFiles::Scan().Find(journal).size(), 1U);
  EXPECT_EQ(IntegrityCheck(db_), "ok");
  EXPECT_EQ(State(), "none");
  EXPECT_TRUE(kernel::OpenFiles::Scan().Find(journal).empty());
}

TEST_F(HotJournalTest, IsNoneWhileItsWriterLives) {
  Make();
  for (const bool host : {false, true}) {
    Actor writer;
    if (host) MakeHost(writer);
    writer.Open("c", db_);
    writer.Exec("c", "pragma cache_size = 1; begin immediate; update t set pad = randomblob(300)");
    ASSERT_NE(ReadBytes(db_ + "-journal", 0, 1), std::string(1, '\0'));
    EXPECT_EQ(State(), "none");
    EXPECT_EQ(Seen().size(), 0U);
    writer.Exec("c", "rollback");
  }
}

TEST_F(HotJournalTest, IsNoneFinishedEmptyOrBesideAnEmptyDatabase) {
  Make("persist");
  LeaveHotJournal(db_);
  const std::string journal = db_ + "-journal";
  ASSERT_EQ(State(), "hot");
  WriteZeros(journal, 0, 28);  // as PERSIST does when it has committed
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(Seen().size(), 0U);
  std::filesystem::resize_file(journal, 0);  // as TRUNCATE does
  EXPECT_EQ(State(), "none");

  // A journal whose database is empty belongs to nothing: SQLite deletes it.
  const std::string empty = dir_ / "empty.db";
  WriteBytes(empty, 0, "");
  std::filesystem::resize_file(empty, 0);
  WriteBytes(empty + "-journal", 0, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and more");
  EXPECT_EQ(looker_.One("select lockscope_recovery_state(?1)", {empty})[0], "none");
}

TEST_F(HotJournalTest, IsNoneBesideAWalDatabaseInUse) {
  Make("wal");
  Actor user;
  user.Open("c", db_);
  user.Exec("c", "select count(*) from t");
  WriteBytes(db_ + "-journal", 0, "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7 and more");
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(Seen().size(), 0U);
}

// ---- followed from begin to end ----

class RollbackTest : public RecoveriesTest, public ::testing::WithParamInterface<const char*> {
 protected:
  RollbackTest() {
    Make(GetParam());
    LeaveHotJournal(db_);
  }
};

INSTANTIATE_TEST_SUITE_P(Journals, RollbackTest, ::testing::Values("delete", "truncate", "persist"),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(RollbackTest, IsFollowedPageByPage) {
  const std::string total = OneOf("hot", "pages_total")[0];
  const std::string bytes = JournalBytes();
  Actor a;
  MakeHost(a);
  a.Open("c", db_);
  a.PauseAt("before write main nth=6");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();

  EXPECT_EQ(State(), "recovering");
  const std::string pid = std::to_string(a.pid());
  ASSERT_EQ(Seen().size(), 1U);
  // SQLite reads the schema while it prepares a connection's first statement: it has no text yet.
  const Row running = OneOf("running",
                            "pid, source, pages_done, pages_total, journal_bytes, sql,"
                            " connection is not null, duration_ms >= 0, refused");
  EXPECT_EQ(running, (Row{pid, "shim", "5", total, bytes, "NULL", "1", "1", "0"}));

  // Others are refused meanwhile, which is counted where they tell.
  Actor other;
  MakeHost(other);
  other.Open("c", db_);
  EXPECT_EQ(other.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  EXPECT_GE(std::stoi(OneOf("running", "refused")[0]), 1);

  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  a.Continue();
  EXPECT_EQ(rows.Wait().text(), std::to_string(kRows));
  EXPECT_EQ(State(), "none");
  ASSERT_EQ(Seen().size(), 1U);
  EXPECT_EQ(OneOf("done",
                  "pid, source, pages_done, pages_total, journal_bytes, duration_ms >= 120,"
                  " duration_ms < 20000, started = since, super_journal"),
            (Row{pid, "shim", total, total, bytes, "1", "1", "1", "NULL"}));
  EXPECT_GE(std::stoi(OneOf("done", "refused")[0]), 1);
  const std::string refused = OneOf("done", "refused")[0];
  // What is refused later is not.
  a.Exec("c", "begin exclusive");
  EXPECT_EQ(other.Try("c", "select count(*) from t").code, SQLITE_BUSY);
  EXPECT_EQ(OneOf("done", "refused")[0], refused);
  a.Exec("c", "rollback");
  // It counts no writes of later transactions, and its process tells it when the connection is
  // closed.
  a.Exec("c", "update t set v = v + 1");
  EXPECT_EQ(OneOf("done", "pages_done")[0], total);
  a.Close("c");
  EXPECT_EQ(
      a.Exec("load", "select pid, state, pages_done from lockscope_recoveries('" + db_ + "')"),
      (Row{pid, "done", total}));
}

TEST_P(RollbackTest, IsSeenOfAProcessWithoutLockscope) {
  const std::string total = OneOf("hot", "pages_total")[0];
  Actor a;
  a.Open("c", db_);
  a.PauseAt("before write main nth=6");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  EXPECT_EQ(State(), "recovering");
  EXPECT_EQ(Seen(), (std::vector<Row>{{"rollback-journal", "running", std::to_string(a.pid()),
                                       "kernel", "NULL", "NULL", total, "NULL"}}));
  a.Continue();
  EXPECT_EQ(rows.Wait().text(), std::to_string(kRows));
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(Seen().size(), 0U);
}

TEST_P(RollbackTest, HasFailedWhereItsProcessDies) {
  Actor a;
  MakeHost(a);
  a.Open("c", db_);
  a.PauseAt("before write main nth=6");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  Actor stays;  // so that the registry does
  MakeHost(stays);
  stays.Open("c", db_);
  EXPECT_EQ(stays.Try("c", "select 1 from t").code, SQLITE_BUSY);
  a.Kill();
  EXPECT_EQ(State(), "hot");
  // What the dead left behind is not told, or told as what it is.
  for (const Row& row : Seen()) EXPECT_TRUE(row[1] == "hot" || row[1] == "failed") << row[1];
  // The next one does all of it again.
  EXPECT_EQ(stays.Exec("c", "select count(*) from t")[0], std::to_string(kRows));
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(OneOf("done", "pid, pages_done = pages_total"),
            (Row{std::to_string(stays.pid()), "1"}));
  EXPECT_EQ(IntegrityCheck(db_), "ok");
}

// SQLite cannot delete the journal where it may not write to the folder.
TEST_F(RecoveriesTest, HaveFailedWhereTheJournalCannotBeFinished) {
  if (geteuid() != 0) GTEST_SKIP() << "becomes somebody else";
  Make();
  LeaveHotJournal(db_);
  namespace fs = std::filesystem;
  for (const std::string& file : {db_, db_ + "-journal"}) {
    fs::permissions(file, fs::perms::all);
  }
  dir_.AllowEverybody();
  Actor a;
  MakeHost(a);
  Actor first;  // makes the sidecar while the folder may be written to
  MakeHost(first);
  first.Open("c", db_);
  a.Become(65534, 65534);
  a.Open("c", db_);
  fs::permissions(dir_.path(), fs::perms::owner_all | fs::perms::group_read |
                                   fs::perms::group_exec | fs::perms::others_read |
                                   fs::perms::others_exec);
  const Reply reply = a.Try("c", "select count(*) from t");
  EXPECT_EQ(reply.code & 0xff, SQLITE_IOERR) << reply;
  EXPECT_EQ(State(), "hot");
  EXPECT_EQ(OneOf("hot", "pid")[0], "NULL");
  // Nobody else can be told: it may not write to the registry.
  EXPECT_EQ(a.Exec("load", "select pid, pages_done = pages_total from lockscope_recoveries('" +
                               db_ + "') where state = 'failed'"),
            (Row{std::to_string(a.pid()), "1"}));
}

// ---- EXCLUSIVE without RESERVED that is no recovery ----

class NoRollbackTest : public RecoveriesTest, public ::testing::WithParamInterface<bool> {
 protected:
  NoRollbackTest() {
    if (GetParam()) MakeHost(a_);
  }
  void ExpectNone() const {
    EXPECT_EQ(State(), "none");
    EXPECT_EQ(Seen().size(), 0U);
  }
  Actor a_;
};

INSTANTIATE_TEST_SUITE_P(Processes, NoRollbackTest, ::testing::Bool(), [](const auto& test) {
  return test.param ? "WithLockscope" : "WithoutLockscope";
});

TEST_P(NoRollbackTest, ALastWalConnectionThatCloses) {
  Make("wal");
  a_.Open("c", db_);
  a_.Exec("c", "update t set v = v");
  a_.PauseAt("after lock exclusive");
  Answer closed = a_.Send("close c");
  a_.AwaitPoint();
  ExpectNone();
  a_.Continue();
  EXPECT_TRUE(closed.Wait().ok());
  ExpectNone();
}

TEST_P(NoRollbackTest, AChangeOfJournalMode) {
  Make("wal");
  a_.Open("c", db_);
  a_.Exec("c", "update t set v = v");
  a_.PauseAt("after lock exclusive");
  Answer changed = a_.Start("c", "pragma journal_mode = delete");
  a_.AwaitPoint();
  ExpectNone();
  a_.Continue();
  EXPECT_EQ(changed.Wait().text(), "delete");
  ExpectNone();
  EXPECT_EQ(a_.Exec("c", "pragma journal_mode = wal")[0], "wal");
  ExpectNone();
}

TEST_P(NoRollbackTest, ExclusiveLockingMode) {
  for (const std::string mode : {"delete", "truncate", "persist"}) {
    Make(mode);
    a_.Open("c", db_);
    a_.Exec("c", "pragma journal_mode = " + mode);
    a_.Exec("c", "pragma locking_mode = exclusive; update t set v = v");
    ExpectNone();
    a_.Exec("c", "begin; update t set v = v");
    ExpectNone();
    a_.Exec("c", "commit; update t set v = v");
    ExpectNone();
    a_.Close("c");
    std::filesystem::remove(db_ + "-journal");
    std::filesystem::remove(db_);
  }
}

TEST_P(NoRollbackTest, ACommitAndARollbackByItsOwner) {
  Make();
  a_.Open("c", db_);
  a_.Exec("c", "pragma cache_size = 1");
  a_.PauseAt("before sync main");
  Answer update = a_.Start("c", "update t set pad = randomblob(300)");
  a_.AwaitPoint();
  ExpectNone();
  a_.Continue();
  EXPECT_TRUE(update.Wait().ok());
  a_.Exec("c", "begin; update t set pad = randomblob(300)");
  a_.PauseAt("before write main");
  Answer rollback = a_.Start("c", "rollback");
  a_.AwaitPoint();
  ExpectNone();
  a_.Continue();
  EXPECT_TRUE(rollback.Wait().ok());
  ExpectNone();
}

// In exclusive locking mode EXCLUSIVE stays when the rollback is over.
TEST_P(NoRollbackTest, ExclusiveLockingModeAfterARollback) {
  Make();
  LeaveHotJournal(db_);
  a_.Open("c", db_);
  a_.Exec("c", "pragma locking_mode = exclusive; select count(*) from t");
  EXPECT_EQ(State(), "none");
  if (GetParam()) {
    EXPECT_EQ(OneOf("done", "pages_done = pages_total")[0], "1");
  }
  a_.Exec("c", "pragma cache_size = 1; begin; update t set pad = randomblob(300)");
  // The kernel alone cannot tell: nobody has RESERVED, and a journal is there again.
  if (GetParam()) {
    EXPECT_EQ(State(), "none");
    EXPECT_EQ(Seen().size(), 1U);
    EXPECT_EQ(OneOf("done", "pages_done = pages_total")[0], "1");
  }
  a_.Exec("c", "commit");
  if (GetParam()) {
    EXPECT_EQ(OneOf("done", "pages_done = pages_total")[0], "1");
  }
}

// ---- the super-journal ----

TEST_F(RecoveriesTest, NameTheSuperJournalAndSayWhereItIsMissing) {
  Make();
  const std::string other = dir_ / "b.db";
  CreateDatabase(other, {.journal_mode = "delete"});
  {
    Actor writer;
    writer.Open("c", db_);
    writer.Exec("c", "attach '" + other + "' as b");
    writer.PauseAt("before delete other");  // the super-journal: that commits both
    Answer commit =
        writer.Start("c", "begin; update t set v = v + 1; update b.t set v = 1; commit");
    writer.AwaitPoint();
    writer.Kill();
  }
  const std::string super = OneOf("hot", "super_journal")[0];
  EXPECT_TRUE(super.starts_with(db_ + "-mj")) << super;
  ASSERT_TRUE(std::filesystem::exists(super)) << super;
  // Without it the transaction is committed: SQLite deletes the journal and rolls nothing back.
  std::filesystem::rename(super, super + ".away");
  EXPECT_EQ(OneOf("hot", "super_journal")[0], "missing");
  std::filesystem::rename(super + ".away", super);
  Actor a;
  MakeHost(a);
  a.Open("c", db_);
  EXPECT_EQ(a.Exec("c", "select sum(v) from t")[0], "0");
  EXPECT_EQ(OneOf("done", "super_journal, pages_done = pages_total")[1], "1");
}

// ---- WAL ----

class WalRecoveryTest : public RecoveriesTest {
 protected:
  WalRecoveryTest() {
    Make("wal");
    LeaveWalToRecover(db_);
    frames_ = std::to_string((FileSize(db_ + "-wal") - 32) / (24 + 4096));
  }
  std::string frames_;
};

TEST_F(WalRecoveryTest, IsFollowedFrameByFrame) {
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(Seen().size(), 0U);
  Actor a;
  MakeHost(a);
  a.Open("c", db_);
  a.PauseAt("before read wal nth=4");  // the header, twice, a frame, this one
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  EXPECT_EQ(State(), "wal-recovering");
  const std::string pid = std::to_string(a.pid());
  ASSERT_EQ(Seen().size(), 1U);
  EXPECT_EQ(OneOf("running", "kind, pid, source, pages_done, pages_total, journal, journal_bytes"),
            (Row{"wal", pid, "shim", "1", frames_, db_ + "-wal",
                 std::to_string(FileSize(db_ + "-wal"))}));
  a.Continue();
  EXPECT_EQ(rows.Wait().text(), std::to_string(kRows));
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(OneOf("done", "kind, pid, pages_done, pages_total, duration_ms >= 0"),
            (Row{"wal", pid, frames_, frames_, "1"}));
  // Reads of frames that are no recovery's are not counted, nor is the WAL's file confused.
  a.Exec("c", "update t set v = v + 1; select count(*) from t; pragma wal_checkpoint(truncate)");
  EXPECT_EQ(OneOf("done", "pages_done")[0], frames_);
  a.Exec("c", "pragma journal_mode = delete");
  EXPECT_EQ(Seen().size(), 1U);
  a.Close("c");
  EXPECT_EQ(IntegrityCheck(db_), "ok");
}

TEST_F(WalRecoveryTest, IsSeenOfAProcessWithoutLockscope) {
  Actor a;
  a.Open("c", db_);
  a.PauseAt("after shm-lock recover exclusive");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  EXPECT_EQ(State(), "wal-recovering");
  EXPECT_EQ(Seen(), (std::vector<Row>{{"wal", "running", std::to_string(a.pid()), "kernel", "NULL",
                                       "NULL", frames_, "NULL"}}));
  a.Continue();
  EXPECT_EQ(rows.Wait().text(), std::to_string(kRows));
  EXPECT_EQ(State(), "none");
  EXPECT_EQ(Seen().size(), 0U);
}

TEST_F(WalRecoveryTest, HasFailedWhereItsProcessDies) {
  Actor stays;
  MakeHost(stays);
  stays.Open("c", db_);
  Actor a;
  MakeHost(a);
  a.Open("c", db_);
  a.PauseAt("before read wal nth=3");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  a.Kill();
  EXPECT_EQ(State(), "none");
  for (const Row& row : Seen()) EXPECT_EQ(row[1], "failed");
  EXPECT_EQ(stays.Exec("c", "select count(*) from t")[0], std::to_string(kRows));
  EXPECT_EQ(OneOf("done", "pid, pages_done")[0], std::to_string(stays.pid()));
}

// ---- lockscope_wait_recovery ----

using WaitRecoveryTest = RecoveriesTest;
using Clock = std::chrono::steady_clock;

TEST_F(WaitRecoveryTest, AnswersAtOnceWhereThereIsNone) {
  Make();
  EXPECT_EQ(looker_.One("select lockscope_wait_recovery(?1, 0)", {db_})[0], "none");
}

TEST_F(WaitRecoveryTest, IsBusyAtItsTimeoutAndSaysWhatGoesOn) {
  Make();
  LeaveHotJournal(db_);
  const auto begin = Clock::now();
  const Reply hot = looker_.Try("select lockscope_wait_recovery(?1, 200)", {db_});
  EXPECT_EQ(hot.code, SQLITE_BUSY);
  EXPECT_NE(hot.message.find("hot journal"), std::string::npos) << hot.message;
  EXPECT_GE(Clock::now() - begin, std::chrono::milliseconds(200));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));

  Actor a;
  MakeHost(a);
  a.Open("c", db_);
  a.PauseAt("before write main nth=6");
  Answer rows = a.Start("c", "select count(*) from t");
  a.AwaitPoint();
  const Reply running = looker_.Try("select lockscope_wait_recovery(?1, 0)", {db_});
  EXPECT_EQ(running.code, SQLITE_BUSY);
  EXPECT_NE(running.message.find("by pid " + std::to_string(a.pid()) + ", 5 of "),
            std::string::npos)
      << running.message;
  a.Continue();
  EXPECT_TRUE(rows.Wait().ok());
}

TEST_F(WaitRecoveryTest, RefusesTimesAndTargetsThatCannotBe) {
  Make();
  for (const char* timeout : {"-1", "'soon'", "null"}) {
    EXPECT_EQ(looker_.Try("select lockscope_wait_recovery(?1, " + std::string(timeout) + ")", {db_})
                      .code &
                  0xff,
              SQLITE_MISUSE)
        << timeout;
  }
  EXPECT_EQ(looker_.Try("select lockscope_wait_recovery(?1)", {dir_ / "none.db"}).code & 0xff,
            SQLITE_CANTOPEN);
}

// Each by a process of its own, which waits while the recovery goes on.
TEST_F(WaitRecoveryTest, EndsWithTheRecovery) {
  for (const std::string mode : {"delete", "wal"}) {
    Make(mode);
    mode == "wal" ? LeaveWalToRecover(db_) : LeaveHotJournal(db_);
    Actor a;
    a.Open("c", db_);
    a.PauseAt(mode == "wal" ? "before read wal nth=3" : "before write main nth=6");
    Answer rows = a.Start("c", "select count(*) from t");
    a.AwaitPoint();
    Actor waits;
    MakeHost(waits);
    Answer waited = waits.Start("load", "select lockscope_wait_recovery('" + db_ + "', 20000)");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_FALSE(waited.Ready()) << mode;
    const auto over = Clock::now();
    a.Continue();
    EXPECT_TRUE(rows.Wait().ok());
    EXPECT_EQ(waited.Wait().text(), "none") << mode;
    EXPECT_LT(Clock::now() - over, std::chrono::seconds(5)) << mode;
    a.Close("c");
    std::filesystem::remove(db_);
  }
}

// What changes right after a look, when the next one is not due yet, still brings it on.
TEST_F(WaitRecoveryTest, EndsAtOnceWithAChangeRightAfterALook) {
  constexpr int kRounds = 10;
  Make();
  LeaveHotJournal(db_);
  const std::string journal = db_ + "-journal";
  auto shortest = Clock::duration::max();
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_EQ(State(), "hot");
    Clock::time_point changed{};
    // Asked first right after the look that has seen the hot journal.
    const Status status = insight::WaitForRecovery({db_}, std::chrono::seconds(20), [&] {
      if (changed == Clock::time_point{}) {
        changed = Clock::now();
        std::filesystem::rename(journal, journal + ".away");
      }
      return false;
    });
    const auto took = Clock::now() - changed;
    EXPECT_TRUE(status.ok()) << status.message;
    shortest = std::min(shortest, took);
    std::filesystem::rename(journal + ".away", journal);
  }
  EXPECT_LT(shortest, std::chrono::milliseconds(400));  // looks without a cause are 500 ms apart
}

TEST_F(WaitRecoveryTest, EndsWithAnInterrupt) {
  Make();
  LeaveHotJournal(db_);
  Actor waits;
  MakeHost(waits);
  Answer waited = waits.Start("load", "select lockscope_wait_recovery('" + db_ + "', 25000)");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(waited.Ready());
  const auto begin = Clock::now();
  waits.Interrupt("load");
  EXPECT_EQ(waited.Wait().code, SQLITE_INTERRUPT);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(State(), "hot");
}

}  // namespace
}  // namespace lockscope::testing
