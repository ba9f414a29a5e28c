#include "subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace lockscope::testing {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void ThrowErrno(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> MergedEnvironment(const Environment& added) {
  std::vector<std::string> merged;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view line(*variable);
    if (!added.contains(std::string(line.substr(0, line.find('='))))) merged.emplace_back(line);
  }
  for (const auto& [name, value] : added) merged.emplace_back(name).append("=").append(value);
  return merged;
}

// posix_spawn's two objects, destroyed whatever happens.
struct SpawnSetup {
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

// A file in memory with `text` in it, to be read from its beginning.
UniqueFd FileHolding(const std::string& text) {
  UniqueFd file(memfd_create("stdin", MFD_CLOEXEC));
  if (file.get() < 0) ThrowErrno("memfd_create");
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = write(file.get(), text.data() + done, text.size() - done);
    if (n < 0) ThrowErrno("write to memfd");
    done += static_cast<std::size_t>(n);
  }
  lseek(file.get(), 0, SEEK_SET);
  return file;
}

// Appends what can be read without waiting. False at the end of the file.
bool Drain(int fd, std::string& text) {
  std::array<char, 16384> buffer;
  for (;;) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(n));
    } else if (n == 0) {
      return false;
    } else if (errno != EINTR) {
      return true;
    }
  }
}

int MillisecondsUntil(Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

}  // namespace

void UniqueFd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Pipe MakePipe() {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) ThrowErrno("pipe2");
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

pid_t Spawn(const std::vector<std::string>& argv, const SpawnOptions& options) {
  if (argv.empty()) throw std::invalid_argument("Spawn: no program");
  SpawnSetup setup;
  const std::array<int, 3> wanted = {options.in, options.out, options.err};
  for (int target = 0; target < 3; ++target) {
    const int fd = wanted[static_cast<std::size_t>(target)];
    if (fd >= 0) posix_spawn_file_actions_adddup2(&setup.actions, fd, target);
  }
  if (!options.directory.empty()) {
    posix_spawn_file_actions_addchdir_np(&setup.actions, options.directory.c_str());
  }
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&setup.attributes, &none);
  posix_spawnattr_setsigdefault(&setup.attributes, &all);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.own_group) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&setup.attributes, static_cast<short>(flags));

  std::vector<std::string> arguments = argv;
  std::vector<std::string> environment = MergedEnvironment(options.env);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, argv[0].c_str(), &setup.actions, &setup.attributes,
                                 Pointers(arguments).data(), Pointers(environment).data());
  if (error != 0) ThrowErrno("cannot start " + argv[0], error);
  return pid;
}

ProgramResult RunProgram(const Program& program) {
  const Clock::time_point deadline = Clock::now() + program.deadline;
  UniqueFd input = FileHolding(program.input);
  Pipe out = MakePipe();
  Pipe err = MakePipe();
  const pid_t pid = Spawn(program.argv, {.env = program.env,
                                         .directory = program.directory,
                                         .in = input.get(),
                                         .out = out.write.get(),
                                         .err = err.write.get(),
                                         .own_group = true});
  out.write.Reset();
  err.write.Reset();
  UniqueFd ended(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (ended.get() < 0) {
    const int error = errno;
    kill(-pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    ThrowErrno("pidfd_open", error);
  }
  for (const Pipe* pipe : {&out, &err}) fcntl(pipe->read.get(), F_SETFL, O_NONBLOCK);

  ProgramResult result;
  std::array<pollfd, 3> watched = {{{.fd = ended.get(), .events = POLLIN, .revents = 0},
                                    {.fd = out.read.get(), .events = POLLIN, .revents = 0},
                                    {.fd = err.read.get(), .events = POLLIN, .revents = 0}}};
  while (watched[0].revents == 0) {
    if (poll(watched.data(), watched.size(), MillisecondsUntil(deadline)) == 0) {
      result.timed_out = true;
      kill(-pid, SIGKILL);
      break;
    }
    // A closed stream is watched no longer: it would be ready for ever.
    if (watched[1].revents != 0 && !Drain(out.read.get(), result.out)) watched[1].fd = -1;
    if (watched[2].revents != 0 && !Drain(err.read.get(), result.err)) watched[2].fd = -1;
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  Drain(out.read.get(), result.out);
  Drain(err.read.get(), result.err);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

std::ostream& operator<<(std::ostream& stream, const ProgramResult& result) {
  stream << "exit code " << result.exit_code;
  if (result.signal != 0) stream << ", signal " << result.signal;
  if (result.timed_out) stream << ", killed at its deadline";
  return stream << "\nstdout: " << result.out << "\nstderr: " << result.err;
}

}  // namespace lockscope::testing
