// Signals that a command waits for, one after the other, instead of being interrupted by them.
#pragma once

#include <signal.h>

#include <chrono>
#include <initializer_list>
#include <optional>

namespace lockscope::tools {

// From then on, to the end of the process, the signals given are blocked: one that comes late must
// not take the place of a verdict. So is SIGPIPE: a reader of stderr that goes away must not end
// what holds a barrier. A signal that is ignored (nohup, a job in the background) stays ignored.
// SIGCHLD has its default action, as waiting for a child needs.
class AwaitedSignals {
 public:
  AwaitedSignals(std::initializer_list<int> signals);

  // The next one; null where none comes in time.
  std::optional<siginfo_t> Next(std::chrono::milliseconds at_most) const;
  // The mask of before, for a child.
  const sigset_t& before() const { return before_; }

 private:
  sigset_t awaited_;
  sigset_t before_;
};

}  // namespace lockscope::tools
