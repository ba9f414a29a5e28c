#include "child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>

#include "command.h"
#include "unique_fd.h"

namespace lockscope::tools {
namespace {

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string process = std::to_string(pid);
  // What forks in another of its threads than the first is left out.
  std::ifstream list("/proc/" + process + "/task/" + process + "/children");
  for (pid_t child = 0; list >> child;) children.push_back(child);
  return children;
}

// In the child: only what is safe there. Returns where it cannot be run.
int Become(char* const* argv, pid_t parent, const sigset_t& mask) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before that.
  if (getppid() != parent) raise(SIGKILL);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  execvp(argv[0], argv);
  return errno;
}

int ReadError(int fd) {
  int error = 0;
  ssize_t count = -1;
  do {
    count = read(fd, &error, sizeof error);
  } while (count < 0 && errno == EINTR);
  return count == static_cast<ssize_t>(sizeof error) ? error : 0;
}

}  // namespace

Child::Child(std::vector<std::string> argv, const sigset_t& mask)
    : alone_(ChildrenOf(getpid()).empty()) {
  std::vector<char*> words;
  words.reserve(argv.size() + 1);
  for (std::string& word : argv) words.push_back(word.data());
  words.push_back(nullptr);
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    start_error_ = errno;
    return;
  }
  const UniqueFd told(ends[0]);
  UniqueFd tell(ends[1]);
  if (alone_) prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) {
    start_error_ = errno;
    return;
  }
  if (pid == 0) {
    const int error = Become(words.data(), parent, mask);
    (void)!write(tell.get(), &error, sizeof error);
    _exit(kExitNotRunnable);
  }
  tell.Reset();
  start_error_ = ReadError(told.get());
  if (start_error_ == 0) {
    pid_ = pid;
  } else {
    waitpid(pid, nullptr, 0);
  }
}

Child::~Child() {
  if (!started() || Ended()) return;
  Stop(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

// Orphans that came to this process, too.
void Child::Reap() {
  int status = 0;
  for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (pid != pid_) continue;
    ended_ = true;
    wait_status_ = status;
  }
}

bool Child::Ended() {
  Reap();
  return ended_;
}

int Child::Status() const {
  return WIFSIGNALED(wait_status_) ? kExitSignal + WTERMSIG(wait_status_)
                                   : WEXITSTATUS(wait_status_);
}

// The command, and orphans of what it has started.
std::vector<pid_t> Child::Roots() const {
  if (alone_) return ChildrenOf(getpid());
  return ended_ ? std::vector<pid_t>() : std::vector{pid_};
}

// All of them, parents before their children. Where the kernel does not list children, the command
// alone.
std::vector<pid_t> Child::Descendants() const {
  std::vector<pid_t> all = Roots();
  if (all.empty() && !ended_) all.push_back(pid_);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::vector<pid_t> more = ChildrenOf(all[i]);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

bool Child::AllEnded() { return Ended() && Roots().empty(); }

void Child::Pass(const siginfo_t& signal) const {
  if (ended_) return;
  const bool from_terminal = signal.si_code == SI_KERNEL &&
                             (signal.si_signo == SIGINT || signal.si_signo == SIGQUIT) &&
                             getpgid(pid_) == getpgrp();
  if (!from_terminal) kill(pid_, signal.si_signo);
}

void Child::Stop(int signal) {
  if (AllEnded()) return;
  for (const pid_t pid : Descendants()) {
    kill(pid, signal);
    kill(pid, SIGCONT);  // a stopped process minds only SIGKILL
  }
}

}  // namespace lockscope::tools
