#include "insight/summary.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "kernel/process.h"

namespace lockscope::insight {
namespace {

std::string OneDecimal(double value, const char* unit) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, unit);
  return text.data();
}

void AppendPin(const Look& look, const Snapshot* snapshot, const char* what, std::string& text) {
  if (snapshot == nullptr) return;
  text += std::string("; ") + what + " pinned by " + DescribeHolder(look, snapshot->lock);
  if (snapshot->slot) text += " on read slot " + std::to_string(*snapshot->slot);
  text += DescribeAge(look, snapshot->lock);
}

std::optional<std::int64_t> ProcessAgeMs(std::int64_t pid) {
  const auto start_ns = kernel::ProcessStartBoottimeNs(pid);
  timespec now{};
  if (!start_ns || clock_gettime(CLOCK_BOOTTIME, &now) != 0) return std::nullopt;
  const std::int64_t now_ms =
      static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
  const std::int64_t age_ms = now_ms - static_cast<std::int64_t>(*start_ns / 1'000'000);
  return age_ms >= 0 ? std::optional(age_ms) : std::nullopt;
}

bool Used(const Database& database) {
  return !database.holders.empty() || !database.Connections().empty();
}

}  // namespace

std::string OneLine(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  std::string line;
  while (true) {
    text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
    if (text.empty()) return line;
    const std::string_view word = text.substr(0, text.find_first_of(kSpace));
    if (!line.empty()) line += ' ';
    line += word;
    text.remove_prefix(word.size());
  }
}

std::string WithCommas(std::uint64_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string HumanBytes(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"kB", "MB", "GB", "TB", "PB"};
  if (bytes < 1000) return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return OneDecimal(value, kUnits.at(unit));
}

std::string HumanDuration(std::int64_t ms) {
  if (ms < 1000) return std::to_string(ms) + " ms";
  const std::int64_t seconds = ms / 1000;
  if (seconds < 60) return OneDecimal(static_cast<double>(ms) / 1000, "s");
  if (seconds < 3600) {
    return std::to_string(seconds / 60) + " min " + std::to_string(seconds % 60) + " s";
  }
  return std::to_string(seconds / 3600) + " h " + std::to_string(seconds / 60 % 60) + " min";
}

std::string HumanMicros(std::int64_t us) {
  if (us < 1000) return std::to_string(us) + " us";
  if (us < 999'950) return OneDecimal(static_cast<double>(us) / 1000, "ms");
  return HumanDuration((us + 500) / 1000);
}

std::string DescribeHolder(const Look& look, const LockFacts& lock) {
  std::string text = "a process outside this pid namespace";
  if (lock.pid) text = "pid " + std::to_string(*lock.pid);
  if (lock.pid || lock.view != nullptr) {
    if (const auto name = look.ProcessName(lock.pid, lock.view)) text += " (" + *name + ")";
  }
  if (lock.view != nullptr) text += ", connection " + std::to_string(lock.view->info.id);
  return text;
}

std::string DescribeAge(const Look& look, const LockFacts& lock) {
  if (const auto age_ms = look.AgeMs(lock.since)) return " for " + HumanDuration(*age_ms);
  const auto most_ms = lock.pid ? ProcessAgeMs(*lock.pid) : std::nullopt;
  if (!most_ms) return {};
  return " for at most " + HumanDuration(*most_ms) + " (its process is no older)";
}

std::string DescribeSnapshot(const Look& look, const Snapshot& snapshot) {
  std::string text = "a read snapshot";
  if (snapshot.slot) text += " on read slot " + std::to_string(*snapshot.slot);
  if (snapshot.frame) text += " at frame " + WithCommas(*snapshot.frame);
  if (snapshot.behind_frames.value_or(0) > 0) {
    text += ", " + WithCommas(*snapshot.behind_frames) +
            (*snapshot.behind_frames == 1 ? " frame behind" : " frames behind");
  }
  if (const std::string age = DescribeAge(look, snapshot.lock); !age.empty()) text += "," + age;
  if (const auto* view = snapshot.lock.view) {
    if (view->held.autocommit == ledger::Autocommit::kOff) text += ", explicit transaction";
    if (view->held.autocommit == ledger::Autocommit::kOn) text += ", unfinished statement";
  }
  return text;
}

std::string DescribeDatabase(const Database& database) {
  if (!database.wal_mode) {
    if (!database.header) {
      const bool first = database.bytes > 0 && database.journal.exists;
      return first ? "in its first transaction" : database.bytes == 0 ? "empty" : "not readable";
    }
    return "rollback journal, " + std::to_string(database.header->page_size) + "-byte pages, " +
           HumanBytes(database.bytes);
  }
  std::string text = "WAL";
  if (database.PageBytes() != 0)
    text += ", " + std::to_string(database.PageBytes()) + "-byte pages";
  if (!database.wal_index) {
    text += ", " + HumanBytes(database.wal_bytes) + " of WAL, ";
    return text + (Used(database) ? "no wal-index that could be read" : "nobody has it open");
  }
  const format::WalIndex& wal = *database.wal_index;
  return text + ", " + WithCommas(wal.max_frame) + " frames (" +
         HumanBytes(wal.LiveBytes(wal.max_frame)) + "), " + WithCommas(wal.backfilled) +
         " checkpointed";
}

std::string DescribeWal(const Look& look, const Database& database) {
  std::string text = DescribeDatabase(database);
  if (!database.wal_index) return text;
  const auto snapshots = CollectSnapshots(look, database, CollectLocks(look, database));
  AppendPin(look, StrongestPin(snapshots, Pin::kBackfill), "checkpoints", text);
  AppendPin(look, StrongestPin(snapshots, Pin::kRestart), "the start of the WAL", text);
  return text;
}

std::string DescribeLocks(const Look& look, const Database& database) {
  std::string text;
  std::string last;
  for (const LockFacts& lock : CollectLocks(look, database)) {
    const std::string holder = DescribeHolder(look, lock);
    if (holder != last) text += (last.empty() ? "" : "; ") + holder + ": ";
    if (holder == last) text += ", ";
    last = holder;
    if (!lock.granted) text += "waits for ";
    text += std::string(Name(lock.resource)) + " " + Name(lock.mode);
    if (const auto age_ms = look.AgeMs(lock.since)) text += " for " + HumanDuration(*age_ms);
    if (lock.verified == false) text += " (LOST: the kernel does not have it)";
  }
  return text.empty() ? "no locks" : text;
}

}  // namespace lockscope::insight
