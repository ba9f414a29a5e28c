// The log:
//   lines     how they look, which levels are written, what is made of control characters
//   targets   what may be appended to, and what is refused and leaves everything as it was
//   host      no SIGPIPE, no blocking, errno kept, closed on exec, forks
//   holds     a lock held against waiters, and old snapshots, both sides' SQL
//   barriers  held, refused, released, violated

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "core/session.h"
#include "core/waiting_client.h"
#include "logging/log.h"
#include "settings/settings.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using logging::Level;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

using Lines = std::vector<std::string>;

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override {
    for (const char* name : {"log", "wait_log_ms", "snapshot_warn_ms"}) Set(name, "default");
  }

  void Set(const std::string& name, const std::string& value) {
    db_.Exec("select lockscope_set('" + name + "', '" + value + "')");
  }
  Reply TrySet(const std::string& value) {
    return db_.Try("select lockscope_set('log', " + Quote(value) + ")");
  }
  void LogTo(const std::string& level) { Set("log", level + ":" + file_); }
  Lines Logged() const {
    std::ifstream in(file_);
    Lines lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

  TempDir dir_;
  const std::string file_ = dir_ / "lockscope.log";
  const std::string path_ = dir_ / "a.db";
  Db db_{":memory:"};
};

// ---- lines ----

TEST_F(LogTest, ALineTellsWhenHowBadWhoAndWhat) {
  LogTo("info");
  logging::Write(Level::kWarn, "one thing");
  EXPECT_THAT(Logged(),
              ElementsAre(MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\."
                                       "[0-9]{3}Z \\[warn(ing)?\\] lockscope\\[" +
                                       std::to_string(getpid()) + "\\]: one thing")));
}

TEST_F(LogTest, WhatIsLessBadThanTheLevelIsLeftOut) {
  const std::pair<const char*, std::size_t> kWritten[] = {
      {"debug", 4}, {"info", 3}, {"warn", 2}, {"error", 1}};
  for (const auto& [level, count] : kWritten) {
    std::ofstream(file_, std::ios::trunc);
    LogTo(level);
    for (const Level of : {Level::kDebug, Level::kInfo, Level::kWarn, Level::kError}) {
      EXPECT_EQ(logging::Enabled(of), of >= settings::Log().level);
      logging::Write(of, "x");
    }
    EXPECT_EQ(Logged().size(), count) << level;
  }
  Set("log", "off");
  std::ofstream(file_, std::ios::trunc);
  logging::Write(Level::kError, "x");
  EXPECT_THAT(Logged(), IsEmpty());
}

TEST_F(LogTest, ControlCharactersBecomeBlanksAndLongLinesAreCut) {
  LogTo("info");
  logging::Write(Level::kInfo, std::string("a\nb\x1b[31mc\x7f") + '\0' + "d");
  logging::Write(Level::kInfo, std::string(100'000, 'y'));
  logging::Write(Level::kInfo, "{} %s {0}");
  const Lines lines = Logged();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines[0], HasSubstr(": a b [31mc  d"));
  EXPECT_EQ(lines[1].size(), 4095U);
  EXPECT_THAT(lines[2], HasSubstr(": {} %s {0}"));
}

// ---- targets ----

TEST_F(LogTest, AFileIsMadeForItsOwnerAloneAndAppendedTo) {
  LogTo("info");
  logging::Write(Level::kInfo, "first");
  Set("log", "off");
  LogTo("info");
  logging::Write(Level::kInfo, "second");
  EXPECT_THAT(Logged(), ElementsAre(HasSubstr("first"), HasSubstr("second")));
  struct stat facts {};
  ASSERT_EQ(stat(file_.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0600U);
}

TEST_F(LogTest, WhatCannotBeWrittenIsMisuseAndChangesNothing) {
  LogTo("info");
  const std::string before = "info:" + file_;
  for (const std::string& bad :
       {std::string("loud"), std::string("info:"), "info:" + (dir_ / "none/x.log"),
        "info:" + std::string(dir_ / "")}) {
    const Reply reply = TrySet(bad);
    EXPECT_EQ(reply.code, SQLITE_MISUSE) << bad;
    EXPECT_NE(reply.message, "") << bad;
    EXPECT_EQ(db_.Value("select lockscope_get('log')"), before);
  }
  logging::Write(Level::kInfo, "still");
  EXPECT_THAT(Logged(), ElementsAre(HasSubstr("still")));
}

// Closing it again would drop this process's locks on it, and a line would destroy it.
TEST_F(LogTest, ADatabaseIsNoLogWhetherOpenOrNot) {
  {
    Db open(path_);
    open.Exec("create table t(x); begin immediate");
    const Reply reply = TrySet("info:" + path_);
    EXPECT_EQ(reply.code, SQLITE_MISUSE);
    EXPECT_THAT(reply.message, HasSubstr("this process has it open"));
    EXPECT_EQ(open.Value("select verified from lockscope_locks where mode = 'RESERVED'"), "1");
    open.Exec("commit");
  }
  const std::string other = dir_ / "other.db";
  CreateDatabase(other, {});
  const Reply reply = TrySet("info:" + other);
  EXPECT_EQ(reply.code, SQLITE_MISUSE);
  EXPECT_THAT(reply.message, HasSubstr("is a database"));
  EXPECT_EQ(db_.Value("select lockscope_get('log')"), "off");
}

// ---- the host ----

TEST_F(LogTest, APipeWithoutReaderOrRoomCostsLinesAndNothingElse) {
  const std::string fifo = dir_ / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const UniqueFd reader(open(fifo.c_str(), O_RDONLY | O_NONBLOCK));
  Set("log", "info:" + fifo);
  for (int i = 0; i < 1000; ++i) logging::Write(Level::kInfo, std::string(1000, 'z'));
  std::string got(1'000'000, 0);
  EXPECT_GT(read(reader.get(), got.data(), got.size()), 4000);
}

// stderr of a program whose reader has gone: SIGPIPE would end it.
TEST_F(LogTest, StderrWithoutReaderRaisesNoSignalAndKeepsErrno) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  const UniqueFd kept(dup(STDERR_FILENO));
  dup2(ends[1], STDERR_FILENO);
  close(ends[1]);
  Set("log", "info");
  errno = ENOTTY;
  logging::Write(Level::kInfo, "nobody reads this");
  const int after = errno;
  Set("log", "off");
  dup2(kept.get(), STDERR_FILENO);
  EXPECT_EQ(after, ENOTTY);
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

TEST_F(LogTest, ItsFileIsClosedOnExecAndAChildLogsWithItsOwnPid) {
  LogTo("info");
  logging::Write(Level::kInfo, "parent");
  const pid_t child = fork();
  if (child == 0) {
    logging::Write(Level::kInfo, "child");
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(Logged(), ElementsAre(HasSubstr("[" + std::to_string(getpid()) + "]: parent"),
                                    HasSubstr("[" + std::to_string(child) + "]: child")));
  const ProgramResult listed = RunProgram({.argv = {"ls", "-l", "/proc/self/fd"}});
  EXPECT_THAT(listed.out, Not(HasSubstr("lockscope.log"))) << listed;
}

// ---- holds ----

class HoldLogTest : public LogTest {
 protected:
  explicit HoldLogTest(const std::string& mode = "wal") {
    Db make(path_);
    make.Exec("pragma journal_mode=" + mode + "; create table t(x); insert into t values(1)");
    Set("wait_log_ms", "60");
    LogTo("warn");
  }
  void AwaitWaiter() {
    ASSERT_TRUE(Eventually([this] {
      return db_.Value("select count(*) from lockscope_locks(" + Quote(path_) +
                       ") where not granted and age_ms > 80") == "1";
    }));
  }
};

// Who waited may go on before the one who held has looked who waited: their lines come in any
// order.
TEST_F(HoldLogTest, AWriteLockHeldAgainstAWaiterIsToldWithBothSidesSql) {
  Db holder(path_);
  WaitingClient waiter(path_);
  holder.Exec("begin immediate; insert into t values(2)");
  waiter.Start("insert into t values(3)");
  AwaitWaiter();
  holder.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
  EXPECT_THAT(
      Logged(),
      UnorderedElementsAre(
          AllOf(HasSubstr("to " + path_ + " held wal-write EXCLUSIVE for "),
                HasSubstr(": begin immediate; -- against pid " + std::to_string(getpid()) + " ("),
                HasSubstr(": insert into t values(3)")),
          AllOf(HasSubstr("waited "), HasSubstr(" for wal-write EXCLUSIVE, "),
                HasSubstr(" refusals: insert into t values(3) -- writer: pid "),
                HasSubstr(" has held the WAL write lock"))));
}

TEST_F(HoldLogTest, AsLongButAgainstNobodyItIsNot) {
  Db holder(path_);
  holder.Exec("begin immediate; insert into t values(2)");
  usleep(100'000);
  holder.Exec("commit");
  EXPECT_THAT(Logged(), IsEmpty());
}

TEST_F(HoldLogTest, AnOldSnapshotIsToldWhenItEndsAndAYoungOneIsNot) {
  Set("snapshot_warn_ms", "60");
  Db reader(path_);
  reader.Exec("select * from t");
  EXPECT_THAT(Logged(), IsEmpty());
  reader.Exec("begin; select x from t");
  usleep(100'000);
  EXPECT_THAT(Logged(), IsEmpty());
  reader.Exec("commit");
  EXPECT_THAT(Logged(),
              ElementsAre(MatchesRegex(".*\\[warn(ing)?\\].*connection [0-9]+ to " + path_ +
                                       " held a read snapshot for [0-9]+ ms: "
                                       "(begin; )?select x from t")));
}

// In WAL mode SHARED is held until then.
TEST_F(HoldLogTest, AConnectionThatClosesAfterALongTimeHeldNoSnapshot) {
  Set("snapshot_warn_ms", "60");
  {
    Db idle(path_);
    idle.Exec("select x from t");
    usleep(100'000);
  }
  EXPECT_THAT(Logged(), IsEmpty());
}

TEST_F(HoldLogTest, OffItIsOffAtOnce) {
  Set("snapshot_warn_ms", "60");
  Db reader(path_);
  reader.Exec("begin; select x from t");
  usleep(100'000);
  Set("log", "off");
  reader.Exec("commit");
  LogTo("warn");
  EXPECT_THAT(Logged(), IsEmpty());
}

TEST_F(HoldLogTest, EachIsMeasuredAgainstItsOwnSetting) {
  Set("snapshot_warn_ms", "60");
  Set("wait_log_ms", "600000");
  Db holder(path_);
  WaitingClient waiter(path_);
  holder.Exec("begin immediate; insert into t values(2)");
  waiter.Start("insert into t values(3)");
  AwaitWaiter();
  holder.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
  EXPECT_THAT(Logged(), ElementsAre(HasSubstr("held a read snapshot for")));
}

TEST_F(HoldLogTest, AWaitThatIsGivenUpIsToldWhenTheConnectionGoesOn) {
  Db holder(path_);
  Db gives_up(path_);
  gives_up.Exec("pragma busy_timeout = 100; select count(*) from t");
  holder.Exec("begin immediate");
  EXPECT_EQ(gives_up.Try("insert into t values(3)").code, SQLITE_BUSY);
  Set("wait_log_ms", "50");
  gives_up.Exec("select count(*) from t");
  EXPECT_THAT(Logged(), ElementsAre(AllOf(HasSubstr(" gave up after "),
                                          HasSubstr(": insert into t values(3) -- writer: pid "))));
}

TEST_F(HoldLogTest, OrWhenItCloses) {
  Set("wait_log_ms", "50");
  Db holder(path_);
  holder.Exec("begin immediate");
  {
    Db gives_up(path_);
    gives_up.Exec("pragma busy_timeout = 100; select count(*) from t");
    EXPECT_EQ(gives_up.Try("insert into t values(3)").code, SQLITE_BUSY);
    EXPECT_THAT(Logged(), IsEmpty());
  }
  EXPECT_THAT(Logged(), ElementsAre(AllOf(HasSubstr(" gave up after "),
                                          HasSubstr(": insert into t values(3) -- writer: pid "))));
}

class RollbackHoldLogTest : public HoldLogTest {
 protected:
  RollbackHoldLogTest() : HoldLogTest("delete") {}
};

TEST_F(RollbackHoldLogTest, AReaderThatKeepsACommitWaitingIsTold) {
  Db reader(path_);
  WaitingClient writer(path_);
  reader.Exec("begin; select x from t");
  writer.Start("update t set x = 5");
  AwaitWaiter();
  reader.Exec("commit");
  EXPECT_TRUE(writer.Join().ok());
  EXPECT_THAT(Logged(),
              UnorderedElementsAre(AllOf(HasSubstr("held database SHARED for"),
                                         HasSubstr(": select x from t -- against pid "),
                                         HasSubstr("update t set x = 5")),
                                   HasSubstr("refusals: update t set x = 5 -- readers: pid ")));
}

TEST_F(RollbackHoldLogTest, AWriterIsToldOnceForAllItsLevels) {
  Db writer(path_);
  WaitingClient other(path_);
  writer.Exec("begin exclusive; insert into t values(2)");
  other.Start("insert into t values(3)");
  AwaitWaiter();
  writer.Exec("commit");
  EXPECT_TRUE(other.Join().ok());
  EXPECT_THAT(Logged(),
              UnorderedElementsAre(AllOf(HasSubstr("held database EXCLUSIVE for"),
                                         HasSubstr("insert into t values(3)")),
                                   HasSubstr("insert into t values(3) -- exclusive: pid ")));
}

// ---- barriers ----

TEST_F(LogTest, ABarrierIsToldFromBeginToEnd) {
  CreateDatabase(path_, {});
  LogTo("info");
  Db db(path_);
  const std::string token = db.Value("select lockscope_barrier('snapshot')");
  db.Exec("select lockscope_barrier_release('" + token + "')");
  EXPECT_THAT(Logged(),
              ElementsAre(HasSubstr("snapshot barrier on " + path_ + ", " + token + ": held after"),
                          AllOf(HasSubstr(token + ": released after "),
                                HasSubstr(", nothing has changed"))));
}

TEST_F(LogTest, ARefusedBarrierAndAnExpiredOneAreTold) {
  CreateDatabase(path_, {});
  LogTo("warn");
  Db writer(path_);
  writer.Exec("begin immediate");
  Db db(path_);
  EXPECT_EQ(db.Try("select lockscope_barrier('write', 50)").code, SQLITE_BUSY);
  writer.Exec("rollback");
  const std::string token = db.Value("select lockscope_barrier('write', 5000, '', 50)");
  ASSERT_TRUE(Eventually([this] { return Logged().size() == 2; }));
  EXPECT_NE(db.Try("select lockscope_barrier_release('" + token + "')").code, SQLITE_OK);
  EXPECT_THAT(
      Logged(),
      ElementsAre(AllOf(HasSubstr("[warn"), HasSubstr("write barrier on " + path_ + ": no "),
                        HasSubstr("wal-write is busy")),
                  AllOf(HasSubstr("[error]"), HasSubstr(token + ": expired")),
                  AllOf(HasSubstr("[error]"), HasSubstr("barrier violated: expired"))));
}

}  // namespace
}  // namespace lockscope::testing
