#include "registry/forked.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <stdexcept>
#include <system_error>

namespace lockscope::testing {

void Forked::Turns::LiveOn() const {
  alarm(kLongestLife);
  for (;;) pause();
}

void Forked::Turns::Tell(const std::string& line) const {
  const std::string text = line + "\n";
  if (write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(1);
}

void Forked::Turns::Wait() const {
  char go = 0;
  if (read(from_, &go, 1) != 1) _exit(1);
}

Forked::Forked(const std::function<void(Turns&)>& body) {
  Pipe said = MakePipe();
  Pipe told = MakePipe();
  pid_ = fork();
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    alarm(kLongestLife);
    said.read.Reset();
    told.write.Reset();
    Turns turns(said.write.get(), told.read.get());
    try {
      body(turns);
    } catch (const std::exception& e) {
      turns.Tell(e.what());
      _exit(1);
    }
    _exit(0);
  }
  to_ = std::move(told.write);
  from_ = std::move(said.read);
}

std::string Forked::Said() {
  std::string line;
  constexpr int kDeadlineMs = 30'000;
  while (true) {
    pollfd stream = {.fd = from_.get(), .events = POLLIN, .revents = 0};
    if (poll(&stream, 1, kDeadlineMs) <= 0) throw std::runtime_error("the child says nothing");
    char c = 0;
    if (read(from_.get(), &c, 1) != 1) throw std::runtime_error("the child has gone: " + line);
    if (c == '\n') return line;
    line += c;
  }
}

void Forked::Go() const {
  const char go = 'g';
  if (write(to_.get(), &go, 1) != 1) throw std::runtime_error("the child has gone");
}

int Forked::ExitCode() {
  if (running_) {
    while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
    }
    running_ = false;
  }
  return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

void Forked::Kill() {
  if (!running_) return;
  kill(pid_, SIGKILL);
  ExitCode();
}

void Forked::KillAndLeaveUnreaped() {
  kill(pid_, SIGKILL);
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
}

}  // namespace lockscope::testing
