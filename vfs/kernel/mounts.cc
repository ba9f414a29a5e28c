#include "kernel/mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "kernel/proc_text.h"

namespace lockscope::kernel {
namespace {

// "MAJOR:MINOR", decimal.
std::optional<std::uint64_t> ParseDevice(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto major_number = ParseNumber<unsigned>(text.substr(0, colon));
  const auto minor_number = ParseNumber<unsigned>(text.substr(colon + 1));
  if (!major_number || !minor_number) return std::nullopt;
  return makedev(*major_number, *minor_number);
}

std::optional<std::uint64_t> SuperblockDevice(const std::string& path) {
  const auto mount = MountOf(path);
  if (!mount) return std::nullopt;
  const auto mountinfo = ReadProcText("/proc/self/mountinfo");
  return mountinfo ? MountDevice(*mountinfo, *mount) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> MountOf(const std::string& path) {
  struct statx status = {};
  // The mount is known locally: a network file system need not be asked, and cannot keep us
  // waiting.
  const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  if (statx(AT_FDCWD, path.c_str(), flags, STATX_MNT_ID, &status) != 0) return std::nullopt;
  if ((status.stx_mask & STATX_MNT_ID) == 0) return std::nullopt;
  return status.stx_mnt_id;
}

std::optional<std::uint64_t> MountDevice(std::string_view mountinfo,
                                         std::uint64_t mount_id) noexcept {
  while (!mountinfo.empty()) {
    std::string_view line = TakeLine(mountinfo);
    if (ParseNumber<std::uint64_t>(TakeField(line)) != mount_id) continue;
    TakeField(line);  // the parent mount
    return ParseDevice(TakeField(line));
  }
  return std::nullopt;
}

std::optional<std::string_view> MountType(std::string_view mountinfo,
                                          std::uint64_t mount_id) noexcept {
  while (!mountinfo.empty()) {
    std::string_view line = TakeLine(mountinfo);
    if (ParseNumber<std::uint64_t>(TakeField(line)) != mount_id) continue;
    // Optional fields, in any number, end with a hyphen; blanks in paths are written otherwise.
    while (!line.empty()) {
      if (TakeField(line) == "-") break;
    }
    const std::string_view type = TakeField(line);
    return type.empty() ? std::nullopt : std::optional(type);
  }
  return std::nullopt;
}

LockDevice FindLockDevice(const std::string& path, std::uint64_t st_dev) {
  if (major(st_dev) != 0) return {st_dev, false};
  const std::uint64_t device = SuperblockDevice(path).value_or(st_dev);
  return {device, device != st_dev};
}

}  // namespace lockscope::kernel
