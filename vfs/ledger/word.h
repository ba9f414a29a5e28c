// Word and the sequence counter: memory that one thread writes and any other reads without a lock.
//
// The reader's rule: load the sequence (even), load the words, load the sequence again; the words
// belong together if both are the same. Correct without fences, because the words themselves are
// stored with release and loaded with acquire order: whoever sees a word of a later update also
// sees the odd sequence number before it, and the second load of the sequence cannot move before
// the loads of the words. On x86-64 all of these are plain moves. ThreadSanitizer understands them.
#pragma once

#include <atomic>
#include <cstdint>

namespace lockscope::ledger {

class Word {
 public:
  std::uint64_t Load() const noexcept { return value_.load(std::memory_order_acquire); }
  // What the writer itself last stored. REQUIRES: called by the writer.
  std::uint64_t Own() const noexcept { return value_.load(std::memory_order_relaxed); }
  void Store(std::uint64_t value) noexcept { value_.store(value, std::memory_order_release); }
  void Add(std::uint64_t amount) noexcept { Store(Own() + amount); }

 private:
  std::atomic<std::uint64_t> value_{0};
};
static_assert(sizeof(Word) == 8 && std::atomic<std::uint64_t>::is_always_lock_free);

// One update by the writer: odd from construction to destruction.
class Update {
 public:
  explicit Update(std::atomic<std::uint64_t>& sequence) noexcept
      : sequence_(sequence), value_(sequence.load(std::memory_order_relaxed)) {
    sequence_.store(value_ + 1, std::memory_order_relaxed);
  }
  ~Update() { sequence_.store(value_ + 2, std::memory_order_release); }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

 private:
  std::atomic<std::uint64_t>& sequence_;
  std::uint64_t value_;
};

}  // namespace lockscope::ledger
