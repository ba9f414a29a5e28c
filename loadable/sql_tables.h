// Which tables there are in SQL, and where the rows of each come from.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "insight/table.h"
#include "model/status.h"
#include "shim/sqlite_api.h"

namespace lockscope::loadable {

struct SqlTable {
  const insight::Table* table;
  const char* argument;  // the hidden column that its argument is: target, token
  Result<insight::Rows> (*rows)(sqlite3* db, const insight::Table& table,
                                const std::optional<std::string>& argument);
};

std::span<const SqlTable> SqlTables();
// By name, with or without the prefix lockscope_; null for no such table.
const SqlTable* FindSqlTable(std::string_view name);

}  // namespace lockscope::loadable
