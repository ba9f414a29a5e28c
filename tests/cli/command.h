// Runs the lockscope command for tests.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "support/subprocess.h"

namespace lockscope::testing {

using Json = nlohmann::ordered_json;

inline ProgramResult Lockscope(std::vector<std::string> arguments, Environment env = {},
                               std::string directory = {}) {
  arguments.insert(arguments.begin(), LOCKSCOPE_COMMAND);
  return RunProgram(
      {.argv = std::move(arguments), .env = std::move(env), .directory = std::move(directory)});
}

// What a command prints with --json. Fails the test where that is no JSON.
inline Json Rows(const std::string& command, std::vector<std::string> databases) {
  databases.insert(databases.begin(), {command, "--json"});
  const ProgramResult result = Lockscope(databases);
  Json rows = Json::parse(result.out, nullptr, false);
  if (!rows.is_array()) {
    ADD_FAILURE() << "no array: " << result;
    return Json::array();
  }
  return rows;
}

// The one row, or finding, of which `column` is `value`. Fails the test where there is none or
// another.
inline Json RowWhere(const Json& rows, const std::string& column, const Json& value) {
  Json found;
  int count = 0;
  for (const Json& row : rows) {
    if (row.at(column) != value) continue;
    found = row;
    ++count;
  }
  EXPECT_EQ(count, 1) << "rows with " << column << " = " << value << " in " << rows.dump(2);
  return found;
}

inline bool AnyWhere(const Json& rows, const std::string& column, const Json& value) {
  for (const Json& row : rows) {
    if (row.at(column) == value) return true;
  }
  return false;
}

}  // namespace lockscope::testing
