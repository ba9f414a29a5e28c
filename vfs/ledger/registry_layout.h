// The sidecar "<database>-lockscope": what the processes that use one database tell each other.
//
//   offset                        bytes          what
//   0                             4096           header, see RegistryHeader; written once
//   4096 + N × kBlockBytes        kBlockBytes    block N, of one process at a time:
//     + 0                         4096             process facts (Published<ProcessLayout>)
//     + 4096                      sizeof(LockStats)  what its closed connections counted (in the
//                                                    first of its blocks; zeros in others)
//     + kFirstRecord + I × R      R                record I of 0 … 7: identity, slot, event ring,
//                                                  counters, barrier, recoveries, waits; R =
//                                                  sizeof(ConnectionRecord)
//
// Byte order and word size are those of the machine, which all of its processes share.
//
// Locks, all of them open-file-description locks, taken by F_OFD_SETLK:
//
//   kMutexByte        held while a block is claimed, and while the last one looks whether it is;
//                     asked for again and again for a quarter of a second at most
//   kBlockByte + N    held by the process that owns block N, for as long as it does: the kernel
//   lets
//                     it go when the process dies, so whoever sees it held sees a live owner
//
// A block belongs to whoever holds its byte; what stands in a block whose byte is free means
// nothing. The file never shrinks; the last one out unlinks it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "ledger/clock.h"
#include "ledger/connection.h"
#include "ledger/published.h"
#include "settings/settings.h"

namespace lockscope::ledger {

inline constexpr const char* kRegistrySuffix = "-lockscope";
inline constexpr std::array<char, 16> kRegistryMagic = {'l', 'o', 'c', 'k', 's', 'c', 'o', 'p',
                                                        'e', '-', 'l', 'e', 'd', 'g', 'e', 'r'};
// Changes with whatever changes in this file or in what lies in a block.
inline constexpr std::uint32_t kRegistryVersion = 4;
inline constexpr std::uint32_t kRegistryByteOrder = 0x01020304;
inline constexpr std::size_t kRegistryPage = 4096;
inline constexpr std::size_t kBlockRecords = 8;
inline constexpr std::uint32_t kBlocksMax = 1024;
inline constexpr std::uint64_t kMutexByte = 0x40000000;
inline constexpr std::uint64_t kBlockByte =
    kMutexByte + 2;  // apart, or the kernel would merge them

struct RegistryHeader {
  std::array<char, 16> magic = kRegistryMagic;
  std::uint32_t byte_order = kRegistryByteOrder;
  std::uint32_t version = kRegistryVersion;
  std::uint32_t block_bytes = 0;
  std::uint32_t record_bytes = 0;
  std::uint64_t database_device = 0;  // of the database that it was made for: after a rename or a
  std::uint64_t database_inode = 0;   // restore the name is another file's
};
static_assert(sizeof(RegistryHeader) == 48);

// bit 0     the process wants to be private now: its connections are not shown
// bit 1-2   its word on wal_reset_guard: 0 none, 1 off, 2 on
// bit 8-15  TickSource
struct ProcessFlags {
  bool hidden = false;
  settings::Switch guard = settings::Switch::kUnset;
  TickSource ticks = TickSource::kCoarse;

  constexpr std::uint64_t Pack() const {
    return static_cast<std::uint64_t>(hidden) | (static_cast<std::uint64_t>(guard) + 1) << 1 |
           static_cast<std::uint64_t>(ticks) << 8;
  }
  static constexpr ProcessFlags Unpack(std::uint64_t word) {
    const std::uint64_t guard = word >> 1 & 3;
    return {.hidden = (word & 1) != 0,
            .guard = guard == 1   ? settings::Switch::kOff
                     : guard == 2 ? settings::Switch::kOn
                                  : settings::Switch::kUnset,
            .ticks = static_cast<TickSource>(word >> 8 & 0xff)};
  }
};

// Written when the block is claimed, and when a setting is set.
template <class W>
struct ProcessLayout {
  W instance;        // a number of this process alone, never 0; 0: the block is not in use yet
  W pid;             // as its own pid namespace numbers it
  W pid_namespace;   // inode of /proc/self/ns/pid; 0: not known
  W start_boottime;  // nanoseconds, as /proc/PID/stat tells; 0: not known
  W flags;           // ProcessFlags
  W anchor_ticks;    // a ClockAnchor
  W anchor_monotonic;
  W anchor_realtime;
  TextLayout<W, 16> application;  // empty: none
  TextLayout<W, 100> command;     // the command line
  TextLayout<W, 4> sqlite_version;
  TextLayout<W, 16> sqlite_source;
};

struct ProcessPage {
  alignas(kRegistryPage) Published<ProcessLayout> process;
};
static_assert(sizeof(ProcessPage) == kRegistryPage);

struct RegistryBlock {
  ProcessPage page;
  LockStats closed;
  std::array<ConnectionRecord, kBlockRecords> records;
};
inline constexpr std::size_t kBlockBytes = sizeof(RegistryBlock);
inline constexpr std::size_t kFirstRecord = kRegistryPage + sizeof(LockStats);
static_assert(kBlockBytes % kRegistryPage == 0);
static_assert(kFirstRecord + kBlockRecords * sizeof(ConnectionRecord) <= kBlockBytes);
static_assert(std::is_standard_layout_v<RegistryBlock>);

constexpr std::uint64_t BlockOffset(std::uint32_t block) {
  return kRegistryPage + std::uint64_t{block} * kBlockBytes;
}

inline RegistryHeader HeaderFor(const FileId& database) {
  return {.block_bytes = kBlockBytes,
          .record_bytes = sizeof(ConnectionRecord),
          .database_device = database.device,
          .database_inode = database.inode};
}

}  // namespace lockscope::ledger
