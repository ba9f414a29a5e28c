#include "model/fork_safe_mutex.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>

namespace lockscope {
namespace {

constexpr std::size_t kRanks = static_cast<std::size_t>(LockRank::kCount);

// Constant-initialised, so that a mutex in another file may register itself at any time.
constinit std::array<std::atomic<ForkSafeMutex*>, kRanks> g_mutexes{};
constinit std::array<std::atomic<void (*)()>, kRanks> g_forget{};
constinit std::atomic<bool> g_installed{false};
// What BeforeFork took, for ReleaseAll: a mutex may register itself in between. Written by the
// forking thread only, which holds pthread's own lock on the handlers meanwhile.
constinit std::array<ForkSafeMutex*, kRanks> g_taken{};

void BeforeFork() {
  for (std::size_t i = 0; i < kRanks; ++i) {
    g_taken.at(i) = g_mutexes.at(i).load();
    if (g_taken.at(i) != nullptr) g_taken.at(i)->lock();
  }
}

void ReleaseAll() {
  for (std::size_t i = kRanks; i-- > 0;) {
    if (g_taken.at(i) != nullptr) g_taken.at(i)->unlock();
  }
}

void InChild() {
  for (auto& entry : g_forget) {
    if (auto forget = entry.load()) forget();
  }
  ReleaseAll();
}

}  // namespace

ForkSafeMutex::ForkSafeMutex(LockRank rank) {
  g_mutexes.at(static_cast<std::size_t>(rank)).store(this);
  if (!g_installed.exchange(true)) pthread_atfork(BeforeFork, ReleaseAll, InChild);
}

void ForkSafeMutex::OnFork(LockRank rank, void (*forget)()) {
  g_forget.at(static_cast<std::size_t>(rank)).store(forget);
}

}  // namespace lockscope
