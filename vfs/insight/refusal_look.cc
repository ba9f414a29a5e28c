#include "insight/refusal_look.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>

#include "insight/look.h"
#include "insight/reasons.h"
#include "ledger/clock.h"

namespace lockscope::insight {
namespace {

std::int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// How much of the process's time looks may take: each uses up `parts` times what it took, and for a
// while they may run ahead of that.
class Share {
 public:
  constexpr Share(std::int64_t parts, std::int64_t burst_ns)
      : parts_(parts), ahead_ns_(parts * burst_ns) {}

  bool IsLeft(std::int64_t now) const {
    return used_until_ns_.load(std::memory_order_relaxed) <= now;
  }
  void Use(std::int64_t begun, std::int64_t ended) {
    std::int64_t used = used_until_ns_.load(std::memory_order_relaxed);
    std::int64_t wanted = 0;
    do {
      wanted = std::max(used, begun - ahead_ns_) + parts_ * (ended - begun);
    } while (!used_until_ns_.compare_exchange_weak(used, wanted, std::memory_order_relaxed));
  }

 private:
  const std::int64_t parts_;
  const std::int64_t ahead_ns_;
  std::atomic<std::int64_t> used_until_ns_{0};
};

constinit Share g_share(100, 5'000'000);

// What the last look took.
constinit std::atomic<std::int64_t> g_look_ns{500'000};

// Beside a wait of that length a look is nothing.
bool IsLong(ledger::Ticks waited) {
  constexpr std::uint64_t kTimes = 50;
  if (waited == 0) return false;
  const ledger::Timeline timeline(ledger::ProcessAnchor(), ledger::ClockAnchor::Take());
  const auto look_ns = static_cast<std::uint64_t>(g_look_ns.load(std::memory_order_relaxed));
  return timeline.DurationNs(waited) >= kTimes * look_ns;
}

// False where that tells less than what is known of the wait.
bool Explain(const ledger::Refusal& refusal, ledger::RefusalCause& cause) {
  const Look look = Look::At({refusal.path}, Patience::kNone);
  const RefusedRequest request{.asker = ConnectionKey{0, refusal.connection},
                               .wanted = refusal.event,
                               .upgrade = refusal.upgrade};
  const Database& database = look.databases().front();
  const Explanation found = ExplainRefusal(look, database, CollectLocks(look, database), request);
  if (refusal.waited != 0 && found.blockers.empty()) return false;
  cause.reason = found.reason;
  cause.explanation = found.Text();
  if (found.blockers.size() != 1) return true;  // several are named in the explanation
  const LockFacts& blocker = found.blockers.front();
  cause.blocker_pid = blocker.pid;
  if (blocker.view != nullptr) cause.blocker_connection = blocker.view->info.id;
  if (blocker.sql) cause.blocker_sql = *blocker.sql;
  return true;
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
  if (refusal.path == nullptr) return false;
  if (!g_share.IsLeft(begun) && !IsLong(refusal.waited)) return false;
  bool found = false;
  try {
    found = Explain(refusal, cause);
  } catch (const std::exception&) {
    // Not even memory: the reason stays unknown.
  }
  const std::int64_t ended = NowNs();
  g_share.Use(begun, ended);
  g_look_ns.store(ended - begun, std::memory_order_relaxed);
  return found;
}

}  // namespace lockscope::insight
