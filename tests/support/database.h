// Databases for tests: made, broken, and looked at from outside.
//
// Nothing here opens a database, -wal or -shm file in this process: that would end with a close(),
// and a close() drops this process's own POSIX locks on the file. Children do it (actors, cp, dd),
// or stat.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "actor.h"

namespace lockscope::testing {

// ---- Making ------------------------------------------------------------------------------------

struct DatabaseOptions {
  std::string journal_mode = "wal";  // or delete, truncate, persist
  int rows = 200;                    // about 360 bytes each: 11 to a page of 4096, and an index
  int page_size = 4096;
};

// A database with one table, whose v sum up to 0 and whose index tv breaks with an inconsistent
// copy:
//   t(id integer primary key, v int, pad blob)      ids 1 … rows
// In WAL mode it is left checkpointed and closed, without -wal and -shm.
void CreateDatabase(const std::string& path, const DatabaseOptions& options = {});

// Leaves `path` with a hot journal and half a transaction in the database file: a writer is killed
// after its cache spilled. REQUIRES: rollback-journal mode, 100 rows or more, nobody else
// connected.
void LeaveHotJournal(const std::string& path);

// Leaves `path` with commits in its -wal and a stale -shm: whoever reads it first recovers the
// wal-index. REQUIRES: WAL mode, nobody else connected.
void LeaveWalToRecover(const std::string& path);

// Five readers, [i] with connection "c" in a transaction on read slot i; a commit lies between each
// two of them, so that [0] sees the oldest snapshot. REQUIRES: WAL mode, nobody else connected.
std::array<std::unique_ptr<Actor>, 5> HoldReadSlots(const std::string& path);

// ---- Copying and breaking ----------------------------------------------------------------------

void CopyFile(const std::string& from, const std::string& to);

// The database and those of -wal, -shm and -journal that exist.
void CopyDatabase(const std::string& from, const std::string& to);

// Overwrites in place; the file grows where need be.
void WriteBytes(const std::string& path, std::uint64_t offset, const std::string& bytes);
void WriteZeros(const std::string& path, std::uint64_t offset, std::size_t count);
void WriteNoise(const std::string& path, std::uint64_t offset, std::size_t count, unsigned seed);

// Fewer bytes where the file ends.
std::string ReadBytes(const std::string& path, std::uint64_t offset, std::size_t count);

// -1 where there is no such file.
std::int64_t FileSize(const std::string& path);

// PRAGMA integrity_check, by an actor that opens the database as anybody would: it recovers what
// there is to recover. "ok", or the first complaint, or SQLite's error.
std::string IntegrityCheck(const std::string& path);

// ---- Locks, as the kernel tells them -----------------------------------------------------------

// In the database file.
inline constexpr std::uint64_t kPendingByte = 0x40000000;
inline constexpr std::uint64_t kReservedByte = 0x40000001;
inline constexpr std::uint64_t kSharedFirst = 0x40000002;
inline constexpr std::uint64_t kSharedLast = kSharedFirst + 509;

// In the -shm file.
inline constexpr std::uint64_t kWalWriteByte = 120;
inline constexpr std::uint64_t kWalCkptByte = 121;
inline constexpr std::uint64_t kWalRecoverByte = 122;
inline constexpr std::uint64_t kWalReadByte = 123;  // slot 0; slot i is kWalReadByte + i
inline constexpr std::uint64_t kShmOpenByte = 128;

enum class LockType { kRead, kWrite };
inline constexpr LockType kRead = LockType::kRead;
inline constexpr LockType kWrite = LockType::kWrite;

// The lines of /proc/locks about the file, sorted, without their counter and their padding:
//   "POSIX ADVISORY READ 3506 fe:00:10952714 128 128"
// Equal before and after looking means: the looking was harmless. Empty for a file that does not
// exist.
std::vector<std::string> ReadLocksOf(const std::string& path);

// The POSIX locks of one process on the file: {"READ 128-128", "WRITE 120-122"}, sorted as text; a
// lock to the end of the file ends with EOF. The kernel merges neighbours of one type.
std::vector<std::string> LocksOf(const std::string& path, pid_t pid);

// Whether `pid` has a POSIX lock of this type on this byte.
bool HoldsByte(const std::string& path, pid_t pid, LockType type, std::uint64_t byte);

// ---- Waiting -----------------------------------------------------------------------------------

// Asks every few milliseconds until `condition` is true. False when it still is not at the
// deadline.
bool Eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds deadline = std::chrono::seconds(30));

}  // namespace lockscope::testing
