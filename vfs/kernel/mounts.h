// Which device number /proc/locks prints for a file. On most file systems it is st_dev; btrfs gives
// every subvolume an st_dev of its own, and overlayfs others still, while /proc/locks prints the
// superblock's device, which /proc/self/mountinfo lists.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lockscope::kernel {

// The device of mount `mount_id` in a text in the form of /proc/self/mountinfo, as makedev().
std::optional<std::uint64_t> MountDevice(std::string_view mountinfo,
                                         std::uint64_t mount_id) noexcept;

// The type of its file system, likewise: "ext4", "fuse.sshfs".
std::optional<std::string_view> MountType(std::string_view mountinfo,
                                          std::uint64_t mount_id) noexcept;

// The mount that the file at `path` is on (symbolic links followed), by statx(). Null before Linux
// 5.8, which does not tell.
std::optional<std::uint64_t> MountOf(const std::string& path);

struct LockDevice {
  std::uint64_t device = 0;  // what /proc/locks prints
  bool shared = false;       // differs from st_dev: inode numbers may repeat; confirm every pid
};

// For the file at `path` (symbolic links followed), whose st_dev is `st_dev`. Uses statx() for the
// mount; opens nothing but /proc/self/mountinfo, and that only where st_dev's major number is 0
// (anonymous devices: btrfs, overlayfs, tmpfs, NFS …). Falls back to st_dev.
LockDevice FindLockDevice(const std::string& path, std::uint64_t st_dev);

}  // namespace lockscope::kernel
