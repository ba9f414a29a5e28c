#include "kernel/own_locks.h"

namespace lockscope::kernel {

std::optional<std::vector<PosixLock>> OwnLocksOn(const FileId& file, const OpenFiles& open_files) {
  if (!open_files.known()) return std::nullopt;
  std::vector<PosixLock> all;
  for (const int fd : open_files.Find(file)) {
    if (!IsFile(fd, file)) return std::nullopt;
    const auto locks = ReadOwnLocks(fd);
    if (!locks || !IsFile(fd, file)) return std::nullopt;
    all.insert(all.end(), locks->begin(), locks->end());
  }
  return all;
}

}  // namespace lockscope::kernel
