// Identity: who a record is about, and what barrier it serves. Changes a few times in the life of a
// connection, unlike its slot.
//
// Written by the process that owns the record, inside an Update of its sequence: under the ledger's
// mutex, and under the registry's before it is given to a connection; `journal_mode` and
// `locking_mode` alone by the connection's own thread, outside of one.
//
//   words  field               what it holds
//   1      state               RecordState
//   1      number              of the connection, from 1, unique within its process
//   1      opened              ticks when the database was opened
//   1      thread              that opened it, as the operating system numbers it
//   1      flags               see IdentityFlags
//   1      journal_mode        JournalMode
//   1      locking_mode        LockingMode
//   2      database_device, database_inode   the database file; inode 0: not known
//   2      shm_device, shm_inode             its -shm, likewise
//   1 + 8  vfs                 "lockscope/unix", cut at 64 bytes
#pragma once

#include <cstdint>

#include "ledger/published.h"

namespace lockscope::ledger {

enum class RecordState : std::uint8_t {
  kFree = 0,    // of nobody
  kOpen = 1,    // of an open connection
  kClosed = 2,  // of one that is closed: its events are readable until the record is used again
};

struct IdentityFlags {
  bool posix_locks = false;
  bool posix_shm_locks = false;
  bool barrier = false;
  bool immutable = false;
  bool unguarded = false;

  constexpr std::uint64_t Pack() const {
    return static_cast<std::uint64_t>(posix_locks) |
           static_cast<std::uint64_t>(posix_shm_locks) << 1 |
           static_cast<std::uint64_t>(barrier) << 2 | static_cast<std::uint64_t>(immutable) << 3 |
           static_cast<std::uint64_t>(unguarded) << 4;
  }
  static constexpr IdentityFlags Unpack(std::uint64_t word) {
    return {.posix_locks = (word & 1) != 0,
            .posix_shm_locks = (word & 2) != 0,
            .barrier = (word & 4) != 0,
            .immutable = (word & 8) != 0,
            .unguarded = (word & 16) != 0};
  }
};

template <class W>
struct IdentityLayout {
  W state;
  W number;
  W opened;
  W thread;
  W flags;
  W journal_mode;
  W locking_mode;
  W database_device;
  W database_inode;
  W shm_device;
  W shm_inode;
  TextLayout<W, 8> vfs;
};

// The barrier that a connection of kind `barrier` serves.
//
//   words    field        what it holds
//   1        present      1: there is one
//   1        state        BarrierState
//   1        since        ticks
//   1        expires      nanoseconds of CLOCK_MONOTONIC; 0: never
//   1 + 8    token
//   1 + 2    kind
//   1 + 16   label        cut at 128 bytes; empty: none
//   1 + 256  databases    the paths, a zero between two; empty where they are too long for it
template <class W>
struct BarrierNoteLayout {
  W present;
  W state;
  W since;
  W expires;
  TextLayout<W, 8> token;
  TextLayout<W, 2> kind;
  TextLayout<W, 16> label;
  TextLayout<W, 256> databases;
};

}  // namespace lockscope::ledger
