// The tables of lockscope, once, for SQL, JSON and the terminal alike.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "insight/look.h"
#include "insight/value.h"

namespace lockscope::insight {

struct Column {
  const char* name;
  const char* type;  // INTEGER or TEXT
};

// What only the connection that asks can know, and only about itself.
struct Asker {
  std::vector<std::uint64_t> connections;  // the numbers of its databases' connections
  std::int64_t open_statements = 0;        // without the statement that asks
};

struct Table {
  const char* name;  // without the prefix lockscope_
  std::span<const Column> columns;
  Rows (*rows)(const Look& look, const Asker& asker);
};

// All tables, in the order of the reference.
std::span<const Table> AllTables();
// By name, with or without the prefix lockscope_; null for no such table.
const Table* FindTable(std::string_view name);

// A JSON array of objects, keys in the order of the columns; "[]" for no rows. Text that is not
// UTF-8 is repaired with U+FFFD. `indent` < 0: on one line.
std::string ToJson(const Table& table, const Rows& rows, int indent = -1);
// A JSON array of strings, likewise.
std::string JsonStrings(const std::vector<std::string>& strings);

}  // namespace lockscope::insight
