// The commands that print one of lockscope's tables.
#pragma once

#include <span>
#include <string>

#include "command.h"
#include "insight/value.h"
#include "text_table.h"

namespace lockscope::tools {

// One column for people: which of the table's it shows, and how.
struct ShownColumn {
  const char* column;
  const char* title;
  Fit fit;
  std::string (*format)(const insight::Value& value);
};

struct TableCommand {
  const char* table;        // its name is the command's
  const char* description;  // one line
  std::span<const ShownColumn> shown;
  const char* nothing;    // said of a database without a row: "nobody holds a lock on"
  const char* note = "";  // lines for its --help
};

// `command` must live for ever.
void AddTable(CLI::App& app, Action& action, const TableCommand& command);

// ---- How values look. All of them: "" for NULL. ----

std::string Plain(const insight::Value& value);     // text on one line; digits
std::string Commas(const insight::Value& value);    // 406,276
std::string Bytes(const insight::Value& value);     // 1.7 GB
std::string Duration(const insight::Value& value);  // milliseconds as "3 h 12 min"
std::string Micros(const insight::Value& value);    // microseconds as "106 us", "3 h 12 min"

}  // namespace lockscope::tools
