// What a refusal means to the application, and who is asked why.
//
// SQLite asks for many locks that it can do without. To the application a refusal is a BUSY only
// where this table says so:
//
//   request                                     refused it is
//   SHARED, RESERVED                            BUSY, after the busy handler
//   EXCLUSIVE, to commit or to roll back        BUSY, after the busy handler
//   EXCLUSIVE of a WAL connection               BUSY for PRAGMA journal_mode; swallowed while it
//   closes:
//                                               then no statement runs
//   a read slot, shared                         another slot, or again (SQLITE_PROTOCOL in the end)
//   a read slot, exclusive, of a reader         another slot
//   slots 1-4, exclusive, of a writer           no new WAL yet
//   slots, exclusive, under the checkpoint lock PASSIVE goes on without; the others call the busy
//                                               handler and ask again: BUSY where that is seen
//   write lock, with a snapshot                 BUSY, after the busy handler at the begin of a
//   transaction write lock, under the checkpoint lock       BUSY for FULL, RESTART and TRUNCATE
//   write lock, without either                  tries to recover the wal-index: what follows tells
//   checkpoint lock                             BUSY for PRAGMA wal_checkpoint; swallowed where the
//                                               same statement has just written (automatic
//                                               checkpoint)
//   checkpoint and recover lock                 another recovers: what follows tells
//   recover lock, shared                        SQLITE_BUSY_RECOVERY, after the busy handler
#pragma once

#include <cstdint>

#include "ledger/connection.h"
#include "ledger/wait_notes.h"

namespace lockscope::shim {

// `wrote_now`: the write lock was let go in the same statement. `runs`: a statement of the
// connection runs, or it is not known.
ledger::Connection::Sense SenseOf(const Event& refused, const ledger::HeldBits& held,
                                  bool wrote_now, bool runs);

// A refusal that begins a wait, or SQLITE_BUSY_SNAPSHOT.
struct Refusal {
  std::uint64_t connection = 0;
  const char* path = nullptr;
  Event event;
  ledger::HeldBits held;
  bool upgrade = false;  // it began with reading
};

// Finds out who is in the way, bounded in time. False where it did not look. Called by the thread
// that was refused, no mutex held, inside a call of SQLite.
using RefusalExplainer = bool (*)(const Refusal& refusal, ledger::RefusalCause& cause) noexcept;
void SetRefusalExplainer(RefusalExplainer explainer) noexcept;
RefusalExplainer CurrentRefusalExplainer() noexcept;

}  // namespace lockscope::shim
