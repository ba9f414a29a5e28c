// From the words of a user to databases, with the connection that asks.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "insight/look.h"
#include "insight/table.h"
#include "model/status.h"
#include "shim/sqlite_api.h"

namespace lockscope::loadable {

// The paths that `target` means: a schema name of this connection first, else a path. Without one
// the setting `target`, else every file database attached. Errors as
// insight::ResolveDatabasePath(), and SQLITE_MISUSE for a schema that is in memory or temporary.
Result<std::vector<std::string>> ResolveTargets(sqlite3* db,
                                                const std::optional<std::string>& target);

// What this connection knows of itself.
insight::Asker Ask(sqlite3* db);

// The names of the schemas attached to it, "main" first.
std::vector<std::string> Schemas(sqlite3* db);

// The rows of a table for a target: the whole way.
Result<insight::Rows> Collect(sqlite3* db, const insight::Table& table,
                              const std::optional<std::string>& target);

}  // namespace lockscope::loadable
