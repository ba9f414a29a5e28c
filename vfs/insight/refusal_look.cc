#include "insight/refusal_look.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>

#include "insight/look.h"
#include "insight/reasons.h"

namespace lockscope::insight {
namespace {

std::int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// Up to where the looks so far have used time up, at ten times what they took.
constinit std::atomic<std::int64_t> g_used_until_ns{0};
constexpr std::int64_t kShare = 10;
constexpr std::int64_t kBurstNs = 500'000'000;

bool HasTime(std::int64_t now) { return g_used_until_ns.load(std::memory_order_relaxed) <= now; }

void UseTime(std::int64_t begun, std::int64_t ended) {
  std::int64_t used = g_used_until_ns.load(std::memory_order_relaxed);
  std::int64_t wanted = 0;
  do {
    wanted = std::max(used, begun - kBurstNs) + kShare * (ended - begun);
  } while (!g_used_until_ns.compare_exchange_weak(used, wanted, std::memory_order_relaxed));
}

void Explain(const ledger::Refusal& refusal, ledger::RefusalCause& cause) {
  const Look look = Look::At({refusal.path}, Patience::kNone);
  const RefusedRequest request{
      .connection = refusal.connection, .wanted = refusal.event, .upgrade = refusal.upgrade};
  const Explanation found = ExplainRefusal(look, look.databases().front(), request);
  cause.reason = found.reason;
  cause.explanation = found.Text();
  if (found.blockers.size() != 1) return;  // several are named in the explanation
  const LockFacts& blocker = found.blockers.front();
  cause.blocker_pid = blocker.pid;
  if (blocker.view != nullptr) cause.blocker_connection = blocker.view->info.id;
  if (blocker.sql) cause.blocker_sql = *blocker.sql;
}

class KeepErrno {
 public:
  KeepErrno() = default;
  ~KeepErrno() { errno = before_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  const int before_ = errno;
};

}  // namespace

bool LookAtRefusal(const ledger::Refusal& refusal, ledger::RefusalCause& cause) noexcept {
  const KeepErrno keep_errno;
  const std::int64_t begun = NowNs();
  if (refusal.path == nullptr || !HasTime(begun)) return false;
  bool found = false;
  try {
    Explain(refusal, cause);
    found = true;
  } catch (const std::exception&) {
    // Not even memory: the reason stays unknown.
  }
  UseTime(begun, NowNs());
  return found;
}

}  // namespace lockscope::insight
