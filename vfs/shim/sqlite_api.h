// SQLite's functions, either linked (the library) or through the table that SQLite hands to an
// extension (the loadable, LOCKSCOPE_LOADABLE). Every file that calls SQLite includes this one.
#pragma once

#if defined(LOCKSCOPE_LOADABLE)
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#include "model/wal_reset_bug.h"

namespace lockscope {

// What an SQLite may be built without: in the loadable's table of functions these are null then.
inline bool HasTrace() {
#if defined(LOCKSCOPE_LOADABLE)
  return sqlite3_api->trace_v2 != nullptr;
#else
  return true;
#endif
}
inline bool WasCompiledWith(const char* option) {
#if defined(LOCKSCOPE_LOADABLE)
  if (sqlite3_api->compileoption_used == nullptr) return false;
#endif
  return sqlite3_compileoption_used(option) != 0;
}

// The oldest SQLite whose functions lockscope uses without asking.
inline constexpr int kMinimumSqliteVersion = 3037000;
// The first with sqlite3_db_name().
inline constexpr int kDbNameSqliteVersion = 3039000;

}  // namespace lockscope
