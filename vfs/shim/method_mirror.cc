#include "shim/method_mirror.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>

namespace lockscope::shim {
namespace {

// A slot that is empty below stays empty: an absent method and one that fails are not the same to
// SQLite. Fields of a later iVersion are not read: the struct below may end before them.
sqlite3_io_methods Mirror(const sqlite3_io_methods& base, const sqlite3_io_methods& own) {
  sqlite3_io_methods methods{};
  methods.iVersion = std::min(base.iVersion, own.iVersion);
#define LOCKSCOPE_MIRROR(slot) methods.slot = base.slot == nullptr ? nullptr : own.slot
  LOCKSCOPE_MIRROR(xClose);
  LOCKSCOPE_MIRROR(xRead);
  LOCKSCOPE_MIRROR(xWrite);
  LOCKSCOPE_MIRROR(xTruncate);
  LOCKSCOPE_MIRROR(xSync);
  LOCKSCOPE_MIRROR(xFileSize);
  LOCKSCOPE_MIRROR(xLock);
  LOCKSCOPE_MIRROR(xUnlock);
  LOCKSCOPE_MIRROR(xCheckReservedLock);
  LOCKSCOPE_MIRROR(xFileControl);
  LOCKSCOPE_MIRROR(xSectorSize);
  LOCKSCOPE_MIRROR(xDeviceCharacteristics);
  if (methods.iVersion >= 2) {
    LOCKSCOPE_MIRROR(xShmMap);
    LOCKSCOPE_MIRROR(xShmLock);
    LOCKSCOPE_MIRROR(xShmBarrier);
    LOCKSCOPE_MIRROR(xShmUnmap);
  }
  if (methods.iVersion >= 3) {
    LOCKSCOPE_MIRROR(xFetch);
    LOCKSCOPE_MIRROR(xUnfetch);
  }
#undef LOCKSCOPE_MIRROR
  return methods;
}

bool Same(const sqlite3_io_methods& a, const sqlite3_io_methods& b) {
  // From the first pointer on; before it is padding.
  constexpr std::size_t kFirst = offsetof(sqlite3_io_methods, xClose);
  return a.iVersion == b.iVersion &&
         std::memcmp(reinterpret_cast<const char*>(&a) + kFirst,
                     reinterpret_cast<const char*>(&b) + kFirst, sizeof a - kFirst) == 0;
}

}  // namespace

// There are as many tables as there are shapes of tables in the process: a handful.
const sqlite3_io_methods* MirrorOf(const sqlite3_io_methods& base, const sqlite3_io_methods& own) {
  struct Entry {
    sqlite3_io_methods methods;
    const Entry* next;
  };
  static constinit std::atomic<const Entry*> first{nullptr};
  const sqlite3_io_methods mirror = Mirror(base, own);
  const Entry* known = first.load();
  for (const Entry* entry = known; entry != nullptr; entry = entry->next) {
    if (Same(entry->methods, mirror)) return &entry->methods;
  }
  // Two threads may add the same one; either will do.
  auto* entry = new Entry{mirror, known};
  while (!first.compare_exchange_weak(entry->next, entry)) {
  }
  return &entry->methods;
}

}  // namespace lockscope::shim
