// What several tables are made of: their columns' values.
#pragma once

#include <iterator>
#include <optional>
#include <string>

#include "insight/locks.h"
#include "insight/look.h"
#include "insight/table.h"

namespace lockscope::insight {

constexpr Column Integer(const char* name) { return {name, "INTEGER"}; }
constexpr Column String(const char* name) { return {name, "TEXT"}; }

// NULL for an empty text.
inline Value Known(const std::string& text) { return text.empty() ? Null() : Text(text); }
inline Value OptBool(const std::optional<bool>& yes) { return yes ? Bool(*yes) : Null(); }
// `view` null: only the kernel knows the connection.
inline Value ConnectionNumber(const ledger::ConnectionView* view) {
  return view != nullptr ? Int(view->info.id) : Null();
}
Value AutocommitOf(const ledger::ConnectionView* view);

inline void Append(Row& row, Row more) {
  row.insert(row.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// The columns that every table of connections begins with, for one lock.
Row CommonColumns(const Look& look, const Database& database, const LockFacts& lock);

// Whose row it is, of a process that tells of itself.
struct Teller {
  std::optional<std::int64_t> pid;
  std::optional<std::string> process;
};
// `process` null: ours.
Teller TellerOf(const Look& look, const Database& database, const ledger::ProcessFacts* process);

// What of this process's ledger belongs to a database.
ledger::DatabaseFilter Of(const Database& database);

}  // namespace lockscope::insight
