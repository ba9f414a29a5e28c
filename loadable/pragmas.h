// PRAGMA lockscope_wal, lockscope_locks, and wal_status (which SQLite does not have, and articles
// recommend).
#pragma once

#include <string>

namespace lockscope::loadable {

// A shim::PragmaHandler.
bool AnswerPragma(const char* name, const char* path, std::string& answer);

}  // namespace lockscope::loadable
