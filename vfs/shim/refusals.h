// clang-format off
// What a refusal means to the application.
//
// SQLite asks for many locks that it can do without. To the application a refusal is a BUSY only
// where this table says so:
//
//   request                               refused it is
//   SHARED, RESERVED                      BUSY, after the busy handler
//   EXCLUSIVE, to commit or roll back     BUSY, after the busy handler
//   EXCLUSIVE of a WAL connection         BUSY for PRAGMA journal_mode; swallowed while the database
//                                         is closed or detached
//   a read slot, shared                   another slot, or again (SQLITE_PROTOCOL in the end)
//   a read slot, exclusive, of a reader   another slot
//   slots 1-4, exclusive, of a writer     no new WAL yet
//   slots, exclusive, with the            BUSY for FULL, RESTART and TRUNCATE, which hold the write
//   checkpoint lock                       lock too; PASSIVE goes on without
//   write lock, with a snapshot           BUSY, after the busy handler where a transaction begins
//   write lock, with the checkpoint lock  BUSY for FULL, RESTART and TRUNCATE
//   write lock, without either            tries to recover the wal-index: what follows tells
//   checkpoint lock                       BUSY for PRAGMA wal_checkpoint; swallowed where the same
//                                         statement has just written, or none runs (automatic
//                                         checkpoint)
//   checkpoint and recover lock           another recovers: what follows tells
//   recover lock, shared                  SQLITE_BUSY_RECOVERY, after the busy handler
// clang-format on
#pragma once

#include "ledger/connection_slot.h"
#include "model/event.h"
#include "shim/sqlite_api.h"

namespace lockscope::shim {

// Of the statements of the connection that was refused.
struct RunningStatements {
  bool one_runs = false;
  // None has been prepared, as where the connection closes, or DETACH runs.
  bool closes = false;
  bool wrote = false;     // the one that runs has let the write lock go
  bool are_heard = true;  // it is known which of them has written
};
// But for the last two. Looks at a thousand statements at most.
RunningStatements LookAtStatements(sqlite3* db);

// Whether the application waits for what was refused, or gets SQLITE_BUSY.
bool IsBusy(const Event& refused, const ledger::HeldBits& held,
            const RunningStatements& statements);

}  // namespace lockscope::shim
