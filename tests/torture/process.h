// Forked processes, and a channel of JSON lines to one of them.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace lockscope::torture {

// A child that runs `body` and exits: 0, or 1 where it threw, its reason on stderr. Killed when its
// parent ends. REQUIRES: this process has not opened an SQLite database, and runs one thread.
class Child {
 public:
  Child(std::string name, const std::function<void()>& body);
  // Killed where it still runs.
  ~Child();
  Child(Child&& other) noexcept : name_(std::move(other.name_)), pid_(other.pid_) {
    other.pid_ = -1;
  }
  Child& operator=(Child&&) = delete;

  // Waits for its end. False, and a line on stderr, where that was not exit status 0.
  bool Join();
  // True, and a line on stderr, where it has ended. Does not wait.
  bool Ended();

 private:
  bool Judge(int status);

  std::string name_;
  pid_t pid_ = -1;
};

// One end of a socket pair. Send and Receive throw where the other side is gone.
class Channel {
 public:
  // The descriptor is the channel's from now on.
  explicit Channel(int fd) : fd_(fd), file_(fdopen(fd, "r")) {}

  void Send(const nlohmann::json& message);
  nlohmann::json Receive();
  // False at the end of the stream.
  bool Receive(nlohmann::json& message);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  int fd_;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace lockscope::torture
