// Recoveries: hot journals, and who rolls them back; WALs that are being recovered; and those that
// are over.
//
// Connections that go through the shim tell of their own. Of others the kernel's locks tell while
// it lasts: EXCLUSIVE without RESERVED beside a journal that could be hot, or the WAL's recover
// lock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "insight/locks.h"
#include "insight/look.h"
#include "ledger/recovery_notes.h"

namespace lockscope::insight {

struct SeenRecovery {
  enum class State { kHot, kRunning, kDone, kFailed };

  ledger::RecoveryKind kind = ledger::RecoveryKind::kRollbackJournal;
  State state = State::kHot;
  std::optional<std::int64_t> pid{};
  std::optional<std::string> process{};
  std::optional<std::uint64_t> connection{};
  Source source = Source::kKernel;
  ledger::Ticks started = 0;
  ledger::Ticks ended = 0;
  std::optional<std::string> sql{};
  std::optional<std::uint64_t> journal_bytes{};
  std::optional<std::uint64_t> pages_total{};
  std::optional<std::uint64_t> pages_done{};
  std::optional<std::uint64_t> refused{};      // requests of others, as far as they tell
  std::optional<std::string> super_journal{};  // "missing" where the one it names is gone
};
const char* Name(SeenRecovery::State state);  // "hot", "running", "done", "failed"

// Newest first: what waits, what runs, what is over.
enum class Refused { kCounted, kNotCounted };
std::vector<SeenRecovery> CollectRecoveries(const Look& look, const Database& database,
                                            Refused refused = Refused::kNotCounted);

// Whether a hot journal waits for somebody who rolls it back, by SQLite's own rules: it is not
// empty, its first byte is not zero, nobody holds RESERVED or more, and the database is not empty.
// (Beside a WAL that is in use it is stale: see journal_hazards.) The look has read the journal
// before the locks: where it has changed since, this is false.
bool HasHotJournal(const Look& look, const Database& database);

enum class RecoveryState { kNone, kHot, kRecovering, kWalRecovering };
const char* Name(RecoveryState state);  // "none", "hot", "recovering", "wal-recovering"
RecoveryState RecoveryStateOf(const Look& look, const Database& database);

// "pages 120 of 5,000", or empty where it is not known how far it is.
std::string DescribeProgress(const SeenRecovery& recovery);

}  // namespace lockscope::insight
