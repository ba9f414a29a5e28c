#include "background.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <exception>
#include <system_error>

#include "command.h"
#include "unique_fd.h"

namespace lockscope::tools {
namespace {

[[noreturn]] void Throw(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void LetGoOfStreams() {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, stream);
  if (null > STDERR_FILENO) close(null);
  (void)!chdir("/");
}

[[noreturn]] void Work(const std::function<int(const Ready&)>& work, int report) {
  const auto tell = [report](int status) {
    const auto byte = static_cast<unsigned char>(status);
    const bool heard = write(report, &byte, 1) == 1;
    close(report);
    return heard;
  };
  signal(SIGPIPE, SIG_IGN);  // nobody may be left to be told
  bool told = false;
  int status = kExitWrong;
  try {
    status = work([&tell, &told] {
      LetGoOfStreams();
      told = true;
      return tell(kExitWell);
    });
  } catch (const std::exception& e) {
    Complain(e.what());
  }
  if (!told) tell(status);
  _exit(status);
}

}  // namespace

int InBackground(const std::function<int(const Ready&)>& work) {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) Throw("pipe2");
  const UniqueFd told(ends[0]);
  UniqueFd report(ends[1]);
  const pid_t first = fork();
  if (first < 0) Throw("fork");
  if (first == 0) {
    setsid();
    // Not the leader of its session: it gets no terminal any more.
    const pid_t second = fork();
    if (second != 0) _exit(second < 0 ? kExitWrong : kExitWell);
    constexpr int kReport = STDERR_FILENO + 1;
    if (report.get() != kReport) dup2(report.get(), kReport);
    close_range(kReport + 1, ~0U, 0);
    Work(work, kReport);
  }
  report.Reset();
  waitpid(first, nullptr, 0);
  unsigned char status = kExitWrong;
  ssize_t count = -1;
  do {
    count = read(told.get(), &status, 1);
  } while (count < 0 && errno == EINTR);
  if (count == 1) return status;
  Complain("the process that was to hold the barrier died");
  return kExitWrong;
}

}  // namespace lockscope::tools
