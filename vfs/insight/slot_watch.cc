#include "insight/slot_watch.h"

#include <algorithm>

#include "kernel/descriptors.h"

namespace lockscope::insight {

SlotWatch::SlotWatch(const Look& look) {
  const auto open_files = kernel::OpenFiles::Scan();
  for (const Database& database : look.databases()) {
    if (!database.shm.known()) continue;
    const auto fd = kernel::ReadableDescriptor(database.path + "-shm", database.shm, open_files);
    if (!fd.ok()) continue;
    watched_.push_back({.path = database.path, .shm_fd = fd.value(), .shm = database.shm});
  }
}

void SlotWatch::Sample() {
  for (Watched& database : watched_) {
    // The descriptor may be somebody else's, who may have closed it.
    if (!kernel::IsFile(database.shm_fd, database.shm)) continue;
    for (int slot = 0; slot < kReadSlotCount; ++slot) {
      const ByteRange byte = ProtocolBytes(ShmResource(kShmReadOffset + slot), LockMode::kShared);
      if (!kernel::ProbeLock(database.shm_fd, true, byte.first, byte.last)) {
        database.free.at(static_cast<std::size_t>(slot)) = true;
      }
    }
  }
}

bool SlotWatch::WasFree(const std::string& database, int slot) const {
  return std::any_of(watched_.begin(), watched_.end(), [&](const Watched& watched) {
    return watched.path == database && watched.free.at(static_cast<std::size_t>(slot));
  });
}

}  // namespace lockscope::insight
