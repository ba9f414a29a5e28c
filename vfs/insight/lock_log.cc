#include "insight/lock_log.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "insight/blockers.h"
#include "insight/locks.h"
#include "insight/look.h"
#include "insight/summary.h"
#include "insight/waits.h"
#include "ledger/hold_watch.h"
#include "ledger/ledger.h"
#include "logging/log.h"
#include "settings/settings.h"

namespace lockscope::insight {
namespace {

using ledger::LongHold;
using logging::Level;

constexpr std::size_t kNamedAtMost = 5;

bool IsSnapshot(const LongHold& hold) {
  return hold.mode == LockMode::kShared &&
         (IsReadSlot(hold.resource) || hold.resource == Resource::kDatabase);
}

std::string Sql(const std::optional<std::string>& sql) {
  return sql ? ": " + OneLine(*sql) : std::string();
}

bool IsAgainst(const LongHold& hold, const Event& wanted) {
  for (int i = 0; i < wanted.count; ++i) {
    const auto resource = static_cast<Resource>(static_cast<int>(wanted.resource) + i);
    if (Refuses({hold.resource, hold.mode}, {resource, wanted.to})) return true;
  }
  return false;
}

bool IsDuring(const LongHold& hold, const SeenWait& wait) {
  const ledger::WaitNote& note = wait.note;
  const ledger::Ticks end = note.ended != 0 ? note.ended : note.last;
  return note.began < hold.until && (!wait.outcome || end > hold.since);
}

std::string Pid(const std::optional<std::int64_t>& pid) {
  return pid ? "pid " + std::to_string(*pid) : std::string("a process outside this pid namespace");
}

// Who waited for what was held, with their SQL: noted, since some have it by now, or have given up;
// and barriers, which note nothing.
std::vector<std::string> Waiters(const Look& look, const Database& database, const LongHold& hold) {
  std::vector<std::string> names;
  std::set<std::pair<std::optional<std::int64_t>, std::uint64_t>> named{
      {look.pid(), hold.connection}};
  for (const SeenWait& wait : CollectWaits(look, database)) {
    if (!IsAgainst(hold, wait.note.wanted) || !IsDuring(hold, wait)) continue;
    if (!named.insert({wait.teller.pid, wait.connection}).second) continue;
    std::string name = Pid(wait.teller.pid);
    if (wait.teller.process) name += " (" + *wait.teller.process + ")";
    name += ", connection " + std::to_string(wait.connection) + " for " +
            HumanDuration(WaitedMs(look, wait));
    if (!wait.note.sql.empty()) name += ": " + OneLine(wait.note.sql);
    names.push_back(std::move(name));
  }
  for (const LockFacts& lock : CollectLocks(look, database)) {
    if (lock.granted || lock.view == nullptr || !lock.view->info.barrier) continue;
    if (!Refuses({hold.resource, hold.mode}, {lock.resource, lock.mode})) continue;
    names.push_back(DescribeHolder(look, lock) + DescribeAge(look, lock) + Sql(lock.sql));
  }
  return names;
}

// Empty for nobody.
std::string Waiters(const std::string& path, const LongHold& hold) {
  const Look look = Look::At({path}, Pains::kFew);
  std::vector<std::string> names;
  for (const Database& database : look.databases()) {
    for (std::string& name : Waiters(look, database, hold)) names.push_back(std::move(name));
  }
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kNamedAtMost); ++i) {
    text += (i == 0 ? "" : "; ") + names[i];
  }
  if (names.size() > kNamedAtMost) {
    text += " and " + std::to_string(names.size() - kNamedAtMost) + " more";
  }
  return text;
}

void LogHold(const LongHold& hold) {
  const auto view = ledger::Ledger::Process().View(hold.connection);
  // A barrier is told of as what it is.
  if (!view || view->info.barrier) return;
  const ledger::Timeline timeline(ledger::ProcessAnchor(), ledger::ClockAnchor::Take());
  const auto held_ms =
      static_cast<std::int64_t>(timeline.DurationNs(hold.until - hold.since) / 1'000'000);
  const std::string who =
      "connection " + std::to_string(hold.connection) + " to " + view->info.path + " held ";
  const std::string sql = Sql(SqlOf(*view, ledger::SqlSlotOf(hold.resource)));
  if (IsSnapshot(hold) && held_ms >= settings::SnapshotWarnMs()) {
    logging::Write(Level::kWarn, who + "a read snapshot for " + HumanDuration(held_ms) + sql);
  }
  if (held_ms < settings::WaitLogMs()) return;
  const std::string waiters = Waiters(view->info.path, hold);
  if (waiters.empty()) return;
  logging::Write(Level::kWarn, who + Name(hold.resource) + " " + Name(hold.mode) + " for " +
                                   HumanDuration(held_ms) + sql + " -- against " + waiters);
}

void LogWait(std::uint64_t connection) {
  const ledger::Timeline timeline(ledger::ProcessAnchor(), ledger::ClockAnchor::Take());
  for (const ledger::ConnectionNotes& notes : ledger::Ledger::Process().Notes({})) {
    if (!notes.open || notes.info.id != connection || notes.waits.empty()) continue;
    const ledger::WaitNote& note = notes.waits.back();
    const ledger::Ticks waited = note.ended > note.began ? note.ended - note.began : 0;
    const auto waited_ms = static_cast<std::int64_t>(timeline.DurationNs(waited) / 1'000'000);
    if (waited_ms < settings::WaitLogMs()) return;
    const bool acquired = note.outcome == ledger::WaitOutcome::kAcquired;
    std::string text = "connection " + std::to_string(connection) + " to " + notes.info.path +
                       (acquired ? " waited " : " gave up after ") + HumanDuration(waited_ms) +
                       " for " + note.wanted.ResourceName() + " " + Name(note.wanted.to) + ", " +
                       WithCommas(note.refusals) + " refusals";
    if (!note.sql.empty()) text += ": " + OneLine(note.sql);
    text += std::string(" -- ") + Name(note.cause.reason);
    if (!note.cause.explanation.empty()) text += ": " + OneLine(note.cause.explanation);
    logging::Write(Level::kWarn, text);
    return;
  }
}

void OnLongWait(std::uint64_t connection) noexcept try {
  LogWait(connection);
} catch (const std::exception&) {
  // A line less.
}

void OnLongHold(const LongHold& hold) noexcept try {
  LogHold(hold);
} catch (const std::exception&) {
  // A line less.
}

// The rate of the ticks is known better when the process is older: a little less is watched for,
// and measured exactly then.
ledger::Ticks AtLeast(std::uint64_t ms) {
  const ledger::Timeline timeline(ledger::ProcessAnchor(), ledger::ClockAnchor::Take());
  constexpr ledger::Ticks kSample = ledger::Ticks{1} << 32;
  const std::uint64_t sample_ns = std::max<std::uint64_t>(timeline.DurationNs(kSample), 1);
  __extension__ using Wide = unsigned __int128;
  return static_cast<ledger::Ticks>(static_cast<Wide>(ms) * 900'000 * kSample / sample_ns);
}

}  // namespace

void FollowLogSettings() noexcept {
  if (!logging::Enabled(Level::kWarn)) {
    ledger::WatchHolds(ledger::kNobodyWatches, OnLongHold);
    ledger::WatchWaits(ledger::kNobodyWatches, OnLongWait);
    return;
  }
  const std::uint64_t wait_ms = settings::WaitLogMs();
  ledger::WatchHolds(AtLeast(std::min<std::uint64_t>(wait_ms, settings::SnapshotWarnMs())),
                     OnLongHold);
  ledger::WatchWaits(AtLeast(wait_ms), OnLongWait);
}

}  // namespace lockscope::insight
