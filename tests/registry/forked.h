// Forked: a child of the test that takes turns with it.
//
//   Forked child([&](Forked::Turns& turns) {
//     const Looker own("file:" + db + "?vfs=lockscope");
//     turns.Tell("open");
//     turns.Wait();                                     // for Go()
//     …
//   });
//   EXPECT_EQ(child.Said(), "open");
//   …look at it from outside…
//   child.Go();
//   EXPECT_EQ(child.ExitCode(), 0);
//
// It inherits what the test has, through fork(). It ends with the object (SIGKILL), else when its
// body does: with 0, or with 1 after an exception, which is what it then has said.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "support/subprocess.h"

namespace lockscope::testing {

class Forked {
 public:
  static constexpr unsigned kLongestLife = 1800;  // seconds, whatever becomes of the test

  // The child's side.
  class Turns {
   public:
    void Tell(const std::string& line) const;
    // For one Go(). Ends the process where the test is gone.
    void Wait() const;
    // Till somebody ends it: in its own children too, which end by themselves where nobody does.
    [[noreturn]] void LiveOn() const;

   private:
    friend class Forked;
    Turns(int to, int from) : to_(to), from_(from) {}
    int to_;
    int from_;
  };

  explicit Forked(const std::function<void(Turns&)>& body);
  ~Forked() { Kill(); }
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;

  pid_t pid() const { return pid_; }
  // The next line it says. Throws where none comes.
  std::string Said();
  void Go() const;
  // Waits for its end; 128 + signal where it died of one.
  int ExitCode();
  // SIGKILL, and waits until it is gone with all its locks.
  void Kill();
  // SIGKILL; it is dead, and nobody has waited for it yet.
  void KillAndLeaveUnreaped();

 private:
  pid_t pid_ = -1;
  bool running_ = true;
  int status_ = 0;
  UniqueFd to_;
  UniqueFd from_;
};

}  // namespace lockscope::testing
