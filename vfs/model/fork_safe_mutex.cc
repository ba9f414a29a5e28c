#include "model/fork_safe_mutex.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>

namespace lockscope {
namespace {

constexpr std::size_t kRanks = static_cast<std::size_t>(LockRank::kCount);

constinit std::array<std::mutex, kRanks> g_mutexes;
constinit std::array<std::atomic<void (*)()>, kRanks> g_forget{};

// The process that this thread is forking: it holds them all. 0 for none. The application's own
// fork handlers may run meanwhile, and may use SQLite.
constinit thread_local pid_t t_forking = 0;
constinit thread_local bool t_forgotten = false;

void BeforeFork() {
  for (std::mutex& mutex : g_mutexes) mutex.lock();
  t_forgotten = false;
  t_forking = getpid();
}

void ReleaseAll() {
  t_forking = 0;
  for (std::size_t i = kRanks; i-- > 0;) g_mutexes.at(i).unlock();
}

// In the child, once: by our handler, or before it, where a handler of the application that runs
// first opens a database there.
void Forget() {
  if (t_forgotten) return;
  t_forgotten = true;  // they take their own mutexes
  for (auto& entry : g_forget) {
    if (auto forget = entry.load()) forget();
  }
}

void InChild() {
  Forget();
  ReleaseAll();
}

// Before main(), or while the extension is being loaded: no mutex has been taken yet.
[[maybe_unused]] const int g_installed = pthread_atfork(BeforeFork, ReleaseAll, InChild);

}  // namespace

void ForkSafeMutex::lock() {
  if (t_forking == 0) {
    g_mutexes.at(static_cast<std::size_t>(rank_)).lock();
  } else if (t_forking != getpid()) {
    Forget();
  }
}
void ForkSafeMutex::unlock() {
  if (t_forking == 0) g_mutexes.at(static_cast<std::size_t>(rank_)).unlock();
}

void ForkSafeMutex::OnFork(LockRank rank, void (*forget)()) {
  g_forget.at(static_cast<std::size_t>(rank)).store(forget);
}

}  // namespace lockscope
