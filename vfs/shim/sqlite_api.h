// SQLite's functions, either linked (the library) or through the table that SQLite hands to an
// extension (the loadable, LOCKSCOPE_LOADABLE). Every file that calls SQLite includes this one.
#pragma once

#if defined(LOCKSCOPE_LOADABLE)
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

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

// Whether SQLite of this version number loses committed transactions when a writer restarts the WAL
// while a PASSIVE checkpoint begins (the WAL-reset bug, 3.7.0 to 3.51.2, fixed in 3.44.6 and 3.50.7
// of their lines). A distribution may have mended an older number; then this is needlessly true.
constexpr bool HasWalResetBug(int version) {
  if (version < 3007000) return false;
  if (version < 3044006) return true;
  if (version >= 3045000 && version < 3050007) return true;
  return version >= 3051000 && version < 3051003;
}

}  // namespace lockscope
