// lockscope's scalar SQL functions.
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::loadable {

// lockscope_version(), lockscope_json(), lockscope_set(), lockscope_get(), and those of barriers.
// Returns SQLite's code.
int RegisterFunctions(sqlite3* db);

}  // namespace lockscope::loadable
