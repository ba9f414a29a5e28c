// The setting recovery_wait_ms: read-only connections that meet a hot journal.
//   crash    at the moment of a crash: all get their rows once somebody has rolled back
//   off      without it everything is as SQLite has it
//   limits   the time is up; a writable connection does not wait for others; nothing is held
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "barrier/hosted.h"
#include "registry/seen.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

constexpr int kReadonlyRollback = 776;

Actor::Options Waiting(int ms) {
  return {.env = {{"LOCKSCOPE_RECOVERY_WAIT_MS", std::to_string(ms)}}};
}

// A writer whose cache has spilled: its death leaves a hot journal.
std::unique_ptr<Actor> Spilling(const std::string& path) {
  auto writer = std::make_unique<Actor>();
  writer->Open("c", path);
  writer->Exec("c", "pragma cache_size = 1; begin immediate; update t set pad = randomblob(300)");
  return writer;
}

// ---- crash ----

TEST(RecoveryWaitTest, TwentyThatComeAtTheMomentOfACrashAllGetTheirRows) {
  constexpr int kProcesses = 20;
  const int rounds = RoundsOr(5);
  std::vector<std::unique_ptr<HostProcess>> readers;
  for (int i = 0; i < kProcesses; ++i) {
    readers.push_back(std::make_unique<HostProcess>(Waiting(10'000)));
  }
  for (int round = 1; round <= rounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const TempDir dir;
    const std::string path = dir / "a.db";
    CreateDatabase(path, {.journal_mode = "delete"});
    const std::string name = "c" + std::to_string(round);
    for (auto& reader : readers) {
      reader->OpenReadOnly(name, path);
      reader->BusyTimeout(name, 20'000);
    }
    auto writer = Spilling(path);
    std::vector<Answer> answers;
    for (int i = 0; i < kProcesses; ++i) {
      // Some find the writer alive, some its journal hot.
      if (i == kProcesses / 2) writer->Kill();
      answers.push_back(
          readers[static_cast<std::size_t>(i)]->Start(name, "select count(*) from t"));
    }
    usleep(1'000'000);
    for (Answer& answer : answers) EXPECT_FALSE(answer.Ready());
    Actor recovering;
    recovering.Open("c", path);
    EXPECT_EQ(recovering.Exec("c", "select count(*) from t"), Row{"200"});
    for (Answer& answer : answers) {
      const Reply reply = answer.Wait();
      EXPECT_TRUE(reply.ok()) << reply;
      EXPECT_EQ(reply.text(), "200");
    }
    for (auto& reader : readers) reader->Close(name);
    if (::testing::Test::HasFailure()) return;
  }
}

// ---- off ----

TEST(RecoveryWaitTest, WithoutItEverythingIsAsSqliteHasIt) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  LeaveHotJournal(path);
  Actor plain;
  HostProcess host;
  for (Actor* reader : {&plain, static_cast<Actor*>(&host)}) {
    reader->OpenReadOnly("c", path);
    reader->BusyTimeout("c", 5'000);
    const StopWatch watch;
    EXPECT_EQ(reader->Try("c", "select count(*) from t").code, kReadonlyRollback);
    EXPECT_LT(watch.Elapsed(), std::chrono::milliseconds(2'500));  // without the busy handler
  }
  Actor recovering;
  recovering.PauseAt("before write main nth=2");
  recovering.Open("c", path);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();
  for (Actor* reader : {&plain, static_cast<Actor*>(&host)}) {
    reader->BusyTimeout("c", 0);
    EXPECT_EQ(reader->Try("c", "select count(*) from t").code, SQLITE_BUSY);
  }
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
  for (Actor* reader : {&plain, static_cast<Actor*>(&host)}) {
    EXPECT_EQ(reader->Exec("c", "select count(*) from t"), Row{"200"});
  }
}

// ---- limits ----

TEST(RecoveryWaitTest, WhenTheTimeIsUpTheErrorIsSqlites) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  LeaveHotJournal(path);
  HostProcess host(Waiting(300));
  host.OpenReadOnly("c", path);
  const StopWatch watch;
  EXPECT_EQ(host.Try("c", "select count(*) from t").code, kReadonlyRollback);
  EXPECT_GE(watch.Elapsed(), std::chrono::milliseconds(290));
  EXPECT_EQ(KernelLocks(path, host.pid()), std::vector<std::string>{});
}

TEST(RecoveryWaitTest, WhoeverMayWriteRollsBackAndDoesNotWait) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  LeaveHotJournal(path);
  HostProcess host(Waiting(600'000));
  host.Open("c", path);
  EXPECT_EQ(host.Exec("c", "select count(*) from t"), Row{"200"});
}

TEST(RecoveryWaitTest, WithoutABusyTimeoutARecoveryIsWaitedForAndNothingIsHeldMeanwhile) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  LeaveHotJournal(path);
  Actor recovering;
  recovering.PauseAt("before write main nth=2");
  recovering.Open("c", path);
  Answer rows = recovering.Start("c", "select count(*) from t");
  recovering.AwaitPoint();
  HostProcess host(Waiting(20'000));
  for (const char* name : {"writable", "readonly"}) {
    std::string(name) == "writable" ? host.Open(name, path) : host.OpenReadOnly(name, path);
  }
  std::vector<Answer> answers;
  answers.push_back(host.Start("writable", "select count(*) from t"));
  answers.push_back(host.Start("readonly", "select count(*) from t"));
  usleep(200'000);
  for (Answer& answer : answers) EXPECT_FALSE(answer.Ready());
  EXPECT_EQ(KernelLocks(path, host.pid()), std::vector<std::string>{});
  recovering.Continue();
  EXPECT_TRUE(rows.Wait().ok());
  for (Answer& answer : answers) EXPECT_EQ(answer.Wait().text(), "200");
}

TEST(RecoveryWaitTest, ALiveWritersJournalIsNotWaitedFor) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin immediate; update t set v = v + 1 where id = 1");
  HostProcess host(Waiting(600'000));
  host.OpenReadOnly("c", path);
  EXPECT_EQ(host.Exec("c", "select count(*) from t"), Row{"200"});
}

TEST(RecoveryWaitTest, TheUriSaysItForOneDatabase) {
  const TempDir dir;
  const std::string path = dir / "a.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  LeaveHotJournal(path);
  HostProcess host;
  host.OpenReadOnly("c", "file:" + path + "?lockscope_recovery_wait_ms=200");
  const StopWatch watch;
  EXPECT_EQ(host.Try("c", "select count(*) from t").code, kReadonlyRollback);
  EXPECT_GE(watch.Elapsed(), std::chrono::milliseconds(190));
}

}  // namespace
}  // namespace lockscope::testing
