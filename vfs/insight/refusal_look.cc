#include "insight/refusal_look.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <exception>

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
      wanted = std::max(used, begun - ahead_ns) + parts_ * took_ns;
    } while (!used_until_ns_.compare_exchange_weak(used, wanted, std::memory_order_relaxed));
  }

 private:
  const std::int64_t parts_;
  const std::int64_t burst_looks_;
  const std::int64_t burst_ns_;
  std::atomic<std::int64_t> used_until_ns_{0};
};

constinit Share g_share(500, 4, 5'000'000);

// A thread that was stopped in the middle of a look did not look for longer than that.
constexpr std::int64_t kLongestCharged = 20'000'000;

// What the last looks took: where the wal-index was asked for, which seldom takes a list, and where
// the database was.
constinit std::array<std::atomic<std::int64_t>, 2> g_look_ns{500'000, 15'000'000};

std::atomic<std::int64_t>& LookNs(const Event& wanted) {
  return g_look_ns.at(IsShm(wanted.resource) ? 0 : 1);
}

void Remember(const Event& wanted, std::int64_t took_ns) {
  std::atomic<std::int64_t>& look_ns = LookNs(wanted);
  look_ns.store((3 * look_ns.load(std::memory_order_relaxed) + took_ns) / 4,
                std::memory_order_relaxed);
}

// Beside a wait of that length a look is nothing.
bool IsLong(const ledger::Refusal& refusal) {
  constexpr std::uint64_t kTimes = 50;
  if (refusal.waited == 0) return false;
  const ledger::Timeline timeline(ledger::ProcessAnchor(), ledger::ClockAnchor::Take());
  const std::int64_t look_ns = LookNs(refusal.event).load(std::memory_order_relaxed);
  return timeline.DurationNs(refusal.waited) >= kTimes * static_cast<std::uint64_t>(look_ns);
}

// Whether somebody may share what was asked for, and so be in the way unnamed.
bool MaySomebodyShare(const Event& wanted, const Database& database) {
  if (wanted.to == LockMode::kShared) return false;  // refused by exclusive locks alone
  if (wanted.resource == Resource::kDatabase) return wanted.to == LockMode::kExclusive;
  for (int i = 0; i < wanted.count; ++i) {
    if ((database.shm_shared >> (ShmOffset(wanted.resource) + i) & 1) != 0) return true;
  }
  return false;
}

// Whether what the kernel tells when it is asked is all there is to be told. Of a writer that holds
// PENDING also the readers are, for whom it waits.
bool IsAll(const Event& wanted, const Database& database, const Explanation& found) {
  if (database.kernel_word != KernelWord::kAsked) return true;
  return !MaySomebodyShare(wanted, database) && found.reason != Reason::kPendingWriter;
}

// What there is to say of it: points into the look.
struct Finding {
  Look look;
  Explanation explanation;
};

Finding Find(const ledger::Refusal& refusal, Pains pains) {
  const RefusedRequest request{.asker = ConnectionKey{0, refusal.connection},
                               .wanted = refusal.event,
                               .upgrade = refusal.upgrade};
  Look look = Look::At({refusal.path}, pains);
  const Database& database = look.databases().front();
  Explanation explanation = ExplainRefusal(look, database, CollectLocks(look, database), request);
  return {std::move(look), std::move(explanation)};
}

Looked Explain(const ledger::Refusal& refusal, ledger::RefusalCause& cause) {
  const bool takes_list = refusal.event.resource == Resource::kDatabase &&
                          refusal.event.to == LockMode::kExclusive;
  Finding finding = Find(refusal, takes_list ? Pains::kOneMoment : Pains::kFew);
  if (!IsAll(refusal.event, finding.look.databases().front(), finding.explanation)) {
    finding = Find(refusal, Pains::kOneMoment);
  }
  const Explanation& found = finding.explanation;
  if (refusal.waited != 0 && found.blockers.empty()) return Looked::kInVain;
  cause.reason = found.reason;
  cause.explanation = found.Text();
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
  const std::int64_t begun = NowNs();
  if (refusal.path == nullptr) return Looked::kNot;
  if (!g_share.IsLeft(begun) && !IsLong(refusal)) return Looked::kNot;
  Looked looked = Looked::kInVain;
  try {
    looked = Explain(refusal, cause);
  } catch (const std::exception&) {
    // Not even memory: the reason stays unknown.
  }
  const std::int64_t took_ns = std::min(NowNs() - begun, kLongestCharged);
  g_share.Use(begun, took_ns);
  Remember(refusal.event, took_ns);
  return looked;
}

}  // namespace lockscope::insight
