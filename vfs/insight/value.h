// Value, Row: what a table of lockscope consists of, before SQL or JSON or a terminal shows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace lockscope::insight {

// NULL, INTEGER or TEXT.
using Value = std::variant<std::monostate, std::int64_t, std::string>;
using Row = std::vector<Value>;
using Rows = std::vector<Row>;

// The values are moved: a braced list would copy them, and a copy that finds no memory half-way is
// beyond libstdc++'s std::variant.
template <class... Values>
Row RowOf(Values... values) {
  Row row;
  row.reserve(sizeof...(values));
  (row.push_back(std::move(values)), ...);
  return row;
}

inline Value Null() { return std::monostate{}; }
inline Value Int(std::uint64_t number) { return static_cast<std::int64_t>(number); }
inline Value Int(std::int64_t number) { return number; }
inline Value Int(int number) { return static_cast<std::int64_t>(number); }
inline Value Int(std::uint32_t number) { return static_cast<std::int64_t>(number); }
inline Value Text(std::string text) { return text; }
inline Value Bool(bool yes) { return static_cast<std::int64_t>(yes ? 1 : 0); }

template <class T>
Value Maybe(const std::optional<T>& value) {
  if (!value) return std::monostate{};
  if constexpr (std::is_same_v<T, std::string>) {
    return *value;
  } else {
    return static_cast<std::int64_t>(*value);
  }
}

}  // namespace lockscope::insight
