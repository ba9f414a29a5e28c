// ForkSafeMutex: a mutex that is never left locked in a forked child.
//
// fork() copies a mutex in whatever state another thread has it; the child would wait for ever.
// Every ForkSafeMutex is taken before a fork and let go after it, in parent and child, in the order
// of rank. The lock order of the whole library is therefore one list:
//
//   1. kSettings     process-wide settings
//   2. kTrackers     which statement tracker belongs to which database connection
//   3. kLedger       the list of connections, their wal-index pointers, the totals
//   4. kDescriptors  the descriptors kept for looking
//
// None is held across a call into the VFS below or into SQLite.
//
// Instances live for ever (static storage, or leaked): the list of them is never shortened.
#pragma once

#include <mutex>

namespace lockscope {

enum class LockRank { kSettings, kTrackers, kLedger, kDescriptors, kCount };

class ForkSafeMutex {
 public:
  // At most one instance of each rank.
  explicit ForkSafeMutex(LockRank rank);
  ForkSafeMutex(const ForkSafeMutex&) = delete;
  ForkSafeMutex& operator=(const ForkSafeMutex&) = delete;

  void lock() { mutex_.lock(); }      // NOLINT: BasicLockable's names
  void unlock() { mutex_.unlock(); }  // NOLINT

  // Calls `forget` in every forked child, while all the mutexes are held. For state that means
  // nothing there, because POSIX locks are not inherited.
  static void OnFork(LockRank rank, void (*forget)());

 private:
  std::mutex mutex_;
};

}  // namespace lockscope
