// clang-format off
// WaitNotes: the last waits of one connection that SQLITE_BUSY began, as its record tells of them.
//
// One note a wait, from the first refusal over all of SQLite's retries. Written by the connection
// inside an Update of its sequence.
//
//   words   field               what it holds
//   1       written             how many were begun; number N (from 0) is notes[N % kWaitNotes]
//   of each:
//   1       wanted              the refused request, packed as an Event
//   3       began, last, ended  ticks of the first refusal, of the last one, of the end; 0: not yet
//   1       asked               ticks before the call that was refused last; of a read slot, after
//                               the connection's call before it; of a request that lockscope
//                               refused, or that was granted too late, as `last`
//   1       refusals
//   1       outcome             WaitOutcome
//   1       reason              Reason, as of the refusal that was looked into, mostly the first
//   1       upgrade             Upgrade
//   1       blocker_pid         pid + 1; 0: not known, or several
//   1       blocker_connection  its number in its process; 0: not known
//   1 + 32  sql                 of who waits, cut at 256 bytes; empty: not known
//   1 + 32  blocker_sql         likewise
//   1 + 64  explanation         a sentence, cut at 512 bytes; empty: nobody has looked,
//                               or not to the end
// clang-format on
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ledger/clock.h"
#include "ledger/published.h"
#include "model/event.h"
#include "model/reason.h"

namespace lockscope::ledger {

enum class WaitOutcome : std::uint8_t {
  kNone,      // it goes on, or the connection has done nothing since
  kBusy,      // it was given up: SQLITE_BUSY went to the application
  kAcquired,  // the request was granted in the end
};

// Whether the connection was reading when it asked for a lock to write. SQLite calls no busy
// handler then: its own read transaction may be what the other one waits for.
enum class Upgrade : std::uint8_t {
  kNone,             // it was not, as far as is known
  kInTransaction,    // in a transaction that began with reading
  kBesideStatement,  // in autocommit: a statement of its own has not been read to its end
  // In autocommit: this very statement reads (PRAGMA journal_mode=WAL) or the one that it runs in;
  // seldom an open blob, or a statement that was refused and has not been reset.
  kInStatement,
  kPerhapsInCache,  // another connection of its shared cache may have been reading
};

inline constexpr std::size_t kWaitNotes = 8;

template <class W>
struct WaitNoteLayout {
  W wanted;
  W began;
  W last;
  W ended;
  W asked;
  W refusals;
  W outcome;
  W reason;
  W upgrade;
  W blocker_pid;
  W blocker_connection;
  TextLayout<W, 32> sql;
  TextLayout<W, 32> blocker_sql;
  TextLayout<W, 64> explanation;
};

template <class W>
struct WaitNotesLayout {
  W written;
  std::array<WaitNoteLayout<W>, kWaitNotes> notes;
};

// Of SQLITE_BUSY_SNAPSHOT there is nothing to find out.
const char* StaleSnapshotText(Upgrade upgrade);

// Why, and who: what whoever looks into a refusal finds out.
struct RefusalCause {
  Reason reason = Reason::kUnknown;
  std::optional<std::int64_t> blocker_pid{};  // null: not known, or several
  std::uint64_t blocker_connection = 0;       // 0: not known
  std::string blocker_sql{};                  // empty: not known
  std::string explanation{};
};

struct WaitNote {
  Event wanted{};
  Ticks began = 0;
  Ticks last = 0;
  Ticks ended = 0;
  Ticks asked = 0;
  std::uint64_t refusals = 0;
  WaitOutcome outcome = WaitOutcome::kNone;
  Upgrade upgrade = Upgrade::kNone;
  std::string sql{};
  RefusalCause cause{};
};

WaitNote WaitOf(const WaitNoteLayout<std::uint64_t>& copy);
// Oldest first. What no connection writes, which only a hostile source has, is left out.
std::vector<WaitNote> WaitsOf(const WaitNotesLayout<std::uint64_t>& copy);

}  // namespace lockscope::ledger
