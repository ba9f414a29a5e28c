#include "core/shim/fake_vfs.h"

#include <cstring>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace lockscope::testing {

struct FakeVfs::File {
  sqlite3_file base;  // first: this is the sqlite3_file that the shim sees
  sqlite3_io_methods methods;
  // What a newer SQLite's struct may have behind it: never to be read by who knows only iVersion 3.
  void* beyond;
  FakeVfs* vfs;

  sqlite3_file* lower() {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(this) + sizeof(File));
  }
};

struct FakeVfs::Methods {
  static FakeVfs& Self(sqlite3_vfs* vfs) { return *static_cast<FakeVfs*>(vfs->pAppData); }
  static File& Self(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static sqlite3_vfs* Counted(sqlite3_vfs* vfs, const char* method) {
    Self(vfs).Count(method);
    return Self(vfs).base_;
  }
  static sqlite3_file* Counted(sqlite3_file* file, const char* method) {
    Self(file).vfs->Count(method);
    return Self(file).lower();
  }

  // ---- files ----

  static int xClose(sqlite3_file* file) {
    sqlite3_file* lower = Counted(file, "xClose");
    --Self(file).vfs->open_files_;
    file->pMethods = nullptr;
    return lower->pMethods->xClose(lower);
  }
#define LOCKSCOPE_FORWARD(method, parameters, ...)                  \
  static int method parameters {                                    \
    file = Counted(file, #method);                                  \
    return file->pMethods->method(file __VA_OPT__(, ) __VA_ARGS__); \
  }
  LOCKSCOPE_FORWARD(xRead, (sqlite3_file * file, void* buffer, int bytes, sqlite3_int64 offset),
                    buffer, bytes, offset)
  LOCKSCOPE_FORWARD(xWrite,
                    (sqlite3_file * file, const void* buffer, int bytes, sqlite3_int64 offset),
                    buffer, bytes, offset)
  LOCKSCOPE_FORWARD(xTruncate, (sqlite3_file * file, sqlite3_int64 bytes), bytes)
  LOCKSCOPE_FORWARD(xSync, (sqlite3_file * file, int flags), flags)
  LOCKSCOPE_FORWARD(xFileSize, (sqlite3_file * file, sqlite3_int64* bytes), bytes)
  LOCKSCOPE_FORWARD(xUnlock, (sqlite3_file * file, int level), level)
  LOCKSCOPE_FORWARD(xCheckReservedLock, (sqlite3_file * file, int* result), result)
  LOCKSCOPE_FORWARD(xSectorSize, (sqlite3_file * file))
  LOCKSCOPE_FORWARD(xDeviceCharacteristics, (sqlite3_file * file))
  LOCKSCOPE_FORWARD(xShmMap,
                    (sqlite3_file * file, int region, int bytes, int extend, void volatile** page),
                    region, bytes, extend, page)
  LOCKSCOPE_FORWARD(xShmUnmap, (sqlite3_file * file, int delete_flag), delete_flag)
  LOCKSCOPE_FORWARD(xFetch, (sqlite3_file * file, sqlite3_int64 offset, int bytes, void** page),
                    offset, bytes, page)
  LOCKSCOPE_FORWARD(xUnfetch, (sqlite3_file * file, sqlite3_int64 offset, void* page), offset, page)
#undef LOCKSCOPE_FORWARD
  static int xLock(sqlite3_file* file, int level) {
    FakeVfs& fake = *Self(file).vfs;
    file = Counted(file, "xLock");
    return fake.AfterLock(file->pMethods->xLock(file, level));
  }
  static int xShmLock(sqlite3_file* file, int offset, int count, int flags) {
    FakeVfs& fake = *Self(file).vfs;
    constexpr int kWriteLock = 0;
    const bool writes = offset == kWriteLock && (flags & SQLITE_SHM_LOCK) != 0;
    if (writes && fake.before_write_lock) std::exchange(fake.before_write_lock, nullptr)();
    file = Counted(file, "xShmLock");
    const int result = file->pMethods->xShmLock(file, offset, count, flags);
    const bool released = (flags & SQLITE_SHM_UNLOCK) != 0;
    if (released && fake.after_release) std::exchange(fake.after_release, nullptr)();
    return fake.AfterLock(result);
  }
  static int xFileControl(sqlite3_file* file, int operation, void* argument) {
    const bool deny = operation == SQLITE_FCNTL_VFSNAME && Self(file).vfs->deny_vfsname;
    file = Counted(file, "xFileControl");
    return deny ? SQLITE_NOTFOUND : file->pMethods->xFileControl(file, operation, argument);
  }
  static void xShmBarrier(sqlite3_file* file) {
    file = Counted(file, "xShmBarrier");
    file->pMethods->xShmBarrier(file);
  }

  static sqlite3_io_methods FileMethods(const FakeVfs& fake) {
    sqlite3_io_methods methods = {fake.file_version,
                                  xClose,
                                  xRead,
                                  xWrite,
                                  xTruncate,
                                  xSync,
                                  xFileSize,
                                  xLock,
                                  xUnlock,
                                  xCheckReservedLock,
                                  xFileControl,
                                  fake.without_sector_size ? nullptr : xSectorSize,
                                  xDeviceCharacteristics,
                                  fake.without_shm_map ? nullptr : xShmMap,
                                  xShmLock,
                                  xShmBarrier,
                                  xShmUnmap,
                                  xFetch,
                                  xUnfetch};
    return methods;
  }

  // ---- the VFS ----

  static int xOpen(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
    FakeVfs& fake = Self(vfs);
    fake.Count("xOpen");
    file->pMethods = nullptr;
    if ((flags & SQLITE_OPEN_MAIN_DB) == 0) {
      return fake.base_->xOpen(fake.base_, fake.Place(name), file, flags, out);
    }
    if (fake.open_result != SQLITE_OK && !fake.leave_methods) return fake.open_result;
    auto* self = new (static_cast<void*>(file)) File{};
    self->vfs = &fake;
    const int result = fake.base_->xOpen(fake.base_, name, self->lower(), flags, out);
    if (result != SQLITE_OK) return result;
    ++fake.open_files_;
    self->methods = FileMethods(fake);
    self->base.pMethods = &self->methods;
    return fake.open_result;
  }
#define LOCKSCOPE_FORWARD(type, method, parameters, ...) \
  static type method parameters {                        \
    vfs = Counted(vfs, #method);                         \
    return vfs->method(vfs __VA_OPT__(, ) __VA_ARGS__);  \
  }
  static int xDelete(sqlite3_vfs* vfs, const char* name, int sync) {
    name = Self(vfs).Place(name);
    vfs = Counted(vfs, "xDelete");
    return vfs->xDelete(vfs, name, sync);
  }
  static int xAccess(sqlite3_vfs* vfs, const char* name, int flags, int* result) {
    name = Self(vfs).Place(name);
    vfs = Counted(vfs, "xAccess");
    return vfs->xAccess(vfs, name, flags, result);
  }
  LOCKSCOPE_FORWARD(int, xFullPathname, (sqlite3_vfs * vfs, const char* name, int bytes, char* out),
                    name, bytes, out)
  LOCKSCOPE_FORWARD(void*, xDlOpen, (sqlite3_vfs * vfs, const char* name), name)
  LOCKSCOPE_FORWARD(void, xDlError, (sqlite3_vfs * vfs, int bytes, char* message), bytes, message)
  LOCKSCOPE_FORWARD(void, xDlClose, (sqlite3_vfs * vfs, void* library), library)
  LOCKSCOPE_FORWARD(int, xRandomness, (sqlite3_vfs * vfs, int bytes, char* out), bytes, out)
  LOCKSCOPE_FORWARD(int, xSleep, (sqlite3_vfs * vfs, int microseconds), microseconds)
  LOCKSCOPE_FORWARD(int, xCurrentTime, (sqlite3_vfs * vfs, double* now), now)
  LOCKSCOPE_FORWARD(int, xGetLastError, (sqlite3_vfs * vfs, int bytes, char* message), bytes,
                    message)
  LOCKSCOPE_FORWARD(int, xCurrentTimeInt64, (sqlite3_vfs * vfs, sqlite3_int64* now), now)
  LOCKSCOPE_FORWARD(const char*, xNextSystemCall, (sqlite3_vfs * vfs, const char* name), name)
#undef LOCKSCOPE_FORWARD
  static void (*xDlSym(sqlite3_vfs* vfs, void* library, const char* symbol))(void) {
    vfs = Counted(vfs, "xDlSym");
    return vfs->xDlSym(vfs, library, symbol);
  }
  static int xSetSystemCall(sqlite3_vfs* vfs, const char* name, sqlite3_syscall_ptr) {
    Self(vfs).last_system_call = name;  // not the real one: it would hold for the whole process
    Counted(vfs, "xSetSystemCall");
    return SQLITE_OK;
  }
  static sqlite3_syscall_ptr xGetSystemCall(sqlite3_vfs* vfs, const char* name) {
    vfs = Counted(vfs, "xGetSystemCall");
    return vfs->xGetSystemCall(vfs, name);
  }
};

FakeVfs::FakeVfs(const std::string& name, int version, bool bare)
    : name_(name), base_(sqlite3_vfs_find("unix")) {
  vfs_.iVersion = version;
  vfs_.szOsFile = static_cast<int>(sizeof(File)) + base_->szOsFile;
  vfs_.mxPathname = base_->mxPathname;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = Methods::xOpen;
  vfs_.xDelete = Methods::xDelete;
  vfs_.xAccess = Methods::xAccess;
  vfs_.xFullPathname = Methods::xFullPathname;
  vfs_.xRandomness = Methods::xRandomness;
  vfs_.xSleep = Methods::xSleep;
  vfs_.xCurrentTime = Methods::xCurrentTime;
  if (!bare) {
    vfs_.xDlOpen = Methods::xDlOpen;
    vfs_.xDlError = Methods::xDlError;
    vfs_.xDlSym = Methods::xDlSym;
    vfs_.xDlClose = Methods::xDlClose;
    vfs_.xGetLastError = Methods::xGetLastError;
    vfs_.xCurrentTimeInt64 = Methods::xCurrentTimeInt64;
    vfs_.xSetSystemCall = Methods::xSetSystemCall;
    vfs_.xGetSystemCall = Methods::xGetSystemCall;
    vfs_.xNextSystemCall = Methods::xNextSystemCall;
  }
  if (sqlite3_vfs_register(&vfs_, 0) != SQLITE_OK) throw std::runtime_error("no fake VFS");
}

void FakeVfs::Count(const char* method) {
  const std::lock_guard lock(mutex_);
  ++calls_[method];
}

int FakeVfs::AfterLock(int result) {
  if (result == SQLITE_BUSY && after_refusal) std::exchange(after_refusal, nullptr)();
  return result;
}

const char* FakeVfs::Place(const char* name) {
  constexpr std::string_view kWal = "-wal";
  if (!wal_elsewhere || name == nullptr || !std::string_view(name).ends_with(kWal)) return name;
  const std::lock_guard lock(mutex_);
  std::string& place = places_[name];
  // SQLite's names end with several zeros: URI parameters may follow.
  if (place.empty()) {
    const std::string_view database = std::string_view(name).substr(0, strlen(name) - kWal.size());
    place = std::string(database) + "-elsewhere" + std::string(4, '\0');
  }
  return place.c_str();
}

int FakeVfs::Calls(const std::string& method) const {
  const std::lock_guard lock(mutex_);
  const auto found = calls_.find(method);
  return found == calls_.end() ? 0 : found->second;
}

}  // namespace lockscope::testing
