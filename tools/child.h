// Child: the command that `exec` runs under its barrier.
//
// It never outlives this process unprotected: when this process dies, however, the kernel kills it.
// What the command starts itself is not killed then; but while this process lives it is the one to
// which orphans among them come (PR_SET_CHILD_SUBREAPER), so that Stop() reaches them all. Not
// where this process had children before, of a shell that became it by exec: their orphans would
// come too, and could not be told from the command's. Then only the command itself counts.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace lockscope::tools {

class Child {
 public:
  // Starts `argv`, looked for in PATH, with the mask given and this process's environment. Where
  // that fails started() is false, and start_error() the reason, as errno has it.
  Child(std::vector<std::string> argv, const sigset_t& mask);
  // Kills it, where it still runs, and all that it has started.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  bool started() const { return pid_ > 0; }
  int start_error() const { return start_error_; }

  // Whether it has ended. Does not wait.
  bool Ended();
  // Its exit status; 128 and the signal that ended it. REQUIRES: Ended().
  int Status() const;
  // Whether it and everything that it has started have ended. Does not wait.
  bool AllEnded();

  // Passes a signal on, unless the terminal has sent it to both.
  void Pass(const siginfo_t& signal) const;
  // Sends a signal to it and to all that it has started, also where they are stopped.
  void Stop(int signal);

 private:
  void Reap();
  std::vector<pid_t> Roots() const;
  std::vector<pid_t> Descendants() const;

  const bool alone_;  // no children of before
  pid_t pid_ = -1;
  int start_error_ = 0;
  bool ended_ = false;
  int wait_status_ = 0;
};

}  // namespace lockscope::tools
