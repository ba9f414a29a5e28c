// A lockscope command that a test watches and signals while it runs.
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "command.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {

inline bool Exists(const std::string& path) { return FileSize(path) >= 0; }

inline std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline void Touch(const std::string& path) { std::ofstream(path).flush(); }

// No such process, or one that has ended and is not waited for yet.
inline bool Gone(pid_t pid) {
  const std::string stat = TextOf("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t state = stat.rfind(") ");
  return state == std::string::npos || stat.at(state + 2) == 'Z' || stat.at(state + 2) == 'X';
}

class Running {
 public:
  explicit Running(std::vector<std::string> arguments, const Environment& env = {}) {
    arguments.insert(arguments.begin(), LOCKSCOPE_COMMAND);
    // Files, not pipes, which would fill.
    const std::string redirected = "exec \"$@\" >\"$OUT\" 2>\"$ERR\"";
    arguments.insert(arguments.begin(), {"sh", "-c", redirected, "sh"});
    Environment all = env;
    all["OUT"] = out_;
    all["ERR"] = err_;
    pid_ = Spawn(arguments, {.env = all, .own_group = true});
  }
  ~Running() {
    if (pid_ <= 0) return;
    kill(-pid_, SIGKILL);
    Wait();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  pid_t pid() const { return pid_; }
  std::string out() const { return TextOf(out_); }
  std::string err() const { return TextOf(err_); }
  void Signal(int number) const { kill(pid_, number); }

  // Fails the test where it does not end in time.
  ProgramResult Wait() {
    EXPECT_TRUE(Eventually([this] { return Gone(pid_); })) << err();
    kill(-pid_, SIGKILL);
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    ProgramResult result;
    if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
    result.out = out();
    result.err = err();
    return result;
  }

 private:
  TempDir dir_;
  std::string out_ = dir_ / "out";
  std::string err_ = dir_ / "err";
  pid_t pid_ = -1;
};

}  // namespace lockscope::testing
