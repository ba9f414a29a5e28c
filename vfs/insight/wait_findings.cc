#include "insight/wait_findings.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "insight/locks.h"
#include "insight/reasons.h"
#include "insight/summary.h"
#include "insight/waits.h"

namespace lockscope::insight {
namespace {

constexpr std::int64_t kLongMs = 1000;
// The others are counted.
constexpr std::size_t kToldAtMost = 20;
constexpr std::int64_t kLatelyMs = 60'000;

std::string SqlLine(const std::optional<std::string>& sql) {
  return sql ? "\n" + OneLine(*sql) : std::string();
}

Finding Waits(const Look& look, const Database& database, const std::vector<LockFacts>& locks,
              const LockFacts& waiter) {
  RefusedRequest request{.wanted = {.resource = waiter.resource, .to = waiter.mode}};
  if (waiter.view != nullptr) request.asker = KeyOf(*waiter.view);
  const Explanation why = ExplainRefusal(look, database, locks, request);
  const auto age_ms = look.AgeMs(waiter.since);
  Finding finding{.database = database.path,
                  .severity = age_ms.value_or(0) >= kLongMs ? Severity::kWarning : Severity::kOk,
                  .hazard = Name(why.reason),
                  .pid = waiter.pid,
                  .text = DescribeHolder(look, waiter) + " waits for " +
                          LockInWords(waiter.resource, waiter.mode) + DescribeAge(look, waiter) +
                          SqlLine(waiter.sql) + "\n" + Name(why.reason) + ": " + why.who,
                  .advice = why.advice};
  if (waiter.view != nullptr) finding.connection = waiter.view->info.id;
  return finding;
}

}  // namespace

std::vector<Finding> WaitFindings(const Look& look, const Database& database) {
  std::vector<Finding> findings;
  const std::vector<LockFacts> locks = CollectLocks(look, database);
  std::size_t waiting = 0;
  for (const LockFacts& lock : locks) {
    if (lock.granted || ++waiting > kToldAtMost) continue;
    findings.push_back(Waits(look, database, locks, lock));
  }
  if (waiting > kToldAtMost) {
    findings.back().text += "\n(" + WithCommas(waiting - kToldAtMost) + " more wait)";
  }
  std::int64_t lately = 0;
  std::optional<SeenWait> newest;
  for (const SeenWait& wait : CollectWaits(look, database)) {
    const auto age_ms = look.AgeMs(wait.note.began);
    if (wait.outcome != ledger::WaitOutcome::kBusy || !age_ms || *age_ms > kLatelyMs) continue;
    ++lately;
    if (!newest) newest = wait;
  }
  if (newest) {
    const ledger::WaitNote& note = newest->note;
    std::string text = lately == 1
                           ? "one request was"
                           : WithCommas(static_cast<std::uint64_t>(lately)) + " requests were";
    text += " given up in the last minute (SQLITE_BUSY), the last one " +
            HumanDuration(look.AgeMs(note.began).value_or(0)) + " ago, by pid " +
            (newest->teller.pid ? std::to_string(*newest->teller.pid) : std::string("unknown")) +
            ", connection " + std::to_string(newest->connection);
    if (!note.sql.empty()) text += "\n" + OneLine(note.sql);
    text += std::string("\n") + Name(note.cause.reason);
    if (!note.cause.explanation.empty()) text += ": " + OneLine(note.cause.explanation);
    findings.push_back({.database = database.path,
                        .severity = Severity::kOk,
                        .hazard = "busy",
                        .pid = newest->teller.pid,
                        .connection = newest->connection,
                        .text = std::move(text),
                        .advice = {}});
  }
  return findings;
}

}  // namespace lockscope::insight
