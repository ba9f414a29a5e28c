// The SQL functions of barriers: SQLITE_DIRECTONLY, all of them.
//
//   lockscope_barrier([kind [, timeout_ms [, schemas [, max_hold_ms]]]])   a token
//   lockscope_barrier_manifest(token)   the rows of lockscope_barrier_files as JSON
//   lockscope_barrier_check(token)      1, or an error that says what was lost
//   lockscope_barrier_release(token)    1, or "barrier violated: …"
//
// A barrier is its connection's, and is let go with it.
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::loadable {

// Returns SQLite's code.
int RegisterBarrierFunctions(sqlite3* db);

}  // namespace lockscope::loadable
