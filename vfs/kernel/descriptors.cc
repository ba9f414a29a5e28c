#include "kernel/descriptors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <mutex>
#include <system_error>

#include "kernel/foreign_descriptor.h"
#include "kernel/proc_text.h"
#include "model/fork_safe_mutex.h"

namespace lockscope::kernel {
namespace {

constexpr auto kOffsetMax = static_cast<std::uint64_t>(std::numeric_limits<off_t>::max());

FileStat ToFileStat(const struct stat& status) {
  return {
      .id = {status.st_dev, status.st_ino},
      .bytes = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0)),
      .mode = status.st_mode,
      .links = static_cast<std::uint32_t>(status.st_nlink),
      .written_ns = std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

std::optional<FileStat> StatDescriptor(int fd) {
  const ForeignDescriptor foreign;
  struct stat status = {};
  if (fstat(fd, &status) != 0) return std::nullopt;
  return ToFileStat(status);
}

// Not through one opened write-only or as a mere path; nor with O_DIRECT, which refuses reads that
// are not aligned to blocks.
bool IsReadable(int fd) {
  const ForeignDescriptor foreign;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & (O_PATH | O_DIRECT)) != 0) return false;
  return (flags & O_ACCMODE) == O_RDONLY || (flags & O_ACCMODE) == O_RDWR;
}

bool IsUsable(int fd, const FileId& id) { return IsFile(fd, id) && IsReadable(fd); }

// Held while a file is opened: two threads must not both open it, for the second descriptor could
// not be closed.
constinit ForkSafeMutex g_mutex(LockRank::kDescriptors);

// The descriptors that ReadableDescriptor() opened, one per inode. An entry may be stale: anybody
// can close it. Guarded by g_mutex. Never destroyed: databases are looked at while the process
// exits.
using KeptDescriptors = std::map<FileId, int>;
KeptDescriptors& Kept() {
  static auto* const kept = new KeptDescriptors;
  return *kept;
}

Status CannotOpen(const std::string& path, const std::string& reason) {
  return {SQLITE_CANTOPEN, "cannot read " + path + ": " + reason};
}

Status CannotOpen(const std::string& path, int error) {
  return CannotOpen(path, std::generic_category().message(error));
}

Status AnotherFile(const std::string& path) {
  return CannotOpen(path, "the path leads to another file now");
}

// Whether `path` may be opened at all: opening a FIFO or a device can have effects.
Status CheckPath(const std::string& path, const FileId& id) {
  const auto status = StatPath(path);
  if (!status) return CannotOpen(path, errno);
  if (!S_ISREG(status->mode)) return CannotOpen(path, "not a regular file");
  if (status->id != id) return AnotherFile(path);
  return {};
}

// O_NONBLOCK means nothing to a regular file: neither SQLite nor anybody else opens one so.
constexpr int kHowOpened = O_RDONLY | O_NONBLOCK;

bool IsOpenedHere(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & (O_ACCMODE | O_NONBLOCK)) == kHowOpened;
}

int OpenToRead(const std::string& path) {
  int fd = -1;
  do {
    fd = open(path.c_str(), kHowOpened | O_CLOEXEC | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

// REQUIRES: g_mutex is held.
std::optional<int> FindKept(const KeptDescriptors& kept, const FileId& id) {
  const auto entry = kept.find(id);
  if (entry == kept.end() || !IsUsable(entry->second, id)) return std::nullopt;
  return entry->second;
}

// Closes what is kept of files that are gone: their blocks would stay taken, and a database in a
// rollback mode leaves one deleted journal a transaction. Harmless where the file has no name any
// more, so that nothing in this process can come to open it, and the process has no other
// descriptor of it, so that it holds no lock there. REQUIRES: g_mutex is held.
void CloseDeleted(KeptDescriptors& kept) {
  std::vector<KeptDescriptors::iterator> deleted;
  for (auto entry = kept.begin(); entry != kept.end(); ++entry) {
    const auto status = StatDescriptor(entry->second);
    if (status && status->id == entry->first && status->links == 0) deleted.push_back(entry);
  }
  if (deleted.empty()) return;
  const OpenFiles open_files = OpenFiles::Scan();
  for (const auto& entry : deleted) {
    const auto descriptors = open_files.Find(entry->first);
    if (descriptors.size() != 1 || descriptors.front() != entry->second) continue;
    // Somebody may have closed ours, and have got its number for one of his own.
    if (IsOpenedHere(entry->second)) close(entry->second);
    kept.erase(entry);
  }
}

// Opens `path` and keeps the descriptor, whatever came of it: between the check of the path and the
// opening the path may have come to lead to another file, on which this process may hold locks that
// closing would drop. That one is kept under its own identity, where the next call that wants it
// finds it. (A descriptor that this list loses, replaced or out of memory, is found again by
// OpenFiles.) REQUIRES: g_mutex is held.
Result<int> OpenAndKeep(KeptDescriptors& kept, const std::string& path, const FileId& id) {
  if (Status status = CheckPath(path, id); !status.ok()) return status;
  const int fd = OpenToRead(path);
  if (fd < 0) return CannotOpen(path, errno);
  const auto opened = StatDescriptor(fd);
  if (!opened) return CannotOpen(path, errno);  // of unknown kind: not closed either
  if (!S_ISREG(opened->mode)) {
    close(fd);  // so no database's locks
    return CannotOpen(path, "not a regular file");
  }
  kept.insert_or_assign(opened->id, fd);
  if (opened->id != id) return AnotherFile(path);
  return fd;
}

// Reads until `bytes` is full or the file ends. Null on an error.
std::optional<std::size_t> ReadFully(int fd, std::uint64_t offset, std::span<std::uint8_t> bytes) {
  const ForeignDescriptor foreign;
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count == 0) break;
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      return std::nullopt;
    }
  }
  return done;
}

}  // namespace

bool IsFile(int fd, const FileId& id) noexcept {
  const auto status = StatDescriptor(fd);
  return status && status->id == id && S_ISREG(status->mode);
}

std::optional<FileStat> StatPath(const std::string& path) noexcept {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return std::nullopt;
  return ToFileStat(status);
}

OpenFiles OpenFiles::Scan() {
  OpenFiles files;
  auto descriptors = ListDescriptors("/proc/self/fd");
  if (!descriptors) return files;
  files.known_ = true;
  std::sort(descriptors->begin(), descriptors->end());
  for (const int fd : *descriptors) {
    const auto status = StatDescriptor(fd);
    if (status && S_ISREG(status->mode)) files.by_id_[status->id].push_back(fd);
  }
  return files;
}

std::span<const int> OpenFiles::Find(const FileId& id) const noexcept {
  const auto entry = by_id_.find(id);
  if (entry == by_id_.end()) return {};
  return entry->second;
}

Result<int> ReadableDescriptor(const std::string& path, const FileId& id,
                               const OpenFiles& open_files) {
  for (const int fd : open_files.Find(id)) {
    if (IsUsable(fd, id)) return fd;
  }
  const std::lock_guard lock(g_mutex);
  KeptDescriptors& kept = Kept();
  if (const auto fd = FindKept(kept, id)) return *fd;
  CloseDeleted(kept);
  return OpenAndKeep(kept, path, id);
}

void CloseKeptDeleted() {
  const std::lock_guard lock(g_mutex);
  CloseDeleted(Kept());
}

void CloseOrKeep(int fd) {
  const auto opened = StatDescriptor(fd);
  if (opened) {
    const std::lock_guard lock(g_mutex);
    const OpenFiles open_files = OpenFiles::Scan();
    if (!open_files.known() || open_files.Find(opened->id).size() > 1) {
      Kept().insert_or_assign(opened->id, fd);
      return;
    }
  }
  close(fd);
}

std::optional<int> KeptDescriptor(const FileId& id) {
  const std::lock_guard lock(g_mutex);
  return FindKept(Kept(), id);
}

std::optional<std::size_t> ReadAt(int fd, const FileId& id, std::uint64_t offset,
                                  std::span<std::uint8_t> bytes) noexcept {
  if (offset > kOffsetMax || bytes.size() > kOffsetMax - offset) return std::nullopt;
  if (!IsFile(fd, id)) return std::nullopt;
  const auto count = ReadFully(fd, offset, bytes);
  return IsFile(fd, id) ? count : std::nullopt;
}

std::optional<Conflict> ProbeLock(int fd, bool write, std::uint64_t first,
                                  std::uint64_t last) noexcept {
  return AskForLock(fd, write, first, last).conflict;
}

LockAnswer AskForLock(int fd, bool write, std::uint64_t first, std::uint64_t last) noexcept {
  if (first > last || first > kOffsetMax) return {};
  const ForeignDescriptor foreign;
  struct flock lock = {};  // l_pid must be 0 for F_OFD_GETLK
  lock.l_type = write ? F_WRLCK : F_RDLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = last >= kOffsetMax ? 0 : static_cast<off_t>(last - first + 1);  // 0: to the end
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return {};
  if (lock.l_type == F_UNLCK) return {.told = true, .conflict = std::nullopt};

  Conflict conflict;
  conflict.write = lock.l_type == F_WRLCK;
  conflict.pid = lock.l_pid;
  conflict.first = static_cast<std::uint64_t>(lock.l_start);
  conflict.last = lock.l_len == 0 ? std::numeric_limits<std::uint64_t>::max()
                                  : conflict.first + static_cast<std::uint64_t>(lock.l_len) - 1;
  return {.told = true, .conflict = conflict};
}

}  // namespace lockscope::kernel
