#include "scratch_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <system_error>

namespace lockscope::tools {
namespace {

[[noreturn]] void Throw(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::string Parent() {
  const char* chosen = std::getenv("TMPDIR");
  return chosen != nullptr && *chosen == '/' ? chosen : "/tmp";
}

}  // namespace

ScratchFolder::ScratchFolder() : path_(Parent() + "/lockscope-exec-XXXXXX") {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) Throw("pipe2");
  const UniqueFd watched(ends[0]);
  alive_ = UniqueFd(ends[1]);
  if (mkdtemp(path_.data()) == nullptr) Throw("cannot make " + path_);
  // Twice, so that it is nobody's child.
  const pid_t first = fork();
  if (first < 0) {
    const int error = errno;
    Remove();
    errno = error;
    Throw("fork");
  }
  if (first == 0) {
    setsid();
    if (fork() == 0) Watch(watched.get());
    _exit(0);
  }
  waitpid(first, nullptr, 0);
}

ScratchFolder::~ScratchFolder() { Remove(); }

void ScratchFolder::Remove() const {
  for (const char* name : {kManifest, kFiles}) unlink((path_ + "/" + name).c_str());
  rmdir(path_.c_str());
}

// Keeps nothing open: somebody may wait for the end of a stream.
void ScratchFolder::Watch(int watched) const {
  constexpr int kWatched = 0;
  dup2(watched, kWatched);
  close_range(kWatched + 1, ~0U, 0);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  prctl(PR_SET_NAME, "lockscope-tidy");
  (void)!chdir("/");
  char byte = 0;
  while (read(kWatched, &byte, 1) < 0 && errno == EINTR) {
  }
  Remove();
  _exit(0);
}

std::string ScratchFolder::Write(const char* name, std::string_view text) const {
  std::string path = path_ + "/" + name;
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.valid()) Throw(path);
  while (!text.empty()) {
    const ssize_t written = write(file.get(), text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) Throw(path);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return path;
}

}  // namespace lockscope::tools
