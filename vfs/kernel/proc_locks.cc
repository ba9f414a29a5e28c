#include "kernel/proc_locks.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <tuple>

#include "kernel/proc_text.h"

namespace lockscope::kernel {
namespace {

constexpr std::string_view kFdinfoPrefix = "lock:";

// "1:", the number by which the kernel groups a lock with those who wait for it.
bool IsLockNumber(std::string_view field) {
  if (!field.ends_with(':')) return false;
  field.remove_suffix(1);
  return ParseNumber<std::uint64_t>(field).has_value();
}

bool ParseType(std::string_view field, PosixLock& lock) {
  lock.write = field == "WRITE";
  return lock.write || field == "READ";
}

bool ParsePid(std::string_view field, PosixLock& lock) {
  lock.pid = ParseNumber<std::int64_t>(field).value_or(0);
  return lock.pid > 0;
}

// "MAJOR:MINOR:INODE": the device in hexadecimal figures, the inode in decimal ones.
bool ParseFile(std::string_view field, PosixLock& lock) {
  const std::size_t first = field.find(':');
  if (first == std::string_view::npos) return false;
  const std::size_t second = field.find(':', first + 1);
  if (second == std::string_view::npos) return false;
  const auto major_number = ParseNumber<unsigned>(field.substr(0, first), 16);
  const auto minor_number = ParseNumber<unsigned>(field.substr(first + 1, second - first - 1), 16);
  const auto inode = ParseNumber<std::uint64_t>(field.substr(second + 1));
  if (!major_number || !minor_number || !inode) return false;
  lock.device = makedev(*major_number, *minor_number);
  lock.inode = *inode;
  return true;
}

bool ParseRange(std::string_view first, std::string_view last, PosixLock& lock) {
  const auto first_byte = ParseNumber<std::uint64_t>(first);
  const auto last_byte =
      last == "EOF" ? std::numeric_limits<std::uint64_t>::max() : ParseNumber<std::uint64_t>(last);
  if (!first_byte || !last_byte || *first_byte > *last_byte) return false;
  lock.bytes = {*first_byte, *last_byte};
  return true;
}

// Is `fd` in `directory` (a /proc/PID/fd) the file? Null where it cannot be told. The entry is a
// link that leads stat() to the open file itself, whatever its name is by now.
std::optional<bool> IsFile(const std::string& directory, int fd, std::uint64_t st_dev,
                           std::uint64_t inode) {
  struct stat status = {};
  if (stat((directory + std::to_string(fd)).c_str(), &status) == 0) {
    return status.st_dev == st_dev && status.st_ino == inode;
  }
  if (errno == ENOENT) return false;  // closed since the directory was listed
  return std::nullopt;
}

// Is there a descriptor of the process that leads to the file, and for which `confirm(fd)` is true?
// Both may answer null; it is the result where no descriptor gave a plain yes.
template <class Confirm>
std::optional<bool> AnyDescriptor(std::int64_t pid, std::uint64_t st_dev, std::uint64_t inode,
                                  const Confirm& confirm) {
  if (pid <= 0) return std::nullopt;
  const std::string directory = "/proc/" + std::to_string(pid) + "/fd/";
  const auto descriptors = ListDescriptors(directory);
  if (!descriptors) return std::nullopt;
  std::optional<bool> answer = false;
  for (const int fd : *descriptors) {
    std::optional<bool> found = IsFile(directory, fd, st_dev, inode);
    if (found == true) found = confirm(fd);
    if (found == true) return true;
    if (!found) answer = std::nullopt;
  }
  return answer;
}

}  // namespace

std::optional<PosixLock> ParseLockLine(std::string_view line) noexcept {
  if (!IsLockNumber(TakeField(line))) return std::nullopt;
  PosixLock lock;
  std::string_view kind = TakeField(line);
  if (kind == "->") {
    lock.waiting = true;
    kind = TakeField(line);
  }
  if (kind != "POSIX") return std::nullopt;
  TakeField(line);  // ADVISORY, in older kernels also MANDATORY: the same to us
  if (!ParseType(TakeField(line), lock)) return std::nullopt;
  if (!ParsePid(TakeField(line), lock)) return std::nullopt;
  if (!ParseFile(TakeField(line), lock)) return std::nullopt;
  const std::string_view first = TakeField(line);
  const std::string_view last = TakeField(line);
  if (!ParseRange(first, last, lock)) return std::nullopt;
  return lock;  // what may follow belongs to a kernel to come
}

std::vector<PosixLock> ParseProcLocks(std::string_view text) {
  std::vector<PosixLock> locks;
  while (!text.empty()) {
    if (const auto lock = ParseLockLine(TakeLine(text))) locks.push_back(*lock);
  }
  return locks;
}

std::vector<PosixLock> ParseFdinfoLocks(std::string_view text) {
  std::vector<PosixLock> locks;
  while (!text.empty()) {
    std::string_view line = TakeLine(text);
    if (!line.starts_with(kFdinfoPrefix)) continue;
    line.remove_prefix(kFdinfoPrefix.size());
    if (const auto lock = ParseLockLine(line)) locks.push_back(*lock);
  }
  return locks;
}

std::optional<std::vector<PosixLock>> ReadProcLocks() {
  constexpr std::size_t kPageBytes = 4096;
  auto text = ReadProcText("/proc/locks");
  if (!text) return std::nullopt;
  // The kernel stops at the last whole line that fits into a page.
  constexpr std::size_t kLineBytesMax = 128;
  if (text->size() > kPageBytes - kLineBytesMax) {
    if (const auto again = ReadProcText("/proc/locks")) *text += *again;
  }
  auto locks = ParseProcLocks(*text);
  const auto key = [](const PosixLock& lock) {
    return std::tuple(lock.pid, lock.device, lock.inode, lock.bytes.first, lock.bytes.last,
                      lock.write, lock.waiting);
  };
  std::sort(locks.begin(), locks.end(),
            [&key](const PosixLock& a, const PosixLock& b) { return key(a) < key(b); });
  locks.erase(std::unique(locks.begin(), locks.end()), locks.end());
  return locks;
}

std::optional<std::vector<PosixLock>> ReadOwnLocks(int fd) {
  const auto text = ReadProcText("/proc/self/fdinfo/" + std::to_string(fd));
  if (!text) return std::nullopt;
  return ParseFdinfoLocks(*text);
}

std::optional<bool> ProcessHasOpen(std::int64_t pid, std::uint64_t st_dev, std::uint64_t inode) {
  return AnyDescriptor(pid, st_dev, inode, [](int) { return std::optional<bool>(true); });
}

std::optional<bool> ProcessHoldsLock(std::int64_t pid, std::uint64_t st_dev, std::uint64_t inode,
                                     const PosixLock* lock) {
  const std::string directory = "/proc/" + std::to_string(pid) + "/fdinfo/";
  return AnyDescriptor(pid, st_dev, inode, [&](int fd) -> std::optional<bool> {
    const auto text = ReadProcText(directory + std::to_string(fd));
    if (!text) return std::nullopt;
    const auto held = ParseFdinfoLocks(*text);
    return std::any_of(held.begin(), held.end(), [lock](const PosixLock& other) {
      return lock == nullptr || (other.write == lock->write && other.bytes == lock->bytes);
    });
  });
}

}  // namespace lockscope::kernel
