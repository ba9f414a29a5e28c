// lockscope_why(), lockscope_recovery_state(), lockscope_wait_recovery().
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::loadable {

// On one connection. Returns SQLite's code.
int RegisterDiagnosisFunctions(sqlite3* db);

}  // namespace lockscope::loadable
