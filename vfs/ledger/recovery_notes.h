// clang-format off
// RecoveryNotes: the last recoveries that one connection ran, as its record tells of them.
//
// Written by the connection inside an Update of its sequence; `pages_done` of the newest alone
// outside of one, at every page.
//
//   words   field                    what it holds
//   1       written                  how many were begun; number N (from 0) is
//                                    notes[N % kRecoveryNotes]
//   of each:
//   1       kind                     RecoveryKind
//   1       phase                    RecoveryPhase
//   2       started, ended           ticks; 0: not yet
//   2       pages_total, pages_done  kPagesUnknown: not known
//   1       journal_bytes            of the journal or WAL, when it began
//   1 + 32  super_journal            that the journal names, cut at 256 bytes; empty: none
//   1 + 32  sql                      of the statement that met it, likewise; empty: not known
// clang-format on
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ledger/clock.h"
#include "ledger/published.h"

namespace lockscope::ledger {

enum class RecoveryKind : std::uint8_t { kRollbackJournal, kWal };
enum class RecoveryPhase : std::uint8_t { kRunning, kDone, kFailed };
const char* Name(RecoveryKind kind);    // "rollback-journal", "wal"
const char* Name(RecoveryPhase phase);  // "running", "done", "failed"

inline constexpr std::size_t kRecoveryNotes = 4;
inline constexpr std::uint64_t kPagesUnknown = ~std::uint64_t{0};

template <class W>
struct RecoveryNoteLayout {
  W kind;
  W phase;
  W started;
  W ended;
  W pages_total;
  W pages_done;
  W journal_bytes;
  TextLayout<W, 32> super_journal;
  TextLayout<W, 32> sql;
};

template <class W>
struct RecoveryNotesLayout {
  W written;
  std::array<RecoveryNoteLayout<W>, kRecoveryNotes> notes;
};

struct RecoveryNote {
  RecoveryKind kind = RecoveryKind::kRollbackJournal;
  RecoveryPhase phase = RecoveryPhase::kRunning;
  Ticks started = 0;
  Ticks ended = 0;
  std::optional<std::uint64_t> pages_total{};
  std::optional<std::uint64_t> pages_done{};
  std::uint64_t journal_bytes = 0;
  std::string super_journal{};
  std::string sql{};
};

// Oldest first. What no connection writes, which only a hostile source has, is left out.
std::vector<RecoveryNote> RecoveriesOf(const RecoveryNotesLayout<std::uint64_t>& copy);

}  // namespace lockscope::ledger
