// lockscope's tables as eponymous virtual tables: SELECT * FROM lockscope_locks('app.db').
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::loadable {

// One module for every table of SqlTables(). Returns SQLite's code.
int RegisterTables(sqlite3* db);

}  // namespace lockscope::loadable
