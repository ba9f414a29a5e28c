#include "database.h"

#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "subprocess.h"

namespace lockscope::testing {
namespace {

// What a program printed. Throws where it failed.
std::string OutputOf(Program program) {
  ProgramResult result = RunProgram(program);
  if (result.ok()) return std::move(result.out);
  throw std::runtime_error(program.argv[0] + " failed: " + result.err);
}

// A line of /proc/locks without its counter, cut into words:
//   [->] POSIX ADVISORY WRITE 3506 fe:00:10952714 128 128
struct LockLine {
  bool waits = false;
  std::vector<std::string> words;

  bool IsPosix() const { return !waits && words.at(0) == "POSIX"; }
  const std::string& type() const { return words.at(2); }
  pid_t pid() const { return static_cast<pid_t>(std::stol(words.at(3))); }
  const std::string& file() const { return words.at(4); }
  const std::string& first() const { return words.at(5); }
  const std::string& last() const { return words.at(6); }
};

std::vector<LockLine> AllLocks() {
  std::ifstream stream("/proc/locks");
  std::vector<LockLine> locks;
  for (std::string text; std::getline(stream, text);) {
    std::istringstream words(text);
    LockLine line;
    std::string word;
    words >> word;  // the counter
    while (words >> word) {
      if (word == "->") {
        line.waits = true;
      } else {
        line.words.push_back(word);
      }
    }
    if (line.words.size() == 7) locks.push_back(std::move(line));
  }
  return locks;
}

// Where st_dev is not the number that /proc/locks prints, the inode has to be enough.
bool PrintsOtherDevice(const std::string& path) {
  constexpr auto kBtrfs = 0x9123683E;
  constexpr auto kOverlay = 0x794C7630;
  struct statfs system = {};
  if (statfs(path.c_str(), &system) != 0) return false;
  return system.f_type == kBtrfs || system.f_type == kOverlay;
}

std::vector<LockLine> LockLinesOf(const std::string& path) {
  struct stat file = {};
  if (stat(path.c_str(), &file) != 0) return {};
  std::array<char, 32> device;
  std::snprintf(device.data(), device.size(), "%02x:%02x:", major(file.st_dev), minor(file.st_dev));
  const std::string inode = ":" + std::to_string(file.st_ino);
  const bool any_device = PrintsOtherDevice(path);
  std::vector<LockLine> locks = AllLocks();
  std::erase_if(locks, [&](const LockLine& line) {
    return !line.file().ends_with(inode) ||
           (!any_device && !line.file().starts_with(device.data()));
  });
  return locks;
}

void Transfer(Actor& actor, std::string_view connection) {
  actor.Exec(connection,
             "begin immediate; update t set v = v + 1 where id = 1;"
             "update t set v = v - 1 where id = 2; commit");
}

}  // namespace

// ---- Making ------------------------------------------------------------------------------------

void CreateDatabase(const std::string& path, const DatabaseOptions& options) {
  Actor actor;
  actor.Open("c", path);
  actor.Exec("c", "pragma page_size = " + std::to_string(options.page_size));
  actor.Exec("c", "pragma journal_mode = " + options.journal_mode);
  actor.Exec("c",
             "begin; create table t(id integer primary key, v int, pad blob);"
             "create index tv on t(v)");
  actor.Exec("c",
             "insert into t with recursive c(x) as (select 1 union all select x + 1 from c)"
             "select x, 0, randomblob(300) from c limit " +
                 std::to_string(options.rows));
  actor.Exec("c", "commit");
  actor.Close("c");
}

void LeaveHotJournal(const std::string& path) {
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "pragma cache_size = 1; begin immediate; update t set pad = randomblob(300)");
  writer.Kill();
  const std::string journal = path + "-journal";
  if (FileSize(journal) <= 512 || ReadBytes(journal, 0, 1) == std::string(1, '\0')) {
    throw std::runtime_error("no hot journal at " + path);
  }
}

void LeaveWalToRecover(const std::string& path) {
  Actor writer;
  writer.Open("c", path);
  Transfer(writer, "c");
  Transfer(writer, "c");
  writer.Kill();
  if (FileSize(path + "-wal") <= 32) throw std::runtime_error("no WAL at " + path);
}

std::array<std::unique_ptr<Actor>, 5> HoldReadSlots(const std::string& path) {
  std::array<std::unique_ptr<Actor>, 5> readers;
  Actor writer;
  for (std::size_t slot = 0; slot < readers.size(); ++slot) {
    readers[slot] = std::make_unique<Actor>();
    Actor& reader = *readers[slot];
    reader.Open("c", path);
    if (slot == 1) writer.Open("c", path);
    if (slot > 0) Transfer(writer, "c");
    reader.Exec("c", "begin; select count(*) from t");
    if (!HoldsByte(path + "-shm", reader.pid(), kRead, kWalReadByte + slot)) {
      throw std::runtime_error("the reader did not get slot " + std::to_string(slot));
    }
  }
  return readers;
}

// ---- Copying and breaking ----------------------------------------------------------------------

void CopyFile(const std::string& from, const std::string& to) {
  OutputOf({.argv = {"cp", "--", from, to}});
}

void CopyDatabase(const std::string& from, const std::string& to) {
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    if (FileSize(from + suffix) >= 0) CopyFile(from + suffix, to + suffix);
  }
}

void WriteBytes(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  OutputOf({.argv = {"dd", "of=" + path, "bs=64K", "seek=" + std::to_string(offset),
                     "oflag=seek_bytes", "conv=notrunc", "status=none"},
            .input = bytes});
}

void WriteZeros(const std::string& path, std::uint64_t offset, std::size_t count) {
  WriteBytes(path, offset, std::string(count, '\0'));
}

void WriteNoise(const std::string& path, std::uint64_t offset, std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::string noise;
  while (noise.size() < count) noise += static_cast<char>(generator() & 0xFFU);
  WriteBytes(path, offset, noise);
}

std::string ReadBytes(const std::string& path, std::uint64_t offset, std::size_t count) {
  return OutputOf(
      {.argv = {"dd", "if=" + path, "bs=64K", "skip=" + std::to_string(offset),
                "count=" + std::to_string(count), "iflag=skip_bytes,count_bytes", "status=none"}});
}

std::int64_t FileSize(const std::string& path) {
  struct stat file = {};
  return stat(path.c_str(), &file) == 0 ? file.st_size : -1;
}

std::string IntegrityCheck(const std::string& path) {
  Actor actor;
  actor.Open("c", path);
  const Reply reply = actor.Try("c", "pragma integrity_check(1)");
  std::string verdict = reply.ok() ? reply.text() : reply.message;
  actor.Close("c");
  return verdict;
}

// ---- Locks -------------------------------------------------------------------------------------

namespace {

// Where locks elsewhere come and go between the parts in which the kernel hands out /proc/locks, a
// line may come twice.
std::vector<std::string> SortedOnce(std::vector<std::string> lines) {
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return lines;
}

}  // namespace

std::vector<std::string> ReadLocksOf(const std::string& path) {
  std::vector<std::string> lines;
  for (const LockLine& line : LockLinesOf(path)) {
    std::string text = line.waits ? "->" : "";
    for (const std::string& word : line.words) text += (text.empty() ? "" : " ") + word;
    lines.push_back(std::move(text));
  }
  return SortedOnce(std::move(lines));
}

namespace {

std::vector<std::string> ReadOnceLocksOf(const std::string& path, pid_t pid) {
  std::vector<std::string> locks;
  for (const LockLine& line : LockLinesOf(path)) {
    if (!line.IsPosix() || line.pid() != pid) continue;
    locks.push_back(line.type() + " " + line.first() + "-" + line.last());
  }
  return SortedOnce(std::move(locks));
}

}  // namespace

// /proc/locks is told page by page: while others' locks come and go, a line may be left out.
std::vector<std::string> LocksOf(const std::string& path, pid_t pid) {
  std::vector<std::string> before = ReadOnceLocksOf(path, pid);
  for (int i = 0; i < 20; ++i) {
    std::vector<std::string> locks = ReadOnceLocksOf(path, pid);
    if (locks == before) break;
    before = std::move(locks);
  }
  return before;
}

bool HoldsByte(const std::string& path, pid_t pid, LockType type, std::uint64_t byte) {
  for (const LockLine& line : LockLinesOf(path)) {
    if (!line.IsPosix() || line.pid() != pid) continue;
    if (line.type() != (type == LockType::kRead ? "READ" : "WRITE")) continue;
    if (byte < std::stoull(line.first())) continue;
    if (line.last() == "EOF" || byte <= std::stoull(line.last())) return true;
  }
  return false;
}

// ---- Waiting -----------------------------------------------------------------------------------

bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds deadline) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace lockscope::testing
