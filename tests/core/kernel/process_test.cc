// What /proc tells of a process, and reading /proc:
//   ProcessName      arguments, hostile bytes, UTF-8, the cut, brackets, nobody
//   ProcessStart     against the clock, with a name that looks like fields
//   ShownCommandLine, StartTicks: the same of texts
//   StatOf           zombies, and processes whose first thread has ended
//   ReadProcText     whole files, limits, what is not there
//   ListDescriptors, TakeField, TakeLine, ParseNumber

#include "kernel/process.h"

#include "kernel/proc_text.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <string>
#include <thread>

namespace lockscope::kernel {
namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

std::uint64_t BoottimeNs() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * kNsPerSecond +
         static_cast<std::uint64_t>(now.tv_nsec);
}

// A child that runs `body`, which may execute a program that stops itself, and stands still.
class Child {
 public:
  template <class Body>
  explicit Child(const Body& body) : pid_(fork()) {
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      body();
      raise(SIGSTOP);
      _exit(1);
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    EXPECT_TRUE(WIFSTOPPED(status));
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

// Turns this process into a shell that stops at once, with `argument` in its command line.
void ExecuteWith(const std::string& argument) {
  execl("/bin/sh", "sh", "-c", "kill -STOP $$", argument.c_str(), static_cast<char*>(nullptr));
}

constexpr std::string_view kBeforeArgument = "sh -c kill -STOP $$ ";

// How `argument` is shown in the name of a process that has it in its command line.
std::string Shown(const std::string& argument) {
  const Child child([&] { ExecuteWith(argument); });
  const std::string name = ProcessName(child.pid()).value_or("none");
  EXPECT_TRUE(name.starts_with(kBeforeArgument)) << name;
  return name.substr(std::min(kBeforeArgument.size(), name.size()));
}

TEST(ProcessNameTest, JoinsTheArgumentsWithBlanks) { EXPECT_EQ(Shown("one two"), "one two"); }

TEST(ProcessNameTest, ShowsControlCharactersAsQuestionMarks) {
  EXPECT_EQ(Shown("a\x1b[2Jb\nc\td\x7f"), "a?[2Jb?c?d?");
  EXPECT_EQ(Shown("\xc2\x9b"
                  "2J"),
            "?2J");  // CSI as one C1 character
}

TEST(ProcessNameTest, KeepsUtf8) { EXPECT_EQ(Shown("né 漢 😀 \xc2\xa0"), "né 漢 😀 \xc2\xa0"); }

TEST(ProcessNameTest, ShowsBytesThatAreNoUtf8AsQuestionMarks) {
  EXPECT_EQ(Shown("\xff\x80z"), "??z");
  EXPECT_EQ(Shown("\xc0\xaf"), "??");            // over-long '/'
  EXPECT_EQ(Shown("\xe0\x80\xaf"), "???");       // over-long, three bytes
  EXPECT_EQ(Shown("\xf0\x80\x80\xaf"), "????");  // over-long, four bytes
  EXPECT_EQ(Shown("\xed\xa0\x80"), "???");       // a surrogate
  EXPECT_EQ(Shown("\xf4\x90\x80\x80"), "????");  // beyond U+10FFFF
  EXPECT_EQ(Shown("\xe6\xbc"), "??");            // cut short at the end
  EXPECT_EQ(Shown("\xe6\xbcz"), "??z");          // cut short in the middle
}

TEST(ProcessNameTest, CutsByCharactersNotBytes) {
  std::string argument;
  for (int i = 0; i < 300; ++i) argument += "😀";
  EXPECT_EQ(Shown(argument), argument.substr(0, (kProcessNameChars - kBeforeArgument.size()) * 4));
}

TEST(ProcessNameTest, CutsALongCommandLine) {
  EXPECT_EQ(Shown(std::string(100000, 'x')).size(), kProcessNameChars - kBeforeArgument.size());
}

TEST(ProcessNameTest, BracketsTheNameOfAZombie) {
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_NAME,
          "und\x1b"
          "ead");
    _exit(0);
  }
  siginfo_t info = {};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(ProcessName(pid), "[und?ead]");
  waitpid(pid, nullptr, 0);
}

TEST(ProcessNameTest, IsNullForNobody) {
  EXPECT_FALSE(ProcessName(0));
  EXPECT_FALSE(ProcessName(-1));
  EXPECT_FALSE(ProcessName(INT64_MAX));
}

TEST(ProcessStartTest, LiesBetweenForkAndNow) {
  const std::uint64_t before = BoottimeNs();
  const Child child([] {});
  const std::uint64_t after = BoottimeNs();
  const auto start = ProcessStartBoottimeNs(child.pid());
  ASSERT_TRUE(start);
  const std::uint64_t tick = kNsPerSecond / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  EXPECT_GE(*start + tick, before);
  EXPECT_LE(*start, after);
}

TEST(ProcessStartTest, IsNotMisledByTheName) {
  const Child plain([] {});
  const Child disguised([] { prctl(PR_SET_NAME, "x) R 1 2 3 (y"); });
  const auto expected = ProcessStartBoottimeNs(plain.pid());
  const auto start = ProcessStartBoottimeNs(disguised.pid());
  ASSERT_TRUE(expected && start);
  EXPECT_GE(*start, *expected);
  EXPECT_LT(*start - *expected, 30 * kNsPerSecond);
}

TEST(ProcessStartTest, StaysTheSame) {
  EXPECT_EQ(ProcessStartBoottimeNs(getpid()), ProcessStartBoottimeNs(getpid()));
}

TEST(ProcessStartTest, IsNullForNobody) {
  EXPECT_FALSE(ProcessStartBoottimeNs(0));
  EXPECT_FALSE(ProcessStartBoottimeNs(-5));
  EXPECT_FALSE(ProcessStartBoottimeNs(INT64_MAX));
}

TEST(ShownCommandLineTest, JoinsArgumentsAndLeavesOutTheEnd) {
  using namespace std::string_view_literals;
  EXPECT_EQ(ShownCommandLine("sh\0-c\0\0x\0\0"sv), "sh -c  x");
  EXPECT_EQ(ShownCommandLine("\0\0"sv), "");
  EXPECT_EQ(ShownCommandLine(""), "");
}

TEST(StartTicksTest, IsTheTwentySecondField) {
  const std::string fields = " R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 ";
  EXPECT_EQ(StartTicks("77 (a) b) (c)" + fields + "64311 0"), 64311U);
  EXPECT_FALSE(StartTicks("77 (a)" + fields));
  EXPECT_FALSE(StartTicks("77 (a)" + fields + "-1 0"));
  EXPECT_FALSE(StartTicks("77 a" + fields + "64311 0"));
  EXPECT_FALSE(StartTicks(""));
}

TEST(StatOfTest, HasEndedIsTrueOfAZombieOnly) {
  const pid_t zombie = fork();
  if (zombie == 0) _exit(0);
  siginfo_t info = {};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT), 0);
  const auto stat = StatOf(zombie);
  waitpid(zombie, nullptr, 0);
  ASSERT_TRUE(stat);
  EXPECT_TRUE(stat->ended);
  EXPECT_TRUE(stat->start_boottime_ns);
  EXPECT_FALSE(StatOf(zombie));
  ASSERT_TRUE(StatOf(getpid()));
  EXPECT_FALSE(StatOf(getpid())->ended);
}

// Its number is then that of a thread which has ended.
TEST(StatOfTest, NothingHasEndedWhileAnyThreadGoesOn) {
  const pid_t child = fork();
  if (child == 0) {
    std::thread([] {
      for (;;) pause();
    }).detach();
    syscall(SYS_exit, 0);  // of the thread
  }
  const auto state = [child] {
    const auto stat = ReadProcText("/proc/" + std::to_string(child) + "/stat").value_or("");
    const std::size_t name_end = stat.rfind(") ");
    return name_end == std::string::npos ? '?' : stat.at(name_end + 2);
  };
  for (int i = 0; i < 10'000 && state() != 'Z'; ++i) usleep(1000);
  ASSERT_EQ(state(), 'Z');
  const auto stat = StatOf(child);
  EXPECT_TRUE(stat && !stat->ended);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST(ReadProcTextTest, ReadsTheWholeFile) {
  const auto text = ReadProcText("/proc/self/status");
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("Pid:\t" + std::to_string(getpid())), std::string::npos);
}

TEST(ReadProcTextTest, ReadsBeyondItsFirstBuffer) {
  const Child child([] { ExecuteWith(std::string(100000, 'x')); });
  const auto text = ReadProcText("/proc/" + std::to_string(child.pid()) + "/cmdline");
  ASSERT_TRUE(text);
  EXPECT_GT(text->size(), 100000U);
}

TEST(ReadProcTextTest, StopsAtItsLimit) {
  EXPECT_EQ(ReadProcText("/proc/self/status", 10).value_or("").size(), 10U);
}

TEST(ReadProcTextTest, IsNullForWhatIsNotThere) { EXPECT_FALSE(ReadProcText("/proc/self/none")); }

TEST(ListDescriptorsTest, FindsThoseThatAreOpen) {
  int ends[2] = {};
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const auto open_now = ListDescriptors("/proc/self/fd");
  ASSERT_TRUE(open_now);
  EXPECT_EQ(std::count(open_now->begin(), open_now->end(), ends[0]), 1);
  close(ends[0]);
  close(ends[1]);
  const auto open_later = ListDescriptors("/proc/self/fd");
  ASSERT_TRUE(open_later);
  EXPECT_EQ(std::count(open_later->begin(), open_later->end(), ends[1]), 0);
}

TEST(ListDescriptorsTest, IsNullWithoutTheDirectory) {
  EXPECT_FALSE(ListDescriptors("/proc/self/none"));
}

TEST(TakeFieldTest, CutsAtBlanks) {
  std::string_view rest = "  one\ttwo \n";
  EXPECT_EQ(TakeField(rest), "one");
  EXPECT_EQ(TakeField(rest), "two");
  EXPECT_EQ(TakeField(rest), "");
  EXPECT_EQ(TakeField(rest), "");
}

TEST(TakeLineTest, CutsAtLineFeeds) {
  std::string_view rest = "one\n\ntwo";
  EXPECT_EQ(TakeLine(rest), "one");
  EXPECT_EQ(TakeLine(rest), "");
  EXPECT_EQ(TakeLine(rest), "two");
  EXPECT_TRUE(rest.empty());
}

TEST(ParseNumberTest, WantsAllOfTheText) {
  EXPECT_EQ(ParseNumber<int>("12"), 12);
  EXPECT_EQ(ParseNumber<unsigned>("fe", 16), 0xfeU);
  for (const char* text : {"", " 1", "1 ", "1x", "x", "+1", "0x1", "99999999999"}) {
    EXPECT_FALSE(ParseNumber<int>(text)) << text;
  }
  EXPECT_FALSE(ParseNumber<unsigned>("-1"));
  EXPECT_FALSE(ParseNumber<int>({}));
}

}  // namespace
}  // namespace lockscope::kernel
