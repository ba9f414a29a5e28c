// The kernel's locks on some databases, in SQLite's terms.
#pragma once

#include <cstdint>
#include <vector>

#include "insight/look.h"
#include "kernel/descriptors.h"

namespace lockscope::insight {

// What this process holds, as the kernel tells, that no connection of the ledger explains: taken by
// connections that do not go through the shim, or within the moment. REQUIRES: database.own and
// own_locks are read.
KernelHolder OwnUnexplained(const Database& database, std::int64_t pid);

// Fills what other processes are known to hold: their connections, as they publish them, and what
// these do not explain of the kernel's locks. /proc/locks is read once for all databases, again
// only where the two do not fit together. Locks that it leaves out, because their owner is outside
// our pid namespace, are found by asking (asked_locks.h). With few pains the kernel is only asked.
// REQUIRES: own_unexplained is read.
void ReadKernelView(std::vector<Database>& databases, std::int64_t pid,
                    const kernel::OpenFiles& open_files, Pains pains);

}  // namespace lockscope::insight
