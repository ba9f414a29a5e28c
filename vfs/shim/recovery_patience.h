// RecoveryPatience: the setting recovery_wait_ms. Waits for whoever rolls a hot journal back,
// before SHARED is asked for: nothing is held then that they would need.
//
//   the journal is hot, somebody has EXCLUSIVE    it is being rolled back: wait
//   hot, nobody has a lock, read-only here        somebody else must: wait
//   hot, nobody has a lock, writable here         SQLite rolls it back now: go on
//   live (RESERVED is held), finished, or none    go on
//
// Where the writer dies only after SHARED was granted, xCheckReservedLock answers SQLITE_BUSY:
// SQLite lets SHARED go then and calls its busy handler, and this waits at the next attempt.
//
// The time counts per statement; where statements are not heard, over all attempts that had to wait
// with less than a second between two. sqlite3_interrupt() is noticed when it is over.
//
// Threads: the file's.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "shim/sqlite_api.h"

namespace lockscope::shim {

class RecoveryPatience {
 public:
  RecoveryPatience(const char* path, bool read_only) : path_(path), read_only_(read_only) {}

  // Before SHARED is asked for, by a statement of that number (0: not known). Sleeps through `vfs`
  // while it must be waited and time is left.
  void Await(sqlite3_vfs& vfs, std::uint64_t statement, std::chrono::milliseconds most);
  // After SHARED was refused: whether to try again, once Await() has been called again.
  bool MayRetry() const { return IsLeft() && Judge() == State::kRecovering; }
  // In xCheckReservedLock, with SHARED: whether to answer SQLITE_BUSY.
  bool MustStepBack() const { return read_only_ && IsLeft() && Judge() == State::kHot; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class State { kNone, kHot, kRecovering };
  State Judge() const;
  bool MustWait() const;
  bool IsLeft() const { return Clock::now() < until_; }

  const char* const path_;  // SQLite's; lives as long as the file is open
  const bool read_only_;
  std::uint64_t statement_ = 0;
  Clock::time_point until_{};
  Clock::time_point had_to_wait_{};
};

}  // namespace lockscope::shim
