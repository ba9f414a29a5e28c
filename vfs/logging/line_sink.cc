#include "logging/line_sink.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "kernel/descriptors.h"

namespace lockscope::logging {
namespace {

// What a pipe takes at once or not at all.
constexpr std::size_t kLineBytesMax = 4096;

// SIGPIPE of this thread, which a write to a pipe without readers raises, is held back while this
// lives, and taken away if there was none before.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&only_);
    sigaddset(&only_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &only_, &before_);
  }
  ~NoSigpipe() {
    if (!was_pending_) {
      constexpr timespec kAtOnce{};
      while (sigtimedwait(&only_, nullptr, &kAtOnce) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t only_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

class KeepErrno {
 public:
  KeepErrno() = default;
  ~KeepErrno() { errno = before_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  const int before_ = errno;
};

// A pipe with less room than a line would block whoever writes, inside a call of SQLite.
bool TakesALine(int fd) {
  pollfd poll_fd{.fd = fd, .events = POLLOUT, .revents = 0};
  return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLOUT) != 0;
}

}  // namespace

LineSink::~LineSink() {
  if (owned_) kernel::CloseOrKeep(fd_);
}

void LineSink::sink_it_(const spdlog::details::log_msg& message) {
  const KeepErrno keep_errno;
  const NoSigpipe no_sigpipe;
  spdlog::memory_buf_t line;
  formatter_->format(message, line);
  if (line.size() > kLineBytesMax) {
    line.resize(kLineBytesMax);
    line[kLineBytesMax - 1] = '\n';
  }
  if (!TakesALine(fd_)) return;
  // A line that is cut by a full disk stays so: to try again would tear it apart.
  while (write(fd_, line.data(), line.size()) < 0 && errno == EINTR) {
  }
}

}  // namespace lockscope::logging
