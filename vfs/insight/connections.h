// Connections: one fact sheet for each that the shim knows, one for each process that only the
// kernel knows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "insight/locks.h"

namespace lockscope::insight {

// Strongest last: a process that only the kernel knows is in the strongest state its locks show.
enum class State { kIdle, kReading, kWriting, kCheckpointing, kRecovering, kWaiting, kBarrier };
const char* Name(State state);

struct ConnectionFacts {
  std::optional<std::int64_t> pid{};
  const ledger::ConnectionView* view = nullptr;  // null: only the kernel knows
  State state = State::kIdle;
  ledger::Ticks since = 0;  // when that state began; 0: not known
  std::optional<std::string> sql{};
  std::optional<std::string> pid_start{};  // UTC
  std::optional<std::string> journal_mode{};
};

// Whether the holder of `lock`, or its process where only the kernel sees it, has RESERVED too, or
// EXCLUSIVE in its place, kept from a rollback that is over.
bool HoldsReserved(const Database& database, const LockFacts& lock);
// EXCLUSIVE straight from SHARED, beside a journal that could be hot: it is being rolled back.
bool IsRollingBack(const Database& database, const LockFacts& lock);

std::vector<ConnectionFacts> CollectConnections(const Look& look, const Database& database);

}  // namespace lockscope::insight
