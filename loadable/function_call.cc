#include "function_call.h"

namespace lockscope::loadable {

bool IsDefault(sqlite3_value* value) {
  return sqlite3_value_type(value) == SQLITE_TEXT && sqlite3_value_bytes(value) == 0;
}

Status TimeArgument(sqlite3_value* value, const char* what, std::chrono::milliseconds& time) {
  if (IsDefault(value)) return {};
  const int type = sqlite3_value_numeric_type(value);
  const double number = sqlite3_value_double(value);
  constexpr double kMost = 1e12;  // thirty years
  if ((type != SQLITE_INTEGER && type != SQLITE_FLOAT) || !(number >= 0) || number > kMost) {
    return {SQLITE_MISUSE, std::string(what) + " is not a number of milliseconds from 0 on"};
  }
  const auto whole = static_cast<std::int64_t>(number);
  // Upwards: 0 means something else than a little.
  time = std::chrono::milliseconds(static_cast<double>(whole) < number ? whole + 1 : whole);
  return {};
}

Result<std::string> TextArgument(sqlite3_value* value, const char* what) {
  if (sqlite3_value_type(value) == SQLITE_NULL) {
    return Status{SQLITE_MISUSE, std::string(what) + " is NULL"};
  }
  const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(value));
  if (text == nullptr) throw std::bad_alloc();
  return std::string(text, static_cast<std::size_t>(sqlite3_value_bytes(value)));
}

int Register(sqlite3* db, std::span<const Function> functions) {
  for (const Function& function : functions) {
    const int result = sqlite3_create_function_v2(db, function.name, function.arguments,
                                                  SQLITE_UTF8 | function.flags, nullptr,
                                                  function.call, nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) return result;
  }
  return SQLITE_OK;
}

}  // namespace lockscope::loadable
