#include "insight/refusal_look.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <optional>
#include <utility>

#include "insight/look.h"
#include "insight/reasons.h"
#include "ledger/clock.h"

namespace lockscope::insight {
namespace {

using ledger::Looked;

std::int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// A thread that was stopped in the middle of a look did not look for longer than that.
constexpr std::int64_t kMostCharged = 20'000'000;

// How much of the process's time looks may take: each uses up `parts` times what it took. They may
// run ahead of that by a burst of so many looks, and of so much time.
class Share {
 public:
  constexpr Share(std::int64_t parts, std::int64_t burst_looks, std::int64_t burst_ns)
      : parts_(parts), burst_looks_(burst_looks), burst_ns_(burst_ns) {}

  bool IsLeft(std::int64_t now) const {
    return used_until_ns_.load(std::memory_order_relaxed) <= now;
  }
  void Use(std::int64_t begun, std::int64_t took_ns) {
    const std::int64_t ahead_ns = parts_ * std::min(burst_looks_ * took_ns, burst_ns_);
    std::int64_t used = used_until_ns_.load(std::memory_order_relaxed);
    std::int64_t wanted = 0;
    do {
      wanted = std::max(used, std::min(std::max(used, begun - ahead_ns) + parts_ * took_ns,
                                       begun + parts_ * kMostCharged));
    } while (!used_until_ns_.compare_exchange_weak(used, wanted, std::memory_order_relaxed));
  }

 private:
  const std::int64_t parts_;
  const std::int64_t burst_looks_;
  const std::int64_t burst_ns_;
  std::atomic<std::int64_t> used_until_ns_{0};
};

// Of one kind of look.
struct Budget {
  Share share;
  std::atomic<std::int64_t> look_ns;  // what the last ones took
};

// Looks that ask for the locks, and such as list them all, which keep others waiting too.
constinit Budget g_asking{Share(500, 4, 5'000'000), 500'000};
constinit Budget g_listing{Share(100, 4, 5'000'000), 15'000'000};

// Beside a wait of that length a look is nothing.
bool IsLong(ledger::Ticks waited, const Budget& budget) {
  constexpr std::uint64_t kTimes = 50;
  if (waited == 0) return false;
  const ledger::Timeline timeline(ledger::ProcessAnchor(), ledger::ClockAnchor::Take());
  const std::int64_t look_ns = budget.look_ns.load(std::memory_order_relaxed);
  return timeline.DurationNs(waited) >= kTimes * static_cast<std::uint64_t>(look_ns);
}

// What one look takes, from the time when it is there.
class Charge {
 public:
  explicit Charge(Budget& budget) : budget_(budget), begun_(NowNs()) {}
  ~Charge() {
    const std::int64_t took_ns = std::min(NowNs() - begun_, kMostCharged);
    budget_.share.Use(begun_, took_ns);
    const std::int64_t before = budget_.look_ns.load(std::memory_order_relaxed);
    budget_.look_ns.store((3 * before + took_ns) / 4, std::memory_order_relaxed);
  }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

 private:
  Budget& budget_;
  const std::int64_t begun_;
};

bool MayLook(const ledger::Refusal& refusal, const Budget& budget) {
  return budget.share.IsLeft(NowNs()) || IsLong(refusal.waited, budget);
}

// Whether somebody may share what was asked for, and so be in the way unnamed.
bool MaySomebodyShare(const Event& wanted, const Database& database) {
  if (wanted.to == LockMode::kShared) return false;  // refused by exclusive locks alone
  if (wanted.resource == Resource::kDatabase) return wanted.to == LockMode::kExclusive;  // readers
  for (int i = 0; i < wanted.count; ++i) {
    if (database.MaySomebodyShare(ShmResource(ShmOffset(wanted.resource) + i))) return true;
  }
  return false;
}

// What there is to say of it: points into the look.
struct Finding {
  Look look;
  Explanation explanation;
};

Finding Find(const ledger::Refusal& refusal, Pains pains) {
  const Charge charge(pains == Pains::kFew ? g_asking : g_listing);
  const RefusedRequest request{.asker = ConnectionKey{0, refusal.connection},
                               .wanted = refusal.event,
                               .upgrade = refusal.upgrade,
                               .asked = refusal.asked};
  Look look = Look::At({refusal.path}, pains);
  const Database& database = look.databases().front();
  Explanation explanation = ExplainRefusal(look, database, CollectLocks(look, database), request);
  return {std::move(look), std::move(explanation)};
}

// Null where that would take too much; then `looked` says whether something was taken in vain.
std::optional<Finding> Find(const ledger::Refusal& refusal, Looked& looked) {
  looked = Looked::kNot;
  const bool commits =
      refusal.event.resource == Resource::kDatabase && refusal.event.to == LockMode::kExclusive;
  if (!commits) {
    if (!MayLook(refusal, g_asking)) return std::nullopt;
    Finding asked = Find(refusal, Pains::kFew);
    looked = Looked::kInVain;
    const Database& database = asked.look.databases().front();
    if (database.kernel_word && !MaySomebodyShare(refusal.event, database)) {
      // Of a writer that holds PENDING also the readers are to be told, for whom it waits.
      const bool is_all = asked.explanation.reason != Reason::kPendingWriter;
      if (is_all || !MayLook(refusal, g_listing)) return asked;
    }
  }
  if (!MayLook(refusal, g_listing)) return std::nullopt;
  return Find(refusal, Pains::kOneMoment);
}

Looked Explain(const ledger::Refusal& refusal, ledger::RefusalCause& cause) {
  Looked looked = Looked::kNot;
  const std::optional<Finding> finding = Find(refusal, looked);
  if (!finding) return looked;
  const Explanation& found = finding->explanation;
  if (found.blockers.empty() && refusal.is_told) return Looked::kInVain;
  cause.reason = found.reason;
  cause.explanation = found.Text();
  if (found.blockers.empty()) return Looked::kNobody;
  if (found.blockers.size() != 1) return Looked::kFound;  // several are named in the explanation
  const LockFacts& blocker = found.blockers.front();
  cause.blocker_pid = blocker.pid;
  if (blocker.view != nullptr) cause.blocker_connection = blocker.view->info.id;
  if (blocker.sql) cause.blocker_sql = *blocker.sql;
  return Looked::kFound;
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

Looked LookAtRefusal(const ledger::Refusal& refusal, ledger::RefusalCause& cause) noexcept {
  const KeepErrno keep_errno;
  if (refusal.path == nullptr) return Looked::kNot;
  try {
    return Explain(refusal, cause);
  } catch (const std::exception&) {
    return Looked::kInVain;  // not even memory: the reason stays unknown
  }
}

}  // namespace lockscope::insight
