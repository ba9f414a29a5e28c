// Which versions of SQLite have the WAL-reset bug.
#pragma once

namespace lockscope {

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
