// What the command prints on a terminal: fitted to its width, in colours where they are wanted.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <sstream>

#include "command.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

UniqueFd OpenTerminal() { return UniqueFd(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)); }

// Also where /dev/ptmx is there and no /dev/pts is mounted.
bool Works(const UniqueFd& terminal) {
  return terminal.get() >= 0 && grantpt(terminal.get()) == 0 && unlockpt(terminal.get()) == 0 &&
         access(ptsname(terminal.get()), R_OK | W_OK) == 0;
}

// What a program prints on a terminal of so many columns.
std::string OnTerminal(const std::vector<std::string>& argv, unsigned short columns,
                       const Environment& env = {}) {
  const UniqueFd terminal = OpenTerminal();
  if (!Works(terminal)) throw std::runtime_error("no pseudo-terminal");
  UniqueFd program_side(open(ptsname(terminal.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  ioctl(program_side.get(), TIOCSWINSZ, &size);
  const pid_t pid = Spawn(argv, {.env = env, .out = program_side.get()});
  program_side.Reset();
  std::string text;
  std::array<char, 4096> buffer{};
  // Ends with EIO once the program has closed its side.
  for (ssize_t n = 0; (n = read(terminal.get(), buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  waitpid(pid, nullptr, 0);
  std::erase(text, '\r');
  return text;
}

// The widest line, counting characters and no colours.
std::size_t WidestLine(const std::string& text) {
  std::size_t widest = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t width = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      if (line[i] == '\x1b') {
        i = line.find('m', i);
      } else if ((static_cast<unsigned char>(line[i]) & 0xc0U) != 0x80) {
        ++width;
      }
    }
    widest = std::max(widest, width);
  }
  return widest;
}

class TerminalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Works(OpenTerminal())) GTEST_SKIP() << "there are no pseudo-terminals here";
    CreateDatabase(path_);
    writer_.Open("c", path_);
    writer_.Exec("c", "update t set v = 0 where id = 1");
    reader_.Open("c", path_);
    reader_.Exec("c", "begin; select * from t limit 1");
    writer_.Exec("c", "update t set v = 0 where id = 2");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Actor writer_;
  Actor reader_;
};

TEST_F(TerminalTest, TablesFitItsWidth) {
  const std::string narrow = OnTerminal({LOCKSCOPE_COMMAND, "locks", path_}, 60);
  EXPECT_LE(WidestLine(narrow), 60U) << narrow;
  EXPECT_NE(narrow.find("wal-read-1"), std::string::npos) << narrow;
  EXPECT_NE(narrow.find("\u2026"), std::string::npos) << narrow;
  // Elsewhere nothing is cut.
  const std::string piped = Lockscope({"locks", path_}).out;
  EXPECT_GT(WidestLine(piped), 60U) << piped;
  EXPECT_EQ(piped.find("\u2026"), std::string::npos) << piped;
  EXPECT_EQ(OnTerminal({LOCKSCOPE_COMMAND, "locks", path_}, 1000), piped);
}

TEST_F(TerminalTest, WhyIsWrappedAndIndented) {
  const std::string text =
      OnTerminal({LOCKSCOPE_COMMAND, "why", path_}, 60, {{"NO_COLOR", "1"}, {"TERM", "xterm"}});
  EXPECT_LE(WidestLine(text), 60U) << text;
  std::istringstream lines(text);
  std::string line;
  bool after_first = false;
  while (std::getline(lines, line)) {
    const bool heading = line.rfind("warning  ", 0) == 0 || line.rfind("ok       ", 0) == 0;
    after_first = after_first || heading;
    if (after_first && !heading) {
      EXPECT_EQ(line.rfind(std::string(9, ' '), 0), 0U) << text;
    }
  }
  EXPECT_TRUE(after_first) << text;
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

TEST_F(TerminalTest, ColoursAreForTerminalsThatHaveThem) {
  const std::vector<std::string> why = {LOCKSCOPE_COMMAND, "why", path_};
  EXPECT_NE(
      OnTerminal(why, 80, {{"TERM", "xterm"}, {"NO_COLOR", ""}}).find("\x1b[33mwarning\x1b[0m"),
      std::string::npos);
  EXPECT_EQ(OnTerminal(why, 80, {{"TERM", "dumb"}, {"NO_COLOR", ""}}).find('\x1b'),
            std::string::npos);
  EXPECT_EQ(Lockscope({"why", path_}, {{"TERM", "xterm"}}).out.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace lockscope::testing
