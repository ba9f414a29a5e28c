// Texts of /proc/locks and of /proc/PID/fdinfo/FD.
//
//   1  a lock that is told can be one: an owner, a range
//   2  a text is its lines; one that does not parse takes no other with it
//   3  written as the kernel writes it, a lock is read back the same
//   4  fdinfo has the same lines behind "lock:", and no other
#include "kernel/proc_locks.h"

#include <sys/sysmacros.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string>

#include "fuzz/check.h"

namespace lockscope::fuzz {
namespace {

using kernel::PosixLock;
using Locks = std::vector<PosixLock>;

std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> lines(1);
  for (const char character : text) {
    if (character == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += character;
    }
  }
  return lines;
}

std::string Written(const PosixLock& lock) {
  std::array<char, 200> line{};
  std::snprintf(line.data(), line.size(),
                "1: %sPOSIX  ADVISORY  %s %" PRId64 " %02x:%02x:%" PRIu64 " %" PRIu64 " ",
                lock.waiting ? "-> " : "", lock.write ? "WRITE" : "READ", lock.pid,
                major(lock.device), minor(lock.device), lock.inode, lock.bytes.first);
  return line.data() + (lock.bytes.last == UINT64_MAX ? "EOF" : std::to_string(lock.bytes.last));
}

void CheckLock(const PosixLock& lock) {
  FUZZ_CHECK(lock.pid > 0);
  FUZZ_CHECK(lock.bytes.first <= lock.bytes.last);
  FUZZ_CHECK(lock.bytes.Contains(lock.bytes) && lock.bytes.Overlaps(lock.bytes));
  FUZZ_CHECK(kernel::ParseLockLine(Written(lock)) == lock);
}

// The locks of a text, line by line.
template <class Parse>
Locks LineByLine(std::string_view text, const Parse& parse) {
  Locks all;
  for (const std::string& line : LinesOf(text)) {
    const Locks locks = parse(line);
    FUZZ_CHECK(locks.size() <= 1);
    all.insert(all.end(), locks.begin(), locks.end());
  }
  return all;
}

std::string AsFdinfo(std::string_view text) {
  std::string fdinfo;
  for (const std::string& line : LinesOf(text)) fdinfo += "lock:\t" + line + "\n";
  return fdinfo;
}

PosixLock LockOf(Bytes bytes) {
  const auto flags = TakeNumber<std::uint8_t>(bytes);
  const auto major_number = TakeNumber<unsigned>(bytes);
  const auto minor_number = TakeNumber<unsigned>(bytes);
  PosixLock lock;
  lock.write = (flags & 1) != 0;
  lock.waiting = (flags & 2) != 0;
  lock.device = makedev(major_number, minor_number);
  lock.pid = TakeNumber<std::int64_t>(bytes);
  lock.inode = TakeNumber<std::uint64_t>(bytes);
  lock.bytes.first = TakeNumber<std::uint64_t>(bytes);
  lock.bytes.last = (flags & 4) != 0 ? UINT64_MAX : TakeNumber<std::uint64_t>(bytes);
  return lock;
}

// Numbers written as the kernel writes them are read back, where they can be a lock's.
void CheckNumbers(const PosixLock& lock) {
  const auto read = kernel::ParseLockLine(Written(lock));
  FUZZ_CHECK(read.has_value() == (lock.pid > 0 && lock.bytes.first <= lock.bytes.last));
  FUZZ_CHECK(!read || *read == lock);
}

void TryProcLocks(Bytes bytes) {
  CheckNumbers(LockOf(bytes));
  const std::string_view text = AsText(bytes);
  const Locks locks = kernel::ParseProcLocks(text);
  for (const PosixLock& lock : locks) CheckLock(lock);
  FUZZ_CHECK(locks == LineByLine(text, kernel::ParseProcLocks));
  FUZZ_CHECK(locks == kernel::ParseFdinfoLocks(AsFdinfo(text)));

  const Locks own = kernel::ParseFdinfoLocks(text);
  for (const PosixLock& lock : own) CheckLock(lock);
  FUZZ_CHECK(own == LineByLine(text, kernel::ParseFdinfoLocks));
  // "lock:" is not the number of a lock, so that no line is one in both.
  FUZZ_CHECK(locks.size() + own.size() <= LinesOf(text).size());
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryProcLocks)
