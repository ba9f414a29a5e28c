#include "signals.h"

#include <ctime>

namespace lockscope::tools {

AwaitedSignals::AwaitedSignals(std::initializer_list<int> signals) {
  signal(SIGCHLD, SIG_DFL);
  sigemptyset(&awaited_);
  for (const int number : signals) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&awaited_, number);
  }
  sigset_t blocked = awaited_;
  sigaddset(&blocked, SIGPIPE);
  sigprocmask(SIG_BLOCK, &blocked, &before_);
}

std::optional<siginfo_t> AwaitedSignals::Next(std::chrono::milliseconds at_most) const {
  timespec wait = {};
  wait.tv_sec = static_cast<time_t>(at_most.count() / 1000);
  wait.tv_nsec = static_cast<long>(at_most.count() % 1000) * 1'000'000;
  siginfo_t signal = {};
  if (sigtimedwait(&awaited_, &signal, &wait) < 0) return std::nullopt;
  return signal;
}

}  // namespace lockscope::tools
