// Resource: everything SQLite locks, and the bytes on which its unix VFS locks it.
//
// The database file has one resource with five levels; the wal-index (-shm) has eight lock slots
// that xShmLock addresses by offset, and byte 128, which every process that has the -shm open holds
// shared.
//
//   file       byte          fcntl type    meaning
//   database   0x40000000    write         PENDING
//   database   0x40000001    write         RESERVED
//   database   0x40000002    read, 510 B   SHARED
//   database   0x40000002    write, 510 B  EXCLUSIVE (with the PENDING byte)
//   -shm       120           write         WAL write lock
//   -shm       121           write         checkpoint lock
//   -shm       122           write         recovery lock
//   -shm       123 … 127     read, write   read slots 0 … 4
//   -shm       128           read          the -shm is open
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lockscope {

enum class Resource : std::uint8_t {
  kDatabase = 0,
  kWalWrite = 1,  // kWalWrite + N is xShmLock's offset N
  kWalCheckpoint = 2,
  kWalRecover = 3,
  kWalRead0 = 4,
  kWalRead1 = 5,
  kWalRead2 = 6,
  kWalRead3 = 7,
  kWalRead4 = 8,
  kWalOpen = 9,
};
inline constexpr std::size_t kResourceCount = 10;
inline constexpr int kShmLockCount = 8;   // SQLITE_SHM_NLOCK
inline constexpr int kShmReadOffset = 3;  // xShmLock's offset of read slot 0
inline constexpr int kReadSlotCount = 5;

// Every level a lock may have, weakest first. The database uses every one; the
// wal-index slots use kNone, kShared and kExclusive.
enum class LockMode : std::uint8_t {
  kNone = 0,
  kShared = 1,
  kReserved = 2,
  kPending = 3,
  kExclusive = 4,
};

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive

  bool Contains(const ByteRange& other) const { return first <= other.first && other.last <= last; }
  bool Overlaps(const ByteRange& other) const { return first <= other.last && other.first <= last; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

inline constexpr ByteRange kPendingByte{0x40000000, 0x40000000};
inline constexpr ByteRange kReservedByte{0x40000001, 0x40000001};
inline constexpr ByteRange kSharedRange{0x40000002, 0x40000002 + 509};
inline constexpr ByteRange kExclusiveRange{kPendingByte.first, kSharedRange.last};
inline constexpr std::uint64_t kShmLockBase = 120;
inline constexpr std::uint64_t kShmOpenByte = kShmLockBase + kShmLockCount;

constexpr Resource ShmResource(int offset) { return static_cast<Resource>(1 + offset); }
constexpr int ShmOffset(Resource resource) { return static_cast<int>(resource) - 1; }
constexpr bool IsShm(Resource resource) { return resource != Resource::kDatabase; }
constexpr bool IsReadSlot(Resource resource) {
  return resource >= Resource::kWalRead0 && resource <= Resource::kWalRead4;
}
constexpr int ReadSlot(Resource resource) {
  return static_cast<int>(resource) - static_cast<int>(Resource::kWalRead0);
}

// The bytes that carry `mode` of `resource` in SQLite's protocol, before the kernel merges
// anything.
constexpr ByteRange ProtocolBytes(Resource resource, LockMode mode) {
  if (resource != Resource::kDatabase) {
    const std::uint64_t byte = kShmLockBase + static_cast<std::uint64_t>(ShmOffset(resource));
    return {byte, byte};
  }
  switch (mode) {
    case LockMode::kReserved:
      return kReservedByte;
    case LockMode::kPending:
      return kPendingByte;
    case LockMode::kExclusive:
      return kExclusiveRange;
    default:
      return kSharedRange;
  }
}

// "database", "wal-write", …; "SHARED", …. Static strings.
const char* Name(Resource resource);
const char* Name(LockMode mode);

// The resources of one xShmLock call, comma-separated: "wal-read-1,wal-read-2".
std::string ShmRangeName(int offset, int count);

}  // namespace lockscope
