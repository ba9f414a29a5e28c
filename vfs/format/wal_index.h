// The head of a wal-index (-shm): two copies of the header, then the checkpoint information.
// Decodes bytes, does no I/O. Everything here may come from a hostile or half-written file.
//
//   offset  size  field                        changed under
//        0    48  WalIndexHdr, first copy      WAL write lock (or recovery lock)
//       48    48  WalIndexHdr, second copy     as the first; a writer updates this one first
//       96     4  nBackfill                    checkpoint lock
//      100    20  aReadMark[0 … 4]             the slot's own lock, exclusive
//      120     8  the lock bytes               never read or written, only locked
//      128     4  nBackfillAttempted           checkpoint lock
//      132     4  unused
//
// Integers are in the machine's own byte order, but for the salts, which are copied as they stand
// in the WAL's header: big-endian.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace lockscope::format {

inline constexpr std::size_t kWalIndexHeadBytes = 136;
inline constexpr std::uint32_t kReadMarkNotUsed = 0xffffffff;
inline constexpr std::uint32_t kWalIndexVersion = 3007000;
inline constexpr std::uint64_t kWalHeaderBytes = 32;
inline constexpr std::uint64_t kFrameHeaderBytes = 24;

// Offsets that the shim reads straight from the mapped wal-index.
inline constexpr std::size_t kMxFrameOffset = 16;
inline constexpr std::size_t kSaltOffset = 32;
inline constexpr std::size_t kHeaderCopyBytes = 48;
inline constexpr std::size_t kBackfillOffset = 96;
inline constexpr std::size_t kReadMarkOffset = 100;
inline constexpr std::size_t kBackfillAttemptedOffset = 128;

enum class WalIndexState {
  kValid,    // both copies agree, the checksum is right, isInit is set
  kShort,    // fewer bytes than a head
  kZero,     // never initialised, or waiting for recovery: isInit is 0
  kTorn,     // the copies differ: a writer is in mid-update, or died there
  kDamaged,  // copies agree, but version, checksum or page size cannot be true
};
// "valid", "short", "zero", "torn", "damaged". Static strings.
const char* Name(WalIndexState state) noexcept;

struct WalIndex {
  WalIndexState state = WalIndexState::kShort;
  // All that follows is 0 unless state is kValid.
  std::uint32_t change_counter = 0;  // iChange
  std::uint32_t page_size = 0;       // bytes; 0: recovered from a WAL without a commit
  std::uint32_t max_frame = 0;       // mxFrame: frames in the WAL that are committed
  std::uint32_t database_pages = 0;  // nPage: size of the database in pages, after mxFrame
  std::uint32_t salt1 = 0;           // as numbers: big-endian decoded
  std::uint32_t salt2 = 0;
  // Stored after the header, and not covered by its checksum. A writer that restarts the WAL sets
  // mxFrame to 0 first and these two afterwards, and a copy taken byte by byte may have an older
  // header than backfill: more than mxFrame is seen for a moment. It is cut to max_frame, which is
  // true in both cases: of the frames that this header knows, all are in the database.
  std::uint32_t backfilled = 0;          // nBackfill: frames copied into the database
  std::uint32_t backfill_attempted = 0;  // nBackfillAttempted; old SQLites leave it 0
  // As they stand; above max_frame for a moment too, as long as a restart is under way.
  std::array<std::uint32_t, 5> read_mark{};

  bool valid() const { return state == WalIndexState::kValid; }
  std::uint64_t FrameBytes() const { return kFrameHeaderBytes + page_size; }
  // 32 + frames × (24 + page size); 0 for no frames.
  std::uint64_t LiveBytes(std::uint64_t frames) const {
    return frames == 0 ? 0 : kWalHeaderBytes + frames * FrameBytes();
  }
};

// Applies SQLite's own tests in SQLite's order: do the copies agree, isInit, checksum, version.
WalIndex DecodeWalIndex(std::span<const std::uint8_t> bytes) noexcept;

}  // namespace lockscope::format
