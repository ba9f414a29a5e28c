// Runs programs: the whole of a program's life in one call, with a deadline.
//
//   ProgramResult r = RunProgram({.argv = {"sqlite3", path}, .input = "select 1;\n"});
//   EXPECT_EQ(r.exit_code, 0) << r;
//   EXPECT_EQ(r.out, "1\n");
//
// For a process that a test talks to while it runs, see actor.h.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

namespace lockscope::testing {

// Variables set on top of this process's environment.
using Environment = std::map<std::string, std::string>;

struct Program {
  std::vector<std::string> argv;  // argv[0] is looked for in PATH
  std::string input = {};         // what the program finds on stdin (a file, so it may be seeked)
  Environment env = {};
  std::string directory = {};  // to run in; empty: this process's
  std::chrono::milliseconds deadline = std::chrono::seconds(30);
};

struct ProgramResult {
  int exit_code = -1;      // -1 when it did not exit by itself
  int signal = 0;          // that ended it; 0 when it exited
  bool timed_out = false;  // the deadline passed: it and its process group were killed
  std::string out;
  std::string err;

  bool ok() const { return exit_code == 0; }
};

std::ostream& operator<<(std::ostream& stream, const ProgramResult& result);

// Runs `program` to its end, in a process group of its own. Returns when the program itself has
// ended, even where a child that it left behind still has its stdout. Throws std::runtime_error
// when it cannot be started.
ProgramResult RunProgram(const Program& program);

// Building block: starts a program with these descriptors as its stdin, stdout and stderr (-1: as
// this process's), default signal handling, and no other descriptor that is O_CLOEXEC.
// Throws std::runtime_error. The caller waits for the pid.
struct SpawnOptions {
  Environment env = {};
  std::string directory = {};
  int in = -1;
  int out = -1;
  int err = -1;
  bool own_group = false;
};
pid_t Spawn(const std::vector<std::string>& argv, const SpawnOptions& options);

// A descriptor that is closed with its object. Never put a database, -wal or -shm file into one:
// the close would drop this process's POSIX locks on it.
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) : fd_(fd) {}
  ~UniqueFd() { Reset(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  int get() const { return fd_; }
  void Reset();

 private:
  int fd_;
};

// A pipe, both ends O_CLOEXEC. Throws std::system_error.
struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
Pipe MakePipe();

}  // namespace lockscope::testing
