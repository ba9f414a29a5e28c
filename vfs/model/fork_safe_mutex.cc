#include "model/fork_safe_mutex.h"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

namespace lockscope {
namespace {

constexpr std::size_t kRanks = static_cast<std::size_t>(LockRank::kCount);

constinit std::array<std::mutex, kRanks> g_mutexes;
constinit std::array<std::atomic<void (*)()>, kRanks> g_forget{};

// This thread is inside fork() and holds them all. The application's own fork handlers may run
// meanwhile, and may use SQLite.
constinit thread_local bool t_forking = false;

void BeforeFork() {
  for (std::mutex& mutex : g_mutexes) mutex.lock();
  t_forking = true;
}

void ReleaseAll() {
  t_forking = false;
  for (std::size_t i = kRanks; i-- > 0;) g_mutexes.at(i).unlock();
}

void InChild() {
  for (auto& entry : g_forget) {
    if (auto forget = entry.load()) forget();
  }
  ReleaseAll();
}

// Before main(), or while the extension is being loaded: no mutex has been taken yet.
[[maybe_unused]] const int g_installed = pthread_atfork(BeforeFork, ReleaseAll, InChild);

}  // namespace

void ForkSafeMutex::lock() {
  if (!t_forking) g_mutexes.at(static_cast<std::size_t>(rank_)).lock();
}
void ForkSafeMutex::unlock() {
  if (!t_forking) g_mutexes.at(static_cast<std::size_t>(rank_)).unlock();
}

void ForkSafeMutex::OnFork(LockRank rank, void (*forget)()) {
  g_forget.at(static_cast<std::size_t>(rank)).store(forget);
}

}  // namespace lockscope
