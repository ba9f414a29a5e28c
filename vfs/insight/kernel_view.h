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

// Fills holders and waiters of every database: /proc/locks is read once for all of them. Locks that
// it leaves out, because their owner is outside our pid namespace, are found by asking
// (F_OFD_GETLK).
void ReadKernelView(std::vector<Database>& databases, std::int64_t pid,
                    const kernel::OpenFiles& open_files);

}  // namespace lockscope::insight
