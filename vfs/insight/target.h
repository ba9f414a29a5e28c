// Which database a question is about.
#pragma once

#include <string>

#include "model/status.h"

namespace lockscope::insight {

// Absolute, symbolic links resolved. Checks what can be checked without opening the file twice:
//   SQLITE_CANTOPEN  there is no such file, it is a folder or a device, or it may not be read
//   SQLITE_MISUSE    an empty name; the -wal, -shm or -journal of a database
//   SQLITE_NOTADB    it does not begin as an SQLite database does (an empty file is a database)
Result<std::string> ResolveDatabasePath(const std::string& path);

}  // namespace lockscope::insight
