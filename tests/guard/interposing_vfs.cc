#include "interposing_vfs.h"

#include <new>
#include <utility>

namespace lockscope::testing {
namespace {

Interposer g_interposer;

void Tell(const Moment& moment) {
  if (g_interposer) g_interposer(moment);
}

// A main database: the file of "unix" lies behind it.
struct File {
  sqlite3_file base;
  volatile std::uint8_t* wal_index;
};
constexpr int kLowerOffset = 64;
static_assert(sizeof(File) <= kLowerOffset);

File& Self(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
sqlite3_file* Lower(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + kLowerOffset);
}

template <auto Slot, typename... Arguments>
int Forward(sqlite3_file* file, Arguments... arguments) {
  sqlite3_file* lower = Lower(file);
  return (lower->pMethods->*Slot)(lower, arguments...);
}

int ShmMap(sqlite3_file* file, int region, int bytes, int extend, void volatile** page) {
  const int result = Forward<&sqlite3_io_methods::xShmMap>(file, region, bytes, extend, page);
  if (region == 0) Self(file).wal_index = static_cast<volatile std::uint8_t*>(*page);
  return result;
}

int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
  const bool unlocks = (flags & SQLITE_SHM_UNLOCK) != 0;
  Moment moment{.kind = Moment::Kind::kShmLock,
                .offset = offset,
                .count = count,
                .wal_index = Self(file).wal_index};
  if (!unlocks) Tell(moment);
  const int result = Forward<&sqlite3_io_methods::xShmLock>(file, offset, count, flags);
  moment.kind = Moment::Kind::kShmUnlocked;
  if (unlocks) Tell(moment);
  return result;
}

void ShmBarrier(sqlite3_file* file) {
  Lower(file)->pMethods->xShmBarrier(Lower(file));
  Tell({.kind = Moment::Kind::kShmBarrier, .wal_index = Self(file).wal_index});
}

int ShmUnmap(sqlite3_file* file, int delete_flag) {
  Self(file).wal_index = nullptr;
  return Forward<&sqlite3_io_methods::xShmUnmap>(file, delete_flag);
}

int Unfetch(sqlite3_file* file, sqlite3_int64 offset, void* page) {
  Tell({.kind = Moment::Kind::kUnfetch, .wal_index = Self(file).wal_index});
  return Forward<&sqlite3_io_methods::xUnfetch>(file, offset, page);
}

const sqlite3_io_methods kMethods = {
    .iVersion = 3,
    .xClose = Forward<&sqlite3_io_methods::xClose>,
    .xRead = Forward<&sqlite3_io_methods::xRead>,
    .xWrite = Forward<&sqlite3_io_methods::xWrite>,
    .xTruncate = Forward<&sqlite3_io_methods::xTruncate>,
    .xSync = Forward<&sqlite3_io_methods::xSync>,
    .xFileSize = Forward<&sqlite3_io_methods::xFileSize>,
    .xLock = Forward<&sqlite3_io_methods::xLock>,
    .xUnlock = Forward<&sqlite3_io_methods::xUnlock>,
    .xCheckReservedLock = Forward<&sqlite3_io_methods::xCheckReservedLock>,
    .xFileControl = Forward<&sqlite3_io_methods::xFileControl>,
    .xSectorSize = Forward<&sqlite3_io_methods::xSectorSize>,
    .xDeviceCharacteristics = Forward<&sqlite3_io_methods::xDeviceCharacteristics>,
    .xShmMap = ShmMap,
    .xShmLock = ShmLock,
    .xShmBarrier = ShmBarrier,
    .xShmUnmap = ShmUnmap,
    .xFetch = Forward<&sqlite3_io_methods::xFetch>,
    .xUnfetch = Unfetch,
};

sqlite3_vfs* Base(sqlite3_vfs* vfs) { return static_cast<sqlite3_vfs*>(vfs->pAppData); }

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* base = Base(vfs);
  if ((flags & SQLITE_OPEN_MAIN_DB) == 0) return base->xOpen(base, name, file, flags, out_flags);
  new (static_cast<void*>(file)) File{};
  const int result = base->xOpen(base, name, Lower(file), flags, out_flags);
  if (result == SQLITE_OK) file->pMethods = &kMethods;
  return result;
}

}  // namespace

void Interpose(Interposer interposer) { g_interposer = std::move(interposer); }

int RegisterInterposingVfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs* base = sqlite3_vfs_find("unix");
    sqlite3_vfs copy = *base;
    copy.szOsFile = kLowerOffset + base->szOsFile;
    copy.zName = kInterposingVfs;
    copy.pAppData = base;
    copy.pNext = nullptr;
    copy.xOpen = Open;
    return copy;
  }();
  return sqlite3_vfs_register(&vfs, 0);
}

}  // namespace lockscope::testing
