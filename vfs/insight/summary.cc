#include "insight/summary.h"

#include <array>
#include <cstdio>

#include "insight/snapshots.h"

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
  if (const auto age_ms = look.AgeMs(snapshot->lock.since)) {
    text += " for " + HumanDuration(*age_ms);
  }
}

}  // namespace

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

std::string DescribeHolder(const Look& look, const LockFacts& lock) {
  if (!lock.pid) return "a process outside this pid namespace";
  std::string text = "pid " + std::to_string(*lock.pid);
  if (const auto& name = look.ProcessName(lock.pid)) text += " (" + *name + ")";
  if (lock.view != nullptr) text += ", connection " + std::to_string(lock.view->info.id);
  return text;
}

std::string DescribeDatabase(const Database& database) {
  if (!database.wal_mode) {
    if (!database.header) return database.bytes == 0 ? "empty" : "not readable";
    return "rollback journal, " + std::to_string(database.header->page_size) + "-byte pages, " +
           HumanBytes(database.bytes);
  }
  if (!database.wal_index) {
    std::string text = "WAL";
    if (database.header) text += ", " + std::to_string(database.header->page_size) + "-byte pages";
    return text + ", " + HumanBytes(database.wal_bytes) + " of WAL, no wal-index in use";
  }
  const format::WalIndex& wal = *database.wal_index;
  return "WAL, " + std::to_string(wal.page_size) + "-byte pages, " + WithCommas(wal.max_frame) +
         " frames (" + HumanBytes(wal.LiveBytes(wal.max_frame)) + "), " +
         WithCommas(wal.backfilled) + " checkpointed";
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
  for (const LockFacts& lock : CollectLocks(look, database)) {
    if (!text.empty()) text += "; ";
    text += DescribeHolder(look, lock);
    text += lock.granted ? ": " : ": waits for ";
    text += std::string(Name(lock.resource)) + " " + Name(lock.mode);
    if (const auto age_ms = look.AgeMs(lock.since)) text += " for " + HumanDuration(*age_ms);
    if (lock.verified == false) text += " (LOST: the kernel does not have it)";
  }
  return text.empty() ? "no locks" : text;
}

}  // namespace lockscope::insight
