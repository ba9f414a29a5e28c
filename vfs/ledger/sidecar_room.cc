#include "ledger/sidecar_room.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "kernel/retrying.h"
#include "ledger/registry_layout.h"

namespace lockscope::ledger {

using kernel::Retrying;

std::string WhyUnfit(const std::string& path) {
  struct statfs facts {};
  if (Retrying([&] { return statfs(path.c_str(), &facts); }) != 0) return {};
  struct Kind {
    std::uint64_t magic;
    const char* reason;
  };
  static constexpr const char* kNetwork = "is on a network or user-space file system";
  static constexpr std::array<Kind, 14> kUnfit = {{{NFS_SUPER_MAGIC, kNetwork},
                                                   {SMB_SUPER_MAGIC, kNetwork},
                                                   {0xff534d42, kNetwork},  // CIFS
                                                   {0xfe534d42, kNetwork},  // SMB 2 and later
                                                   {0x65735546, kNetwork},  // FUSE, virtiofs
                                                   {V9FS_MAGIC, kNetwork},
                                                   {AFS_SUPER_MAGIC, kNetwork},
                                                   {CODA_SUPER_MAGIC, kNetwork},
                                                   {0x00c36400, kNetwork},  // Ceph
                                                   {0x0bd00bd0, kNetwork},  // Lustre
                                                   {0x01161970, kNetwork},  // GFS2
                                                   {OCFS2_SUPER_MAGIC, kNetwork},
                                                   {0x2fc12fc1, kCopiesOnWrite},    // ZFS
                                                   {0xca451a4e, kCopiesOnWrite}}};  // bcachefs
  const auto magic = static_cast<std::uint64_t>(facts.f_type) & 0xffffffff;
  for (const Kind& kind : kUnfit) {
    if (kind.magic == magic) return kind.reason;
  }
  return {};
}

bool WriteInPlace(int fd) {
  struct statfs facts {};
  if (Retrying([&] { return fstatfs(fd, &facts); }) != 0) return true;
  if ((static_cast<std::uint64_t>(facts.f_type) & 0xffffffff) != BTRFS_SUPER_MAGIC) return true;
  int flags = 0;
  if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return false;
  if ((flags & FS_NOCOW_FL) != 0) return true;
  flags |= FS_NOCOW_FL;
  if (ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0) return false;
  flags = 0;
  return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL) != 0;
}

bool WithinFileLimit(std::uint64_t bytes) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return true;
  return limit.rlim_cur == RLIM_INFINITY || bytes <= limit.rlim_cur;
}

bool DescriptorsToSpare() {
  constexpr rlim_t kSpare = 16;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return true;
  // The lowest free one.
  const int probe = Retrying([] { return open("/", O_PATH | O_CLOEXEC); });
  if (probe < 0) return false;
  close(probe);
  return static_cast<rlim_t>(probe) + kSpare < limit.rlim_cur;
}

bool HasRoom(int fd, std::uint64_t bytes) {
  constexpr std::uint64_t kLeftToOthers = 1 << 20;
  struct statfs facts {};
  if (Retrying([&] { return fstatfs(fd, &facts); }) != 0 || facts.f_blocks == 0) return true;
  const std::uint64_t blocks = geteuid() == 0 ? facts.f_bfree : facts.f_bavail;
  return (bytes + kLeftToOthers) / static_cast<std::uint64_t>(facts.f_bsize) <= blocks;
}

bool WriteZeros(int fd, std::uint64_t offset, std::uint64_t bytes) {
  static constexpr std::array<char, kRegistryPage> kZeros{};
  while (bytes > 0) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kZeros.size()));
    const ssize_t written =
        Retrying([&] { return pwrite(fd, kZeros.data(), count, static_cast<off_t>(offset)); });
    if (written <= 0) return false;
    offset += static_cast<std::uint64_t>(written);
    bytes -= static_cast<std::uint64_t>(written);
  }
  return true;
}

}  // namespace lockscope::ledger
