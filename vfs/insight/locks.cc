#include "insight/locks.h"

#include <algorithm>

#include "kernel/process.h"

namespace lockscope::insight {
namespace {

class Collector {
 public:
  Collector(const Look& look, const Database& database) : look_(look), database_(database) {}

  std::vector<LockFacts> Run() {
    for (const ledger::ConnectionView* view : database_.Connections()) AddConnection(*view);
    for (const auto& holder : database_.holders) AddHolder(holder);
    for (const auto& waiter : database_.waiters) {
      locks_.push_back(
          {.pid = waiter.pid, .resource = waiter.resource, .mode = waiter.mode, .granted = false});
    }
    return std::move(locks_);
  }

 private:
  void AddConnection(const ledger::ConnectionView& view) {
    const ledger::HeldBits& held = view.held;
    if (held.database != LockMode::kNone) {
      Add(view, Resource::kDatabase, held.database,
          view.slot.database_since.at(ledger::LevelIndex(held.database)));
    }
    for (int offset = 0; offset < kShmLockCount; ++offset) {
      const LockMode mode = held.Shm(offset);
      if (mode == LockMode::kNone) continue;
      Add(view, ShmResource(offset), mode,
          view.slot.shm_since.at(static_cast<std::size_t>(offset)));
    }
    if (held.wal_open) {
      Add(view, Resource::kWalOpen, LockMode::kShared, view.slot.open_since);
    }
    AddWaiting(view);
  }

  void Add(const ledger::ConnectionView& view, Resource resource, LockMode mode,
           ledger::Ticks since) {
    LockFacts& lock = locks_.emplace_back();
    lock = {.source = Source::kShim,
            .pid = look_.PidOf(view),
            .view = &view,
            .resource = resource,
            .mode = mode,
            .since = since,
            .verified = database_.Verified(view, resource, mode)};
    const bool by_reader = IsReadSlot(resource) && mode == LockMode::kExclusive;
    if (resource != Resource::kWalOpen && !by_reader) {
      lock.sql = SqlOf(view, ledger::SqlSlotOf(resource));
    }
  }

  void AddWaiting(const ledger::ConnectionView& view) {
    const auto wanted = Waiting(look_, view);
    if (!wanted) return;
    for (int i = 0; i < wanted->count; ++i) {
      locks_.push_back({.source = Source::kShim,
                        .pid = look_.PidOf(view),
                        .view = &view,
                        .resource = static_cast<Resource>(static_cast<int>(wanted->resource) + i),
                        .mode = wanted->to,
                        .granted = false,
                        .since = view.slot.want_since,
                        .sql = SqlOf(view, ledger::SqlSlot::kWant)});
    }
  }

  void AddHolder(const KernelHolder& holder) {
    if (const LockMode mode = holder.DatabaseMode(); mode != LockMode::kNone) {
      locks_.push_back({.pid = holder.pid, .resource = Resource::kDatabase, .mode = mode});
    }
    for (int offset = 0; offset <= kShmLockCount; ++offset) {
      const LockMode mode = holder.shm.at(static_cast<std::size_t>(offset));
      if (mode == LockMode::kNone) continue;
      locks_.push_back({.pid = holder.pid, .resource = ShmResource(offset), .mode = mode});
    }
  }

  const Look& look_;
  const Database& database_;
  std::vector<LockFacts> locks_;
};

}  // namespace

const char* Name(Source source) { return source == Source::kShim ? "shim" : "kernel"; }

std::vector<LockFacts> CollectLocks(const Look& look, const Database& database) {
  return Collector(look, database).Run();
}

std::optional<Event> Waiting(const Look& look, const ledger::ConnectionView& view) {
  const ledger::SlotCopy& slot = view.slot;
  const auto wanted = slot.want != 0 ? Event::Unpack(slot.want) : std::nullopt;
  if (!wanted) return std::nullopt;
  if (slot.sleeping == 1) return wanted;
  // A busy handler of the application's own sleeps where nobody sees it: it is told by its
  // repeating itself. Twice its last pause, and a little, is how long the next try may take.
  constexpr std::uint64_t kSlackNs = 20'000'000;
  if (slot.want_refusals < 2) return std::nullopt;
  const std::uint64_t quiet_ns = look.timeline().AgeNs(slot.want_last);
  const std::uint64_t pause_ns = look.timeline().DurationNs(slot.want_gap);
  return quiet_ns <= 2 * pause_ns + kSlackNs ? wanted : std::nullopt;
}

std::optional<std::string> SqlOf(const ledger::ConnectionView& view, ledger::SqlSlot slot) {
  const std::string& text = view.sql.at(static_cast<std::size_t>(slot));
  if (text.empty()) return std::nullopt;
  // Statements may be anything that an application prepares, or another process says.
  return kernel::WellFormed(text);
}

}  // namespace lockscope::insight
