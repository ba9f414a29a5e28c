// Reading a database's files inside a process that may be using them.
//
// Closing any descriptor of a file drops every POSIX lock that the process holds on it. So a file
// that this process already has open is read through that very descriptor, found in /proc/self/fd
// by inode, and never closed; a file that it does not have open is opened read-only and the
// descriptor is kept, one per inode, for as long as the file has a name. Nothing here ever closes a
// descriptor of a regular file on which the process could hold a lock. A program that only looks
// and then exits does the same and loses nothing by it.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/file_id.h"
#include "model/status.h"

namespace lockscope::kernel {

struct FileStat {
  FileId id;
  std::uint64_t bytes = 0;
  mode_t mode = 0;
  std::uint32_t links = 0;
  std::int64_t written_ns = 0;  // st_mtim
};

// stat(), symbolic links followed. Null with errno set.
std::optional<FileStat> StatPath(const std::string& path) noexcept;

// Whether the descriptor, which may be another thread's, is of this regular file now.
bool IsFile(int fd, const FileId& id) noexcept;

// What this process has open at one moment: /proc/self/fd listed once, every regular file's
// descriptors by identity. Sockets, pipes and descriptors that vanish meanwhile are left out. Not
// thread-safe to assign to; Find() is.
class OpenFiles {
 public:
  static OpenFiles Scan();
  // False where /proc cannot be read: then nothing is found, and nothing follows from it.
  bool known() const noexcept { return known_; }
  // Descriptors this process has of the file, lowest first; empty for none.
  std::span<const int> Find(const FileId& id) const noexcept;

 private:
  bool known_ = false;
  std::map<FileId, std::vector<int>> by_id_;
};

// A descriptor through which the regular file `path`, whose identity is `id`, may be read: one of
// `open_files` where the process has one that is readable, else one kept from an earlier call, else
// a new one (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), kept for life. SQLITE_CANTOPEN with the
// system's reason where it cannot be opened, is not a regular file, or is by now another file than
// `id`; where it became another file in the moment of opening, that file's descriptor stays open.
// Thread-safe. The descriptor may be somebody else's, who may close it at any time: read with
// ReadAt() only.
Result<int> ReadableDescriptor(const std::string& path, const FileId& id,
                               const OpenFiles& open_files);

// Closes a descriptor, opened for something else, of what turned out to be a file of somebody
// else's: perhaps a database. Where this process has that open already, closing would drop its
// locks on it: then the descriptor is kept, as above.
void CloseOrKeep(int fd);
// Closes those that are kept of files that have no name any more, whose blocks would stay in use.
void CloseKeptDeleted();
// The descriptor that is kept of the file; null for none.
std::optional<int> KeptDescriptor(const FileId& id);

// pread() of up to `bytes.size()` bytes at `offset` through `fd`, checked before and after to be
// the file `id` still (another thread may have closed and reused the number). The count read, short
// at the end of the file; null on an error or where `fd` is another file: `bytes` then holds
// anything.
std::optional<std::size_t> ReadAt(int fd, const FileId& id, std::uint64_t offset,
                                  std::span<std::uint8_t> bytes) noexcept;

// Asks with F_OFD_GETLK whether anybody's lock would refuse a write (`write`) or read lock on these
// bytes, without taking one. Finds locks of processes in other pid namespaces, which /proc/locks
// leaves out. Our own process's POSIX locks count as somebody's. Of several locks in the way one is
// told. Null for none, and where it cannot be asked: not a descriptor, no such range.
struct Conflict {
  bool write = false;    // the lock found is a write lock
  std::int64_t pid = 0;  // 0: outside our pid namespace; -1: an open-file-description lock
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive; UINT64_MAX: to the end, however far that moves
};
std::optional<Conflict> ProbeLock(int fd, bool write, std::uint64_t first,
                                  std::uint64_t last) noexcept;
// The same, for those to whom it matters whether nobody's lock is in the way or it cannot be asked.
struct LockAnswer {
  bool told = false;
  std::optional<Conflict> conflict;
};
LockAnswer AskForLock(int fd, bool write, std::uint64_t first, std::uint64_t last) noexcept;

}  // namespace lockscope::kernel
