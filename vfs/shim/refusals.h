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
//   checkpoint lock                       BUSY for a checkpoint that was asked for; swallowed of an
//                                         automatic one, which comes behind a statement that has just
//                                         written. So does sqlite3_wal_checkpoint_v2() right behind a
//                                         write: it cannot be told from that
//   checkpoint and recover lock           another recovers: what follows tells
//   recover lock, shared                  SQLITE_BUSY_RECOVERY, after the busy handler
//
// What depends on the connection's statements is taken for swallowed where it is not known.
// clang-format on
#pragma once

#include "ledger/connection_slot.h"
#include "model/event.h"
#include "shim/sqlite_api.h"

namespace lockscope::shim {

// Of the connection that was refused.
struct Asking {
  sqlite3* db = nullptr;  // null: not known
  bool is_heard = false;  // its statements are: whether the one that runs has written is known
  bool wrote = false;     // it has let the write lock go
};

// Whether the application waits for what was refused, or gets SQLITE_BUSY. Looks at the statements
// of the connection only where it depends on them.
bool IsBusy(const Event& refused, const ledger::HeldBits& held, const Asking& asking);

// Whether a statement has returned a row and has neither been stepped on nor reset: what runs now,
// one inside another too, has no row.
bool HasUnfinished(sqlite3* db);

}  // namespace lockscope::shim
