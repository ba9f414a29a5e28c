// ForkSafeMutex: a mutex that is never left locked in a forked child.
//
// fork() copies a mutex in whatever state another thread has it; the child would wait for ever.
// Every mutex here is taken before a fork and let go after it, in parent and child, in the order of
// rank. The lock order of the whole library is therefore one list:
//
//   1. kSettings       process-wide settings
//   2. kTrackers       which statement tracker belongs to which database connection
//   3. kRecoveries     the files that may be rolling a hot journal back
//   4. kBarrierTokens  the barriers by their tokens
//   5. kRegistry       the sidecars, and which of their records are in use
//   6. kLedger         the list of connections, their wal-index pointers, the totals
//   7. kBarriers       what is told of barriers
//   8. kDescriptors    the descriptors kept for looking
//   9. kLog            where the log goes
//
// None is held across a call into the VFS below or into SQLite.
//
#pragma once

namespace lockscope {

enum class LockRank {
  kSettings,
  kTrackers,
  kRecoveries,
  kBarrierTokens,
  kRegistry,
  kLedger,
  kBarriers,
  kDescriptors,
  kLog,
  kCount
};

// A handle of the one mutex of its rank. To be `constinit`: a static that is initialised at its
// first use has a lock of its own, which a fork at that moment leaves taken in the child.
class ForkSafeMutex {
 public:
  constexpr explicit ForkSafeMutex(LockRank rank) : rank_(rank) {}
  ForkSafeMutex(const ForkSafeMutex&) = delete;
  ForkSafeMutex& operator=(const ForkSafeMutex&) = delete;

  void lock();    // NOLINT: BasicLockable's names
  void unlock();  // NOLINT

  // Calls `forget` in every forked child, while all the mutexes are held and before any of them is
  // taken there. For state that means nothing there, because POSIX locks are not inherited.
  static void OnFork(LockRank rank, void (*forget)());

 private:
  LockRank rank_;
};

}  // namespace lockscope
