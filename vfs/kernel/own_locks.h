// What this process holds on one file, by the kernel's word.
#pragma once

#include <optional>
#include <vector>

#include "kernel/descriptors.h"
#include "kernel/proc_locks.h"
#include "model/file_id.h"

namespace lockscope::kernel {

// The POSIX locks of this process on the file, of all its descriptors together: each is told by the
// descriptor that it was taken through, and by no other. Null where it cannot be told: a descriptor
// was closed, and perhaps its number given to another file, by another thread meanwhile, or /proc
// cannot be read. For the locks that are missing then may be held nevertheless.
std::optional<std::vector<PosixLock>> OwnLocksOn(const FileId& file, const OpenFiles& open_files);

}  // namespace lockscope::kernel
