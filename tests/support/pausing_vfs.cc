#include "pausing_vfs.h"

#include <array>
#include <atomic>
#include <charconv>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

namespace lockscope::testing {
namespace {

// ---- Points ------------------------------------------------------------------------------------

enum class When { kBefore, kAfter, kRefused };

// What the words after OP may be.
enum class Takes { kNothing, kLevel, kSlots, kFile };

enum class Op {
  kLock,
  kUnlock,
  kCheckReserved,
  kShmLock,
  kShmUnlock,
  kShmMap,
  kShmBarrier,
  kShmUnmap,
  kOpen,
  kClose,
  kRead,
  kWrite,
  kTruncate,
  kSync,
  kDelete,
  kSleep,
};

struct OpName {
  Op op;
  const char* name;
  Takes takes;
};
constexpr std::array<OpName, 16> kOps = {{{Op::kLock, "lock", Takes::kLevel},
                                          {Op::kUnlock, "unlock", Takes::kLevel},
                                          {Op::kCheckReserved, "check-reserved", Takes::kNothing},
                                          {Op::kShmLock, "shm-lock", Takes::kSlots},
                                          {Op::kShmUnlock, "shm-unlock", Takes::kSlots},
                                          {Op::kShmMap, "shm-map", Takes::kNothing},
                                          {Op::kShmBarrier, "shm-barrier", Takes::kNothing},
                                          {Op::kShmUnmap, "shm-unmap", Takes::kNothing},
                                          {Op::kOpen, "open", Takes::kFile},
                                          {Op::kClose, "close", Takes::kFile},
                                          {Op::kRead, "read", Takes::kFile},
                                          {Op::kWrite, "write", Takes::kFile},
                                          {Op::kTruncate, "truncate", Takes::kFile},
                                          {Op::kSync, "sync", Takes::kFile},
                                          {Op::kDelete, "delete", Takes::kFile},
                                          {Op::kSleep, "sleep", Takes::kNothing}}};

constexpr std::array<const char*, 3> kWhens = {"before", "after", "refused"};
constexpr std::array<const char*, 5> kLevels = {"none", "shared", "reserved", "pending",
                                                "exclusive"};
constexpr std::array<const char*, 4> kFiles = {"main", "journal", "wal", "other"};
constexpr std::array<const char*, 2> kModes = {"shared", "exclusive"};
constexpr std::array<const char*, 8> kSlots = {"write", "ckpt",  "recover", "read0",
                                               "read1", "read2", "read3",   "read4"};

// The position of `word` in `words`.
template <std::size_t N>
std::optional<int> IndexOf(const std::array<const char*, N>& words, std::string_view word) {
  for (std::size_t i = 0; i < N; ++i) {
    if (word == words[i]) return static_cast<int>(i);
  }
  return std::nullopt;
}

std::optional<int> ParseNumber(std::string_view text) {
  int number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

// One call into the VFS. `detail` is the level, the kind of file, or the shm mode, by what `op`
// takes.
struct Call {
  Op op;
  const char* path = nullptr;
  int detail = 0;
  int first_slot = 0;
  int slot_count = 0;
};

const OpName& NameOf(Op op) { return kOps[static_cast<std::size_t>(op)]; }

std::string Describe(When when, const Call& call, const std::string& thread) {
  std::ostringstream text;
  text << kWhens[static_cast<std::size_t>(when)] << ' ' << NameOf(call.op).name;
  const auto detail = static_cast<std::size_t>(call.detail);
  switch (NameOf(call.op).takes) {
    case Takes::kNothing:
      break;
    case Takes::kLevel:
      text << ' ' << kLevels[detail];
      break;
    case Takes::kFile:
      text << ' ' << kFiles[detail];
      break;
    case Takes::kSlots:
      text << ' ' << call.first_slot << '+' << call.slot_count << ' ' << kModes[detail];
      break;
  }
  if (!thread.empty()) text << " by=" << thread;
  return text.str();
}

class Point {
 public:
  Point(std::string_view text, bool stop) : stop_(stop) {
    std::istringstream words{std::string(text)};
    std::string word;
    words >> word;
    const auto when = IndexOf(kWhens, word);
    if (!when) throw std::invalid_argument("before, after or refused expected, not '" + word + "'");
    when_ = static_cast<When>(*when);
    word.clear();
    words >> word;
    const OpName* op = nullptr;
    for (const OpName& candidate : kOps) {
      if (word == candidate.name) op = &candidate;
    }
    if (op == nullptr) throw std::invalid_argument("unknown operation '" + word + "'");
    op_ = op->op;
    while (words >> word) {
      if (!ParseOption(word) && !ParseWhat(op->takes, word)) {
        throw std::invalid_argument("'" + word + "' says nothing about " + op->name);
      }
    }
  }

  bool stop() const { return stop_; }

  // True where the call is the one that was meant; counts down to the nth.
  bool Hit(When when, const Call& call, const std::string& thread) {
    if (when != when_ || call.op != op_) return false;
    if (detail_ && *detail_ != call.detail) return false;
    if (slot_ && (*slot_ < call.first_slot || *slot_ >= call.first_slot + call.slot_count)) {
      return false;
    }
    if (range_ && *range_ != std::pair(call.first_slot, call.slot_count)) return false;
    if (!by_.empty() && by_ != thread) return false;
    if (!of_.empty() && (call.path == nullptr || std::strstr(call.path, of_.c_str()) == nullptr)) {
      return false;
    }
    return --nth_ == 0;
  }

 private:
  bool ParseOption(std::string_view word) {
    const auto equals = word.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string_view name = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (name == "by") {
      by_ = value;
    } else if (name == "of") {
      of_ = value;
    } else if (const auto nth = ParseNumber(value); name == "nth" && nth && *nth > 0) {
      nth_ = *nth;
    } else {
      return false;
    }
    return true;
  }

  bool ParseWhat(Takes takes, std::string_view word) {
    switch (takes) {
      case Takes::kNothing:
        return false;
      case Takes::kLevel:
        return (detail_ = IndexOf(kLevels, word)).has_value();
      case Takes::kFile:
        return (detail_ = IndexOf(kFiles, word)).has_value();
      case Takes::kSlots:
        break;
    }
    if (const auto mode = IndexOf(kModes, word)) {
      detail_ = mode;
      return true;
    }
    if (const auto slot = IndexOf(kSlots, word)) {
      slot_ = slot;
      return true;
    }
    const auto plus = word.find('+');
    if (plus == std::string_view::npos) return false;
    const auto first = ParseNumber(word.substr(0, plus));
    const auto count = ParseNumber(word.substr(plus + 1));
    if (!first || !count) return false;
    range_ = std::pair(*first, *count);
    return true;
  }

  bool stop_;
  When when_ = When::kBefore;
  Op op_ = Op::kLock;
  std::optional<int> detail_;
  std::optional<int> slot_;
  std::optional<std::pair<int, int>> range_;
  std::string by_;
  std::string of_;
  int nth_ = 1;
};

thread_local std::string thread_name;

// The points that are set, and the threads that wait at one.
class Points {
 public:
  void Set(Point point) {
    const std::lock_guard lock(mutex_);
    points_.push_back(std::move(point));
    any_.store(true, std::memory_order_relaxed);
  }

  void Clear() {
    const std::lock_guard lock(mutex_);
    points_.clear();
    any_.store(false, std::memory_order_relaxed);
  }

  void Continue() {
    const std::lock_guard lock(mutex_);
    ++releases_;
    released_.notify_all();
  }

  void Listen(std::function<void(const std::string&, bool)> listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
  }

  void Reach(When when, const Call& call) {
    if (!any_.load(std::memory_order_relaxed)) return;
    std::unique_lock lock(mutex_);
    bool hit = false;
    bool stop = false;
    std::erase_if(points_, [&](Point& point) {
      if (!point.Hit(when, call, thread_name)) return false;
      hit = true;
      stop = stop || point.stop();
      return true;
    });
    if (!hit) return;
    any_.store(!points_.empty(), std::memory_order_relaxed);
    if (listener_) listener_(Describe(when, call, thread_name), stop);
    const std::uint64_t seen = releases_;
    if (stop) released_.wait(lock, [&] { return releases_ != seen; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable released_;
  std::vector<Point> points_;
  std::uint64_t releases_ = 0;
  std::function<void(const std::string&, bool)> listener_;
  std::atomic<bool> any_{false};  // a hint that spares the mutex; written under it
};

// Never destroyed: threads may still be in SQLite when the process ends.
Points& AllPoints() {
  static Points* const points = new Points;
  return *points;
}

// Makes one call with its points before and after it.
template <class Forward>
int Through(const Call& call, Forward forward) noexcept {
  AllPoints().Reach(When::kBefore, call);
  const int rc = forward();
  AllPoints().Reach(rc == SQLITE_OK ? When::kAfter : When::kRefused, call);
  return rc;
}

// ---- Files -------------------------------------------------------------------------------------

// The base's file follows in the same allocation.
struct PausingFile {
  sqlite3_file abi;
  sqlite3_io_methods methods;  // this file's own: its null slots are those of the base
  const char* path;            // SQLite's, valid until xClose; null for a temporary file
  int kind;                    // an index into kFiles

  sqlite3_file* base() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  const sqlite3_io_methods& to() { return *base()->pMethods; }
};
static_assert(sizeof(PausingFile) % alignof(sqlite3_int64) == 0);

PausingFile* Of(sqlite3_file* file) { return reinterpret_cast<PausingFile*>(file); }

Call OnFile(PausingFile* f, Op op) { return {.op = op, .path = f->path, .detail = f->kind}; }

int Close(sqlite3_file* file) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kClose), [&] { return f->to().xClose(f->base()); });
}
int Read(sqlite3_file* file, void* data, int size, sqlite3_int64 offset) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kRead),
                 [&] { return f->to().xRead(f->base(), data, size, offset); });
}
int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kWrite),
                 [&] { return f->to().xWrite(f->base(), data, size, offset); });
}
int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kTruncate), [&] { return f->to().xTruncate(f->base(), size); });
}
int Sync(sqlite3_file* file, int flags) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kSync), [&] { return f->to().xSync(f->base(), flags); });
}
int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  return Of(file)->to().xFileSize(Of(file)->base(), size);
}
int Lock(sqlite3_file* file, int level) {
  PausingFile* f = Of(file);
  return Through({.op = Op::kLock, .path = f->path, .detail = level},
                 [&] { return f->to().xLock(f->base(), level); });
}
int Unlock(sqlite3_file* file, int level) {
  PausingFile* f = Of(file);
  return Through({.op = Op::kUnlock, .path = f->path, .detail = level},
                 [&] { return f->to().xUnlock(f->base(), level); });
}
int CheckReservedLock(sqlite3_file* file, int* reserved) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kCheckReserved),
                 [&] { return f->to().xCheckReservedLock(f->base(), reserved); });
}
int FileControl(sqlite3_file* file, int op, void* argument) {
  return Of(file)->to().xFileControl(Of(file)->base(), op, argument);
}
int SectorSize(sqlite3_file* file) { return Of(file)->to().xSectorSize(Of(file)->base()); }
int DeviceCharacteristics(sqlite3_file* file) {
  return Of(file)->to().xDeviceCharacteristics(Of(file)->base());
}
int ShmMap(sqlite3_file* file, int region, int size, int extend, void volatile** map) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kShmMap),
                 [&] { return f->to().xShmMap(f->base(), region, size, extend, map); });
}
int ShmLock(sqlite3_file* file, int first, int count, int flags) {
  PausingFile* f = Of(file);
  return Through({.op = (flags & SQLITE_SHM_UNLOCK) != 0 ? Op::kShmUnlock : Op::kShmLock,
                  .path = f->path,
                  .detail = (flags & SQLITE_SHM_EXCLUSIVE) != 0 ? 1 : 0,
                  .first_slot = first,
                  .slot_count = count},
                 [&] { return f->to().xShmLock(f->base(), first, count, flags); });
}
void ShmBarrier(sqlite3_file* file) {
  PausingFile* f = Of(file);
  Through(OnFile(f, Op::kShmBarrier), [&] {
    f->to().xShmBarrier(f->base());
    return SQLITE_OK;
  });
}
int ShmUnmap(sqlite3_file* file, int remove) {
  PausingFile* f = Of(file);
  return Through(OnFile(f, Op::kShmUnmap), [&] { return f->to().xShmUnmap(f->base(), remove); });
}
int Fetch(sqlite3_file* file, sqlite3_int64 offset, int size, void** page) {
  return Of(file)->to().xFetch(Of(file)->base(), offset, size, page);
}
int Unfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
  return Of(file)->to().xUnfetch(Of(file)->base(), offset, page);
}

template <class Function>
Function Where(Function base, Function ours) {
  return base != nullptr ? ours : nullptr;
}

// Slots beyond the base's iVersion do not exist there and are not read.
sqlite3_io_methods MethodsLike(const sqlite3_io_methods& base) {
  sqlite3_io_methods m = {};
  m.iVersion = base.iVersion < 3 ? base.iVersion : 3;
  m.xClose = Close;
  m.xRead = Read;
  m.xWrite = Write;
  m.xTruncate = Truncate;
  m.xSync = Sync;
  m.xFileSize = FileSize;
  m.xLock = Lock;
  m.xUnlock = Unlock;
  m.xCheckReservedLock = CheckReservedLock;
  m.xFileControl = FileControl;
  m.xSectorSize = Where(base.xSectorSize, SectorSize);
  m.xDeviceCharacteristics = Where(base.xDeviceCharacteristics, DeviceCharacteristics);
  if (base.iVersion >= 2) {
    m.xShmMap = Where(base.xShmMap, ShmMap);
    m.xShmLock = Where(base.xShmLock, ShmLock);
    m.xShmBarrier = Where(base.xShmBarrier, ShmBarrier);
    m.xShmUnmap = Where(base.xShmUnmap, ShmUnmap);
  }
  if (base.iVersion >= 3) {
    m.xFetch = Where(base.xFetch, Fetch);
    m.xUnfetch = Where(base.xUnfetch, Unfetch);
  }
  return m;
}

// ---- The VFS -----------------------------------------------------------------------------------

using Symbol = void (*)();

sqlite3_vfs* Base(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

int KindOf(int open_flags) {
  if ((open_flags & SQLITE_OPEN_MAIN_DB) != 0) return 0;
  if ((open_flags & SQLITE_OPEN_MAIN_JOURNAL) != 0) return 1;
  if ((open_flags & SQLITE_OPEN_WAL) != 0) return 2;
  return 3;
}

int KindOf(std::string_view path) {
  if (path.ends_with("-journal")) return 1;
  if (path.ends_with("-wal")) return 2;
  return 3;
}

int Open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  PausingFile* f =
      new (file) PausingFile{.abi = {}, .methods = {}, .path = path, .kind = KindOf(flags)};
  f->base()->pMethods = nullptr;
  return Through(OnFile(f, Op::kOpen), [&] {
    const int rc = Base(vfs)->xOpen(Base(vfs), path, f->base(), flags, out_flags);
    if (f->base()->pMethods != nullptr) {
      f->methods = MethodsLike(f->to());
      f->abi.pMethods = &f->methods;
    }
    return rc;
  });
}
int Delete(sqlite3_vfs* vfs, const char* path, int sync_directory) {
  return Through({.op = Op::kDelete, .path = path, .detail = KindOf(path)},
                 [&] { return Base(vfs)->xDelete(Base(vfs), path, sync_directory); });
}
int Access(sqlite3_vfs* vfs, const char* path, int flags, int* result) {
  return Base(vfs)->xAccess(Base(vfs), path, flags, result);
}
int FullPathname(sqlite3_vfs* vfs, const char* path, int size, char* full) {
  return Base(vfs)->xFullPathname(Base(vfs), path, size, full);
}
void* DlOpen(sqlite3_vfs* vfs, const char* path) { return Base(vfs)->xDlOpen(Base(vfs), path); }
void DlError(sqlite3_vfs* vfs, int size, char* text) { Base(vfs)->xDlError(Base(vfs), size, text); }
Symbol DlSym(sqlite3_vfs* vfs, void* handle, const char* symbol) {
  return Base(vfs)->xDlSym(Base(vfs), handle, symbol);
}
void DlClose(sqlite3_vfs* vfs, void* handle) { Base(vfs)->xDlClose(Base(vfs), handle); }
int Randomness(sqlite3_vfs* vfs, int size, char* bytes) {
  return Base(vfs)->xRandomness(Base(vfs), size, bytes);
}
int Sleep(sqlite3_vfs* vfs, int microseconds) {
  const Call call = {.op = Op::kSleep};
  AllPoints().Reach(When::kBefore, call);
  const int slept = Base(vfs)->xSleep(Base(vfs), microseconds);
  AllPoints().Reach(When::kAfter, call);
  return slept;
}
int CurrentTime(sqlite3_vfs* vfs, double* now) { return Base(vfs)->xCurrentTime(Base(vfs), now); }
int GetLastError(sqlite3_vfs* vfs, int size, char* text) {
  return Base(vfs)->xGetLastError(Base(vfs), size, text);
}
int CurrentTimeInt64(sqlite3_vfs* vfs, sqlite3_int64* now) {
  return Base(vfs)->xCurrentTimeInt64(Base(vfs), now);
}
int SetSystemCall(sqlite3_vfs* vfs, const char* name, sqlite3_syscall_ptr call) {
  return Base(vfs)->xSetSystemCall(Base(vfs), name, call);
}
sqlite3_syscall_ptr GetSystemCall(sqlite3_vfs* vfs, const char* name) {
  return Base(vfs)->xGetSystemCall(Base(vfs), name);
}
const char* NextSystemCall(sqlite3_vfs* vfs, const char* name) {
  return Base(vfs)->xNextSystemCall(Base(vfs), name);
}

sqlite3_vfs VfsOver(sqlite3_vfs* base) {
  sqlite3_vfs v = {};
  v.iVersion = base->iVersion < 3 ? base->iVersion : 3;
  v.szOsFile = static_cast<int>(sizeof(PausingFile)) + base->szOsFile;
  v.mxPathname = base->mxPathname;
  v.zName = kPausingVfs;
  v.pAppData = base;
  v.xOpen = Open;
  v.xDelete = Delete;
  v.xAccess = Access;
  v.xFullPathname = FullPathname;
  v.xDlOpen = Where(base->xDlOpen, DlOpen);
  v.xDlError = Where(base->xDlError, DlError);
  v.xDlSym = base->xDlSym != nullptr ? DlSym : nullptr;
  v.xDlClose = Where(base->xDlClose, DlClose);
  v.xRandomness = Randomness;
  v.xSleep = Sleep;
  v.xCurrentTime = CurrentTime;
  v.xGetLastError = Where(base->xGetLastError, GetLastError);
  if (base->iVersion >= 2) v.xCurrentTimeInt64 = Where(base->xCurrentTimeInt64, CurrentTimeInt64);
  if (base->iVersion >= 3) {
    v.xSetSystemCall = Where(base->xSetSystemCall, SetSystemCall);
    v.xGetSystemCall = Where(base->xGetSystemCall, GetSystemCall);
    v.xNextSystemCall = Where(base->xNextSystemCall, NextSystemCall);
  }
  return v;
}

}  // namespace

int RegisterPausingVfs() {
  static sqlite3_vfs vfs;
  if (const int rc = sqlite3_initialize(); rc != SQLITE_OK) return rc;
  if (vfs.pAppData != nullptr) return SQLITE_MISUSE;
  vfs = VfsOver(sqlite3_vfs_find(nullptr));
  return sqlite3_vfs_register(&vfs, 1);
}

void SetPoint(std::string_view point, bool stop) { AllPoints().Set(Point(point, stop)); }
void ContinueAll() { AllPoints().Continue(); }
void ClearPoints() { AllPoints().Clear(); }
void OnPoint(std::function<void(const std::string& event, bool stops)> listener) {
  AllPoints().Listen(std::move(listener));
}
void NameThread(std::string name) { thread_name = std::move(name); }

}  // namespace lockscope::testing
