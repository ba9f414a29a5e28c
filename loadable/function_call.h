// What lockscope's SQL functions share: their arguments, their answers, their errors.
#pragma once

#include <chrono>
#include <new>
#include <optional>
#include <span>
#include <string>

#include "model/status.h"
#include "shim/sqlite_api.h"

namespace lockscope::loadable {

inline void Fail(sqlite3_context* context, const Status& status) {
  // The message first: the code is then put beside it.
  sqlite3_result_error(context, status.message.c_str(), -1);
  sqlite3_result_error_code(context, status.code);
}

inline void Answer(sqlite3_context* context, const std::optional<std::string>& text) {
  if (!text) {
    sqlite3_result_null(context);
    return;
  }
  sqlite3_result_text64(context, text->data(), text->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

// The argument as text; SQLITE_MISUSE for NULL.
Result<std::string> TextArgument(sqlite3_value* value, const char* what);

// '' stands for the default of an argument.
bool IsDefault(sqlite3_value* value);

// Milliseconds, from 0 on; SQLITE_MISUSE for anything else. Leaves `time` as it is for ''.
Status TimeArgument(sqlite3_value* value, const char* what, std::chrono::milliseconds& time);

using Body = Status (*)(sqlite3_context*, int count, sqlite3_value** arguments);

// Runs a function's body; nothing it throws reaches SQLite.
template <Body body>
void Call(sqlite3_context* context, int count, sqlite3_value** arguments) noexcept {
  try {
    if (const Status status = body(context, count, arguments); !status.ok()) Fail(context, status);
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  } catch (...) {
    sqlite3_result_error_code(context, SQLITE_ERROR);
  }
}

struct Function {
  const char* name;
  int arguments;
  int flags;  // beside SQLITE_UTF8
  void (*call)(sqlite3_context*, int, sqlite3_value**);
};

// On one connection. Returns SQLite's code, of the first that it refuses.
int Register(sqlite3* db, std::span<const Function> functions);

}  // namespace lockscope::loadable
