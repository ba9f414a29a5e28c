// SharedState: what the processes of one run know of each other, in memory that they share.
//
// Each field has one process that writes it, but for the counters, which are added to. Times are
// nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <new>

namespace lockscope::torture {

using Counter = std::atomic<std::int64_t>;

inline std::int64_t NowNs() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

inline constexpr int kWriters = 2;
inline constexpr int kReaders = 2;

// When a barrier was asked for, had, and let go (0: not yet). The writers find the part of their
// transactions in it.
struct Window {
  std::atomic<bool> writers_go_on{false};  // else they wait by design
  Counter asked{0};
  Counter had{0};
  Counter over{0};
};

struct WriterTotals {
  Counter commits{0};
  Counter rollbacks{0};
  Counter busy{0};  // SQLITE_BUSY in spite of a timeout of 20 s
  // The longest transaction, its waiting included, while there was no barrier; the most that one
  // spent while a barrier under which writers go on was being acquired, and while it was held.
  Counter longest_free_ns{0};
  Counter longest_acquiring_ns{0};
  Counter longest_held_ns{0};
};

struct SharedState {
  std::atomic<bool> stop{false};
  // Until then every role keeps its connections closed: the last one to close checkpoints and
  // unlinks the WAL.
  Counter quiet_until{0};

  std::array<Window, 64> windows;  // a ring
  Counter windows_begun{0};

  std::array<WriterTotals, kWriters> writers;
  Counter snapshots_read{0};
  Counter checkpoints{0};
  Counter checkpoints_busy{0};
  Counter closings{0};
  // Readers that found a live database inconsistent: SQLite's own fault (its WAL-reset bug).
  Counter live_complaints{0};
};

// Anonymous shared memory, for forked children.
class SharedMemory {
 public:
  SharedMemory() {
    void* memory = mmap(nullptr, sizeof(SharedState), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    state_ = new (memory) SharedState;
  }
  ~SharedMemory() { munmap(state_, sizeof(SharedState)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  SharedState& state() { return *state_; }

 private:
  SharedState* state_ = nullptr;
};

inline void KeepLargest(Counter& largest, std::int64_t value) {
  if (value > largest.load()) largest.store(value);
}

}  // namespace lockscope::torture
