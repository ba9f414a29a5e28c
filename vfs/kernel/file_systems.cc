#include "kernel/file_systems.h"

#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "kernel/mounts.h"
#include "kernel/proc_text.h"

namespace lockscope::kernel {
namespace {

constexpr std::array<std::string_view, 13> kUnsafe = {
    "nfs",  "nfs4",  "cifs",     "smb3",   "smbfs",  "9p",    "afs",
    "coda", "ncpfs", "virtiofs", "vboxsf", "prl_fs", "vmhgfs"};
// What stands behind "fuse.".
constexpr std::array<std::string_view, 13> kUnsafeFuse = {
    "sshfs",     "s3fs",     "rclone",      "gcsfuse",  "goofys",   "mountpoint-s3", "davfs",
    "curlftpfs", "smbnetfs", "vmhgfs-fuse", "s3backer", "blobfuse", "blobfuse2"};
constexpr std::array<std::string_view, 10> kDoubtful = {
    "ceph", "lustre", "gfs", "gfs2", "ocfs2", "gpfs", "beegfs", "orangefs", "pvfs2", "fuseblk"};

template <std::size_t N>
bool IsIn(const std::array<std::string_view, N>& names, std::string_view name) noexcept {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The numbers that statfs() gives (linux/magic.h, and for those it lacks the file system's own
// source) of types that are not safe.
struct Numbered {
  std::uint32_t number;
  const char* type;
};
constexpr std::array kNumbered = {Numbered{0x6969, "nfs"},        Numbered{0x517b, "smbfs"},
                                  Numbered{0xff534d42, "cifs"},   Numbered{0xfe534d42, "smb3"},
                                  Numbered{0x01021997, "9p"},     Numbered{0x65735546, "fuse"},
                                  Numbered{0x5346414f, "afs"},    Numbered{0x6b414653, "afs"},
                                  Numbered{0x73757245, "coda"},   Numbered{0x564c, "ncpfs"},
                                  Numbered{0x786f4256, "vboxsf"}, Numbered{0x00c36400, "ceph"},
                                  Numbered{0x0bd00bd0, "lustre"}, Numbered{0x01161970, "gfs2"},
                                  Numbered{0x7461636f, "ocfs2"},  Numbered{0x47504653, "gpfs"},
                                  Numbered{0x19830326, "beegfs"}, Numbered{0x20030528, "orangefs"}};

std::optional<std::string> TypeByNumber(const std::string& path) {
  struct statfs facts = {};
  if (statfs(path.c_str(), &facts) != 0) return std::nullopt;
  const auto number = static_cast<std::uint32_t>(facts.f_type);
  const auto* const found =
      std::find_if(kNumbered.begin(), kNumbered.end(),
                   [number](const Numbered& entry) { return entry.number == number; });
  if (found == kNumbered.end()) return std::nullopt;
  return found->type;
}

}  // namespace

LockSafety SafetyOf(std::string_view type) noexcept {
  constexpr std::string_view kFuse = "fuse.";
  if (IsIn(kUnsafe, type)) return LockSafety::kUnsafe;
  if (IsIn(kDoubtful, type) || type == "fuse") return LockSafety::kDoubtful;
  if (!type.starts_with(kFuse)) return LockSafety::kSafe;
  return IsIn(kUnsafeFuse, type.substr(kFuse.size())) ? LockSafety::kUnsafe : LockSafety::kDoubtful;
}

std::optional<std::string> FileSystemOf(const std::string& path) {
  if (const auto mount = MountOf(path)) {
    const auto mountinfo = ReadProcText("/proc/self/mountinfo");
    if (mountinfo) {
      if (const auto type = MountType(*mountinfo, *mount)) return std::string(*type);
    }
  }
  return TypeByNumber(path);
}

}  // namespace lockscope::kernel
