// A table of file methods that is to its caller what another table would be.
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::shim {

// `own`, cut to the shape of `base`: the same iVersion (but never above own's), and an empty slot
// where base has one. REQUIRES: own is complete for its iVersion.
//
// Tables are shared by all files whose base has the same shape, and live for ever, as open files
// point to them. Thread-safe. Throws std::bad_alloc.
const sqlite3_io_methods* MirrorOf(const sqlite3_io_methods& base, const sqlite3_io_methods& own);

}  // namespace lockscope::shim
