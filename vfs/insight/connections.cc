#include "insight/connections.h"

#include <time.h>

#include <algorithm>
#include <array>

#include "kernel/process.h"

namespace lockscope::insight {
namespace {

// The state that one lock alone shows.
State StateOf(const Database& database, const LockFacts& lock) {
  const Resource resource = lock.resource;
  const LockMode mode = lock.mode;
  if (!lock.granted) return State::kWaiting;
  if (resource == Resource::kDatabase) {
    if (IsRollingBack(database, lock)) return State::kRecovering;
    if (mode >= LockMode::kReserved) return State::kWriting;
    return database.wal_mode ? State::kIdle : State::kReading;
  }
  if (resource == Resource::kWalOpen) return State::kIdle;
  if (IsReadSlot(resource)) {
    return mode == LockMode::kShared ? State::kReading : State::kIdle;
  }
  if (mode != LockMode::kExclusive) return State::kIdle;
  if (resource == Resource::kWalRecover) return State::kRecovering;
  return resource == Resource::kWalCheckpoint ? State::kCheckpointing : State::kWriting;
}

// A lock of the connection or process `facts`: its state becomes the strongest of all.
void Add(const Database& database, const LockFacts& lock, ConnectionFacts& facts) {
  const State state = StateOf(database, lock);
  if (state == State::kIdle || state < facts.state) return;
  if (state == facts.state && facts.since <= lock.since) return;
  facts.state = state;
  facts.since = lock.since;
  facts.sql = lock.sql;
}

std::optional<std::string> StartOf(const Look& look, std::optional<std::int64_t> pid) {
  if (!pid) return std::nullopt;
  const auto start_ns = kernel::ProcessStartBoottimeNs(*pid);
  if (!start_ns) return std::nullopt;
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  const std::int64_t now_ns = static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 +
                              static_cast<std::int64_t>(now.tv_nsec);
  return ledger::FormatUtc(look.now().realtime_ns -
                           (now_ns - static_cast<std::int64_t>(*start_ns)));
}

std::optional<std::string> JournalModeOf(const Database& database,
                                         const ledger::ConnectionView* view) {
  if (view == nullptr) {
    return database.wal_mode ? std::optional<std::string>("wal") : std::nullopt;
  }
  if (view->held.wal_open || database.wal_mode) return "wal";
  const bool asked_in_vain = view->journal_mode == ledger::JournalMode::kWal;
  return Name(asked_in_vain ? ledger::JournalMode::kDelete : view->journal_mode);
}

}  // namespace

const char* Name(State state) {
  static constexpr std::array<const char*, 7> kNames = {
      "idle", "reading", "writing", "checkpointing", "recovering", "waiting", "barrier"};
  return kNames.at(static_cast<std::size_t>(state));
}

bool HoldsReserved(const Database& database, const LockFacts& lock) {
  if (lock.view != nullptr) {
    const ledger::HeldBits& held = lock.view->held;
    return held.Holds(LockMode::kReserved) || held.rolled_back;
  }
  return std::any_of(database.holders.begin(), database.holders.end(), [&lock](const auto& holder) {
    return holder.pid == lock.pid && holder.reserved;
  });
}

bool IsRollingBack(const Database& database, const LockFacts& lock) {
  return lock.resource == Resource::kDatabase && lock.mode == LockMode::kExclusive &&
         !database.wal_mode && database.journal.content_may_be_hot &&
         !HoldsReserved(database, lock);
}

std::vector<ConnectionFacts> CollectConnections(const Look& look, const Database& database) {
  std::vector<ConnectionFacts> all;
  for (const ledger::ConnectionView* view : database.Connections()) {
    // Idle since the last lock call, or since it was opened.
    all.push_back({.pid = look.PidOf(*view),
                   .view = view,
                   .since = view->slot.last_call != 0 ? view->slot.last_call : view->info.opened});
  }
  for (const LockFacts& lock : CollectLocks(look, database)) {
    auto found = std::find_if(all.begin(), all.end(), [&lock](const ConnectionFacts& facts) {
      return lock.view != nullptr ? facts.view == lock.view
                                  : facts.view == nullptr && facts.pid == lock.pid;
    });
    if (found == all.end()) found = all.insert(all.end(), {.pid = lock.pid});
    Add(database, lock, *found);
  }
  for (ConnectionFacts& facts : all) {
    if (facts.view != nullptr && facts.view->info.barrier) facts.state = State::kBarrier;
    facts.pid_start = StartOf(look, facts.pid);
    facts.journal_mode = JournalModeOf(database, facts.view);
  }
  return all;
}

}  // namespace lockscope::insight
