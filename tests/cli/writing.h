// Processes of plain SQLite that write without a pause while a test copies.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "support/actor.h"

namespace lockscope::testing {

// Moves amounts between the rows of a database of CreateDatabase() until the object ends: their sum
// stays 0. Now and then it makes a checkpoint of every kind.
class Writing {
 public:
  explicit Writing(std::string path) : path_(std::move(path)) {
    thread_ = std::thread([this] { Run(); });
    while (commits() == 0 && !failed_) std::this_thread::yield();
  }
  ~Writing() {
    stop_ = true;
    thread_.join();
    EXPECT_FALSE(failed_);
  }
  Writing(const Writing&) = delete;
  Writing& operator=(const Writing&) = delete;

  long commits() const { return commits_; }

 private:
  void Run() {
    try {
      Actor actor;
      actor.Open("c", path_);
      actor.BusyTimeout("c", 10000);
      actor.Exec("c", "pragma wal_autocheckpoint = 20");
      while (!stop_) {
        Transfer(actor);
        ++commits_;
      }
    } catch (const std::exception& e) {
      failed_ = true;
      ADD_FAILURE() << e.what();
    }
  }

  void Transfer(Actor& actor) {
    const long n = commits_;
    const std::string from = std::to_string(1 + n * 7 % 200);
    const std::string to = std::to_string(1 + n * 13 % 199);
    actor.Exec("c", "begin immediate; update t set v = v - 5, pad = randomblob(300) where id = " +
                        from + "; update t set v = v + 5 where id = " + to + "; commit");
    static constexpr std::array<const char*, 4> kModes = {"passive", "full", "restart", "truncate"};
    if (n % 10 == 9) actor.Checkpoint("c", kModes.at(static_cast<std::size_t>(n / 10 % 4)));
  }

  const std::string path_;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<long> commits_ = 0;
};

}  // namespace lockscope::testing
