// clang-format off
// What a refusal means to the application.
//
// SQLite asks for many locks that it can do without. To the application a refusal is a BUSY only
// where this table says so:
//
//   request                               refused it is
//   SHARED, RESERVED                      BUSY, after the busy handler
//   EXCLUSIVE, to commit or roll back     BUSY, after the busy handler
//   EXCLUSIVE of a WAL connection         BUSY for PRAGMA journal_mode; swallowed while it closes,
//                                         when no statement runs
//   a read slot, shared                   another slot, or again (SQLITE_PROTOCOL in the end)
//   a read slot, exclusive, of a reader   another slot
//   slots 1-4, exclusive, of a writer     no new WAL yet
//   slots, exclusive, with the            BUSY for FULL, RESTART and TRUNCATE, which hold the write
//   checkpoint lock                       lock too; PASSIVE goes on without
//   write lock, with a snapshot           BUSY, after the busy handler where a transaction begins
//   write lock, with the checkpoint lock  BUSY for FULL, RESTART and TRUNCATE
//   write lock, without either            tries to recover the wal-index: what follows tells
//   checkpoint lock                       BUSY for PRAGMA wal_checkpoint; swallowed where the same
//                                         statement has just written (automatic checkpoint)
//   checkpoint and recover lock           another recovers: what follows tells
//   recover lock, shared                  SQLITE_BUSY_RECOVERY, after the busy handler
// clang-format on
#pragma once

#include <cstdint>

#include "ledger/connection.h"

namespace lockscope::shim {

// `wrote_now`: the write lock was let go in the same statement. `runs`: a statement of the
// connection runs, or it is not known.
ledger::Connection::Sense SenseOf(const Event& refused, const ledger::HeldBits& held,
                                  bool wrote_now, bool runs);

}  // namespace lockscope::shim
