// lockscope hold: a barrier between two hooks.
//
//   1  in the foreground
//   2  in the background, and stopped
//   3  verdicts that --stop brings
//   4  the pid file
//   5  usage
#include <gtest/gtest.h>

#include <fstream>

#include "running.h"
#include "support/actor.h"

namespace lockscope::testing {
namespace {

class HoldTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CreateDatabase(path_);
    // So that the -shm is there before and after.
    user_.Open("c", path_);
    user_.Exec("c", "update t set v = 0 where id = 1");
  }
  void TearDown() override {
    if (Exists(pid_file_)) Lockscope({"hold", "--stop", pid_file_});
  }

  ProgramResult Begin(std::vector<std::string> more = {}, const Environment& env = {}) {
    std::vector<std::string> words = {"hold", "--background", "--pid-file", pid_file_, path_};
    words.insert(words.end(), more.begin(), more.end());
    return Lockscope(words, env);
  }
  ProgramResult Stop() { return Lockscope({"hold", "--stop", pid_file_}); }
  pid_t Holder() const { return static_cast<pid_t>(std::stol(TextOf(pid_file_))); }
  bool Holds(pid_t pid) const { return HoldsByte(path_ + "-shm", pid, kWrite, kWalCkptByte); }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  std::string pid_file_ = dir_ / "holder";
  Actor user_;
};

// ---- 1 ----

TEST_F(HoldTest, PrintsTheManifestAndHoldsUntilASignal) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
    Running hold({"hold", path_});
    ASSERT_TRUE(Eventually([&] { return hold.out().ends_with("]\n"); })) << hold.err();
    EXPECT_TRUE(Holds(hold.pid()));
    const Json manifest = Json::parse(hold.out());
    ASSERT_EQ(manifest.size(), 2U);
    EXPECT_EQ(manifest.at(0).at("path"), path_);
    EXPECT_EQ(manifest.at(1).at("path"), path_ + "-wal");
    hold.Signal(number);
    const ProgramResult result = hold.Wait();
    EXPECT_EQ(result.exit_code, 0) << result;
    EXPECT_NE(result.err.find("lockscope: barrier on " + path_), std::string::npos) << result;
    EXPECT_NE(result.err.find(" unchanged: the copy is consistent\n"), std::string::npos) << result;
  }
}

// It may be a terminal that it is printed to.
TEST_F(HoldTest, TheManifestHasNothingInItThatATerminalObeys) {
  const std::string from_right_to_left = {'\xe2', '\x80', '\xae'};
  const std::string odd = dir_ / (from_right_to_left + "\xc2\x9b" + "2J\x7f.db");
  CreateDatabase(odd, {.journal_mode = "delete"});
  const ProgramResult result = Lockscope({"hold", "--max-hold", "10ms", odd});
  EXPECT_EQ(result.exit_code, 124) << result;
  EXPECT_NE(result.out.find("/\\u202e\\u009b2J\\u007f.db\""), std::string::npos) << result;
  EXPECT_EQ(Json::parse(result.out).at(0).at("path"), odd);
}

TEST_F(HoldTest, HoldTimeOverIs124) {
  const ProgramResult result = Lockscope({"hold", "--max-hold", "200ms", path_});
  EXPECT_EQ(result.exit_code, 124) << result;
  EXPECT_NE(result.err.find("hold time over after 200 ms"), std::string::npos) << result;
}

TEST_F(HoldTest, LostLocksEndItWith125) {
  Running hold({"hold", path_}, {{"LD_PRELOAD", LOCKSCOPE_STRAY_CLOSE}, {"STRAY_CLOSE", path_}});
  ASSERT_TRUE(Eventually([&] { return hold.out().ends_with("]\n"); })) << hold.err();
  Touch(path_ + ".now");
  const ProgramResult result = hold.Wait();
  EXPECT_EQ(result.exit_code, 125) << result;
  EXPECT_NE(result.err.find("barrier violated: lost: "), std::string::npos) << result;
}

TEST_F(HoldTest, NoBarrierInTimeIs75AndLeavesNoPidFile) {
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate");
  for (const bool background : {false, true}) {
    std::vector<std::string> words = {"hold",  "--kind", "write",      "--timeout",
                                      "100ms", path_,    "--pid-file", pid_file_};
    if (background) words.emplace_back("--background");
    const ProgramResult result = Lockscope(words);
    EXPECT_EQ(result.exit_code, 75) << result;
    EXPECT_EQ(result.out, "");
    EXPECT_NE(result.err.find("wal-write is busy, held by pid " + std::to_string(writer.pid())),
              std::string::npos)
        << result;
    EXPECT_FALSE(Exists(pid_file_));
  }
}

TEST_F(HoldTest, AFullDiskIsAnErrorAndHoldsNothing) {
  const ProgramResult result = RunProgram(
      {.argv = {"sh", "-c", "exec \"$0\" hold \"$1\" >/dev/full", LOCKSCOPE_COMMAND, path_}});
  EXPECT_EQ(result.exit_code, 1) << result;
}

// ---- 2 ----

TEST_F(HoldTest, InTheBackgroundItHoldsWhenItReturns) {
  const ProgramResult result = Begin();
  ASSERT_EQ(result.exit_code, 0) << result;
  EXPECT_TRUE(Holds(Holder()));
  EXPECT_EQ(TextOf(pid_file_), std::to_string(Holder()) + "\n");
  EXPECT_NE(result.err.find("lockscope: barrier on "), std::string::npos) << result;
  const pid_t holder = Holder();
  EXPECT_EQ(Json::parse(result.out).at(0).at("path"), path_);
  // A copy in between, of the manifest that was printed.
  user_.Exec("c", "update t set v = 5 where id = 1");
  const ProgramResult copied =
      RunProgram({.argv = {LOCKSCOPE_COMMAND, "copy", "-", dir_ / "dest"}, .input = result.out});
  EXPECT_EQ(copied.exit_code, 0) << copied;
  const ProgramResult stopped = Stop();
  EXPECT_EQ(stopped.exit_code, 0) << stopped;
  EXPECT_NE(stopped.err.find(path_ + " unchanged: the copy is consistent\n"), std::string::npos)
      << stopped;
  EXPECT_TRUE(Gone(holder));
  EXPECT_FALSE(Holds(holder));
  EXPECT_FALSE(Exists(pid_file_));
  EXPECT_EQ(IntegrityCheck(dir_ / "dest/a.db"), "ok");
  Actor reader;
  reader.Open("c", dir_ / "dest/a.db");
  EXPECT_EQ(reader.Exec("c", "select v from t where id = 1"), Row{"0"});
}

// As a daemon should: a shell that reads its output to the end goes on, and its folder can go.
TEST_F(HoldTest, InTheBackgroundItKeepsNoStreamAndNoFolder) {
  const ProgramResult result =
      RunProgram({.argv = {"sh", "-c",
                           "m=$(\"$0\" hold --background --pid-file holder a.db 2>&1 3>&1) && "
                           "echo \"$m\" | grep -c .",
                           LOCKSCOPE_COMMAND},
                  .directory = dir_.path()});
  ASSERT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "2\n");
  const std::string process = "/proc/" + std::to_string(Holder());
  EXPECT_EQ(RunProgram({.argv = {"readlink", process + "/cwd"}}).out, "/\n");
  for (const char* stream : {"0", "1", "2"}) {
    EXPECT_EQ(RunProgram({.argv = {"readlink", process + "/fd/" + stream}}).out, "/dev/null\n");
  }
  const std::string open = RunProgram({.argv = {"ls", "-l", process + "/fd"}}).out;
  EXPECT_EQ(open.find("pipe:"), std::string::npos) << open;
  EXPECT_EQ(Stop().exit_code, 0);
}

// A pipe or file of its own in a stream's place would take what is printed.
TEST_F(HoldTest, InTheBackgroundItHoldsWithoutStreamsToo) {
  for (const char* closed : {"<&-", "2>&-", "<&- 2>&-"}) {
    const ProgramResult result = RunProgram(
        {.argv = {"sh", "-c",
                  std::string("exec \"$0\" hold --background --pid-file holder a.db ") + closed,
                  LOCKSCOPE_COMMAND},
         .directory = dir_.path()});
    EXPECT_EQ(result.exit_code, 0) << closed << result;
    EXPECT_EQ(TextOf(pid_file_), std::to_string(Holder()) + "\n") << closed;
    EXPECT_EQ(Stop().exit_code, 0) << closed;
  }
  // Where the manifest cannot be printed nothing is held.
  for (const char* closed : {">&-", ">&- 2>&-", "<&- >&-", "<&- >&- 2>&-"}) {
    const ProgramResult result = RunProgram(
        {.argv = {"sh", "-c",
                  std::string("exec \"$0\" hold --background --pid-file holder a.db ") + closed,
                  LOCKSCOPE_COMMAND},
         .directory = dir_.path()});
    EXPECT_EQ(result.exit_code, 1) << closed << result;
    EXPECT_FALSE(Exists(pid_file_)) << closed;
    EXPECT_EQ(Begin().exit_code, 0) << closed;
    EXPECT_EQ(Stop().exit_code, 0) << closed;
  }
}

// Nobody would know that it holds, and stop it.
TEST_F(HoldTest, InTheBackgroundItDoesNotHoldWhereWhoeverAskedWasKilled) {
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "begin immediate");
  Running hold({"hold", "--background", "--pid-file", pid_file_, "--kind", "write", "--timeout",
                "1m", path_});
  ASSERT_TRUE(Eventually([&] { return Exists(pid_file_); })) << hold.err();
  hold.Signal(SIGKILL);
  EXPECT_EQ(hold.Wait().signal, SIGKILL);
  EXPECT_TRUE(Exists(pid_file_));
  writer.Exec("c", "commit");
  EXPECT_TRUE(Eventually([&] { return !Exists(pid_file_); }));
  writer.Exec("c", "begin immediate; commit; pragma wal_checkpoint(truncate)");
}

TEST_F(HoldTest, ANoDatabaseIsOneInTheBackgroundToo) {
  const ProgramResult result =
      Lockscope({"hold", "--background", "--pid-file", pid_file_, dir_ / "missing.db"});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_FALSE(Exists(pid_file_));
}

// ---- 3 ----

TEST_F(HoldTest, StopTellsThatTheHoldTimeWasOver) {
  ASSERT_EQ(Begin({"--max-hold", "100ms"}).exit_code, 0);
  const pid_t holder = Holder();
  ASSERT_TRUE(Eventually([&] { return Gone(holder); }));
  const ProgramResult result = Stop();
  EXPECT_EQ(result.exit_code, 124) << result;
  EXPECT_NE(result.err.find("hold time over"), std::string::npos) << result;
  EXPECT_FALSE(Exists(pid_file_));
}

TEST_F(HoldTest, StopTellsThatTheLocksWereLost) {
  ASSERT_EQ(
      Begin({}, {{"LD_PRELOAD", LOCKSCOPE_STRAY_CLOSE}, {"STRAY_CLOSE", path_ + "-shm"}}).exit_code,
      0);
  const pid_t holder = Holder();
  Touch(path_ + "-shm.now");
  ASSERT_TRUE(Eventually([&] { return Gone(holder); }));
  const ProgramResult result = Stop();
  EXPECT_EQ(result.exit_code, 125) << result;
  EXPECT_NE(result.err.find("barrier violated: lost: "), std::string::npos) << result;
  EXPECT_FALSE(Exists(pid_file_));
}

TEST_F(HoldTest, StopTellsThatTheHolderWasKilled) {
  ASSERT_EQ(Begin().exit_code, 0);
  const pid_t holder = Holder();
  kill(holder, SIGKILL);
  ASSERT_TRUE(Eventually([&] { return Gone(holder); }));
  const ProgramResult result = Stop();
  EXPECT_EQ(result.exit_code, 125) << result;
  EXPECT_NE(result.err.find("was killed"), std::string::npos) << result;
  EXPECT_FALSE(Exists(pid_file_));
}

TEST_F(HoldTest, StopWithoutHolderIsOne) {
  EXPECT_EQ(Stop().exit_code, 1);
  ASSERT_EQ(Begin().exit_code, 0);
  EXPECT_EQ(Stop().exit_code, 0);
  EXPECT_EQ(Stop().exit_code, 1);
}

// ---- 4 ----

TEST_F(HoldTest, ALiveHoldersPidFileIsRefusedAndLeftAlone) {
  ASSERT_EQ(Begin().exit_code, 0);
  const pid_t holder = Holder();
  const std::string other = dir_ / "b.db";
  CreateDatabase(other);
  const ProgramResult result = Lockscope({"hold", "--background", "--pid-file", pid_file_, other});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_NE(result.err.find("pid " + std::to_string(holder) + " holds by it"), std::string::npos)
      << result;
  EXPECT_EQ(Holder(), holder);
  EXPECT_TRUE(Holds(holder));
  EXPECT_EQ(Stop().exit_code, 0);
}

// The pid that is in it may be anybody's by now: it is not signalled.
TEST_F(HoldTest, ADeadHoldersPidFileIsTakenOver) {
  Actor innocent;
  for (const char* verdict : {"", "verdict 125 barrier violated: lost\n"}) {
    std::ofstream(pid_file_) << innocent.pid() << "\n" << verdict;
    ASSERT_EQ(Begin().exit_code, 0);
    EXPECT_NE(Holder(), innocent.pid());
    EXPECT_EQ(Stop().exit_code, 0);
  }
  std::ofstream(pid_file_) << innocent.pid() << "\n";
  EXPECT_EQ(Stop().exit_code, 125);
  EXPECT_TRUE(innocent.alive());
}

// What became of an earlier barrier is no verdict on one that was never held.
TEST_F(HoldTest, AnEarlierVerdictIsNotBroughtForABarrierThatWasNotHad) {
  Actor writer;
  writer.Open("c", path_);
  for (const bool killed : {false, true}) {
    ASSERT_EQ(Begin().exit_code, 0);
    const pid_t holder = Holder();
    kill(holder, SIGTERM);
    ASSERT_TRUE(Eventually([&] { return Gone(holder); }));
    EXPECT_NE(TextOf(pid_file_).find("verdict 0 "), std::string::npos) << TextOf(pid_file_);
    writer.Exec("c", "begin immediate");
    if (killed) {
      Running hold({"hold", "--pid-file", pid_file_, "--kind", "write", "--timeout", "1m", path_});
      EXPECT_TRUE(Eventually([&] { return FileSize(pid_file_) == 0; }));
      hold.Signal(SIGKILL);
      EXPECT_EQ(hold.Wait().signal, SIGKILL);
    } else {
      EXPECT_EQ(Begin({"--kind", "write", "--timeout", "100ms"}).exit_code, 75);
    }
    EXPECT_EQ(Stop().exit_code, killed ? 125 : 1);
    writer.Exec("c", "commit");
  }
}

// The first is stopped by one that is slow to look, and meanwhile another has begun.
TEST_F(HoldTest, ANewHoldersPidFileIsLeftAloneByWhoeverStoppedTheOneBefore) {
  ASSERT_EQ(Begin().exit_code, 0);
  const pid_t first = Holder();
  kill(first, SIGSTOP);
  Running stop({"hold", "--stop", pid_file_});
  ASSERT_TRUE(Eventually([&] {
    return TextOf("/proc/" + std::to_string(first) + "/status").find("ShdPnd:\t0000000000004000") !=
           std::string::npos;
  }));
  stop.Signal(SIGSTOP);
  kill(first, SIGCONT);
  ASSERT_TRUE(Eventually([&] { return Gone(first); }));
  ASSERT_EQ(Begin().exit_code, 0);
  const pid_t second = Holder();
  stop.Signal(SIGCONT);
  const ProgramResult stopped = stop.Wait();
  EXPECT_EQ(stopped.exit_code, 125) << stopped;
  EXPECT_NE(stopped.err.find("another holder has it by now"), std::string::npos) << stopped;
  EXPECT_TRUE(Holds(second));
  EXPECT_EQ(Stop().exit_code, 0);
  EXPECT_TRUE(Gone(second));
}

TEST_F(HoldTest, AFileOfAnotherKindIsNeverTouched) {
  for (const std::string text : {"my notes\n", "12\nnotes\n", "12 13\n", "\n"}) {
    std::ofstream(pid_file_) << text;
    EXPECT_EQ(Begin().exit_code, 1) << text;
    EXPECT_EQ(Stop().exit_code, 1) << text;
    EXPECT_EQ(TextOf(pid_file_), text);
  }
  const std::string before = ReadBytes(path_, 0, 100);
  EXPECT_EQ(Lockscope({"hold", "--background", "--pid-file", path_, path_}).exit_code, 1);
  EXPECT_EQ(Lockscope({"hold", "--stop", path_}).exit_code, 1);
  EXPECT_EQ(ReadBytes(path_, 0, 100), before);
  std::ofstream(pid_file_) << "1\n";  // for TearDown
}

// ---- 5 ----

TEST_F(HoldTest, UsageIsTwo) {
  const std::vector<std::vector<std::string>> wrong = {
      {"hold"},
      {"hold", "--background", path_},
      {"hold", "--pid-file", pid_file_},
      {"hold", "--stop"},
      {"hold", "--stop", pid_file_, path_},
      {"hold", "--stop", pid_file_, "--background"},
      {"hold", "--kind", "some", path_},
      {"hold", "--max-hold", "never", path_},
  };
  for (const auto& words : wrong) {
    EXPECT_EQ(Lockscope(words).exit_code, 2) << ::testing::PrintToString(words);
  }
  EXPECT_FALSE(Exists(pid_file_));
}

}  // namespace
}  // namespace lockscope::testing
