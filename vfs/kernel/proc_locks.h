// POSIX locks as Linux lists them: /proc/locks for every process, /proc/PID/fdinfo for one.
//
// Racy by nature: the kernel hands out a long list page by page while locks come and go, so that a
// lock may be missing, or there twice. Nothing is derived from it but what to tell a person.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/resource.h"

namespace lockscope::kernel {

struct PosixLock {
  bool write = false;    // F_WRLCK; else F_RDLCK
  bool waiting = false;  // asked for with F_SETLKW and not granted: a line with "->". Not in fdinfo
  std::int64_t pid = 0;  // in our pid namespace
  // makedev() of the printed MAJOR:MINOR: the superblock's, not always st_dev.
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  ByteRange bytes;  // the kernel merges neighbours; `last` is UINT64_MAX for EOF

  friend bool operator==(const PosixLock&, const PosixLock&) = default;
};

// One line of /proc/locks, or of fdinfo after its "lock:\t". Null for OFDLCK, FLOCK, LEASE lines,
// for pid <= 0, and for anything that does not parse.
std::optional<PosixLock> ParseLockLine(std::string_view line) noexcept;

// All lines of a text that parse; the rest is skipped.
std::vector<PosixLock> ParseProcLocks(std::string_view text);

// The "lock:" lines of a text in fdinfo's form.
std::vector<PosixLock> ParseFdinfoLocks(std::string_view text);

// Every lock in /proc/locks, each once, in no order. A list longer than a page is read twice, and
// what either reading has is there: the one that a page's border hid in both would be rare. Null
// where it cannot be read.
std::optional<std::vector<PosixLock>> ReadProcLocks();

// The locks that this process holds on the file behind its descriptor `fd`, from
// /proc/self/fdinfo/FD. Null where that cannot be read.
std::optional<std::vector<PosixLock>> ReadOwnLocks(int fd);

// Two ways to confirm a pid where /proc/locks prints a device that several file systems share, so
// that a line with the right numbers may mean another file. Null: cannot be told, as for another
// user's process, or one that has ended. `st_dev` is stat()'s. Nothing is opened but files in
// /proc.

// Does the process have the file open (/proc/PID/fd)? Enough for one that waits for a lock.
std::optional<bool> ProcessHasOpen(std::int64_t pid, std::uint64_t st_dev, std::uint64_t inode);

// Does it, and hold a POSIX lock on it (the descriptor's "lock:" lines in /proc/PID/fdinfo)? Given
// a `lock`, one of its type and bytes: a process may hold another on the other file of these
// numbers.
std::optional<bool> ProcessHoldsLock(std::int64_t pid, std::uint64_t st_dev, std::uint64_t inode,
                                     const PosixLock* lock = nullptr);

}  // namespace lockscope::kernel
