// WalResetGuard: closes SQLite's WAL-reset race for the checkpoints of one connection.
//
// The bug: a checkpointer reads the wal-index header; a writer restarts the WAL; the checkpointer
// then looks at nBackfill, which is 0 again, and marks frames of the new WAL as checkpointed that
// it took from the old one. Committed transactions are lost.
//
// The guard: while a connection holds the checkpoint lock, the salts of the header's second copy
// are noted at every xShmBarrier, which is where SQLite reads the header (a writer updates the
// second copy first). When slot 0 is then granted exclusively, under which nobody can restart the
// WAL, the live salts are compared. Different: the checkpoint would use a header that is no longer
// in force. The caller unlocks slot 0 below and answers SQLITE_BUSY, which a checkpoint takes as
// "nothing more to do now".
//
// Noting them when the checkpoint lock is granted would be wrong: FULL, RESTART and TRUNCATE wait
// for the write lock after that and read the header later; they would be refused for their whole
// timeout.
#pragma once

#include <cstdint>

#include "format/wal_index.h"

namespace lockscope::shim {

// Eight bytes that other processes may be writing. Races are harmless: a torn value is one that
// differs.
__attribute__((no_sanitize("thread"))) inline std::uint64_t ReadShared64(
    const volatile std::uint8_t* page, std::size_t offset) {
  return *reinterpret_cast<const volatile std::uint64_t*>(page + offset);
}
__attribute__((no_sanitize("thread"))) inline std::uint32_t ReadShared32(
    const volatile std::uint8_t* page, std::size_t offset) {
  return *reinterpret_cast<const volatile std::uint32_t*>(page + offset);
}

class WalResetGuard {
 public:
  void CheckpointLockGranted() {
    armed_ = true;
    noted_ = false;
  }
  void CheckpointLockReleased() { armed_ = false; }
  bool armed() const { return armed_; }

  // After xShmBarrier. REQUIRES: armed().
  void Note(const volatile std::uint8_t* wal_index) {
    salts_ = LiveSalts(wal_index);
    noted_ = true;
  }
  // After slot 0 was granted exclusively: whether the WAL was restarted since SQLite read its
  // header.
  bool Restarted(const volatile std::uint8_t* wal_index) const {
    return armed_ && noted_ && wal_index != nullptr && LiveSalts(wal_index) != salts_;
  }

 private:
  static std::uint64_t LiveSalts(const volatile std::uint8_t* wal_index) {
    return ReadShared64(wal_index, format::kHeaderCopyBytes + format::kSaltOffset);
  }

  bool armed_ = false;
  bool noted_ = false;
  std::uint64_t salts_ = 0;
};

}  // namespace lockscope::shim
