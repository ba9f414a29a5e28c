// Status and Result: how every layer of lockscope reports failure.
//
// A Status carries one of SQLite's own result codes and a sentence for a person. It is the only
// error channel inside the engine; errno is translated where it arises, and exceptions never leave
// a layer that is called from C.
#pragma once

#include <sqlite3.h>

#include <string>
#include <utility>
#include <variant>

namespace lockscope {

struct [[nodiscard]] Status {
  int code = SQLITE_OK;
  std::string message;

  bool ok() const { return code == SQLITE_OK; }
};

// Either a value or the Status that says why there is none. REQUIRES: a Result built from a Status
// is built from one that is not ok.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}         // NOLINT: implicit by design
  Result(Status status) : state_(std::move(status)) {}  // NOLINT: implicit by design

  bool ok() const { return std::holds_alternative<T>(state_); }
  T& value() { return std::get<T>(state_); }
  const T& value() const { return std::get<T>(state_); }
  const Status& status() const { return std::get<Status>(state_); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace lockscope
