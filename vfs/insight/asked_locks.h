// What the kernel tells of a database's locks when it is asked for them byte by byte (F_OFD_GETLK),
// without /proc/locks.
//
// Of a lock that is held exclusively it names the holder; of those who share one it names somebody.
// It names also who is outside our pid namespace, without a number, whom /proc/locks leaves out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "insight/look.h"
#include "kernel/descriptors.h"

namespace lockscope::insight {

inline constexpr int kOpenOffset = kShmLockCount;  // byte 128, as an offset
constexpr ByteRange ShmByte(int offset) {
  return ProtocolBytes(ShmResource(offset), LockMode::kShared);
}

// What is held outside our pid namespace.
KernelHolder AskForOutside(const Database& database, const kernel::OpenFiles& open_files);

struct ExclusiveLocks {
  std::map<std::optional<std::int64_t>, KernelHolder> holders;  // null: outside our pid namespace
  // The wal-index's locks that somebody shared at the time, this process too, by xShmLock's offset.
  std::uint8_t shm_shared = 0;
};

// Who holds what exclusively, PENDING and RESERVED included; not what this process holds, whose
// number is `own_pid`. Null where it cannot be asked, or changes all the time: one byte is asked
// for after the other.
std::optional<ExclusiveLocks> AskForExclusive(const Database& database,
                                              const kernel::OpenFiles& open_files,
                                              std::int64_t own_pid);

}  // namespace lockscope::insight
