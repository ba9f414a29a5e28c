// Why a request was answered SQLITE_BUSY.
#pragma once

#include <cstdint>
#include <optional>

namespace lockscope {

enum class Reason : std::uint8_t {
  kUnknown,             // who was in the way could not be told
  kWriter,              // another holds RESERVED, or the WAL write lock
  kPendingWriter,       // PENDING keeps new readers out
  kReaders,             // what is to be written cannot be while they read
  kExclusive,           // exclusive locking mode, a vacuum, BEGIN EXCLUSIVE
  kHotJournalRecovery,  // a crashed transaction is being rolled back
  kWalRecovery,         // the wal-index is being made anew
  kCheckpoint,          // one is at work, or waits with the write lock in its hand
  kSnapshotStale,       // SQLITE_BUSY_SNAPSHOT
  kUpgradeDeadlock,     // each of two wants to write and waits for the other to stop reading
  kBarrier,             // a backup barrier is held
};
inline constexpr int kReasonCount = 11;

// "unknown", "writer", "pending-writer", …
const char* Name(Reason reason);
// Null for a number that is none.
constexpr std::optional<Reason> ReasonOf(std::uint64_t number) {
  if (number >= static_cast<std::uint64_t>(kReasonCount)) return std::nullopt;
  return static_cast<Reason>(number);
}

}  // namespace lockscope
