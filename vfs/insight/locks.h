// Every lock held or asked for on one database, from whoever knows most of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "insight/look.h"

namespace lockscope::insight {

enum class Source { kShim, kKernel };
const char* Name(Source source);

struct LockFacts {
  Source source = Source::kKernel;
  std::optional<std::int64_t> pid{};
  const ledger::ConnectionView* view = nullptr;  // of the connection, where the shim saw it
  Resource resource = Resource::kDatabase;
  LockMode mode = LockMode::kNone;
  bool granted = true;
  ledger::Ticks since = 0;
  std::optional<std::string> sql{};
  std::optional<bool> verified{};
};

std::vector<LockFacts> CollectLocks(const Look& look, const Database& database);

// The request that a connection waits for, if it waits: it is asleep in SQLite's busy handler, or
// it has been asking again and again and asked a moment ago.
std::optional<Event> Waiting(const Look& look, const ledger::ConnectionView& view);

// The text of the statement that took a lock, as the slot has it.
std::optional<std::string> SqlOf(const ledger::ConnectionView& view, ledger::SqlSlot slot);

}  // namespace lockscope::insight
