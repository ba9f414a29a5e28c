#include "sql_tables.h"

#include <algorithm>
#include <vector>

#include "barrier/barriers.h"
#include "barrier/manifest.h"
#include "targets.h"

namespace lockscope::loadable {
namespace {

Result<insight::Rows> FilesOfToken(sqlite3*, const insight::Table&,
                                   const std::optional<std::string>& token) {
  if (!token) return Status{SQLITE_MISUSE, "lockscope_barrier_files needs a token"};
  const auto barrier = barrier::Barriers::Process().Find(*token);
  if (!barrier.ok()) return barrier.status();
  return barrier::FileRows(*barrier.value());
}

std::vector<SqlTable> AllOfThem() {
  std::vector<SqlTable> tables;
  for (const insight::Table& table : insight::AllTables()) {
    tables.push_back({&table, "target", Collect});
  }
  tables.push_back({&barrier::FilesTable(), "token", FilesOfToken});
  return tables;
}

}  // namespace

std::span<const SqlTable> SqlTables() {
  static const auto* const tables = new std::vector<SqlTable>(AllOfThem());
  return *tables;
}

const SqlTable* FindSqlTable(std::string_view name) {
  constexpr std::string_view kPrefix = "lockscope_";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  const auto tables = SqlTables();
  const auto found = std::find_if(tables.begin(), tables.end(),
                                  [name](const SqlTable& sql) { return name == sql.table->name; });
  return found == tables.end() ? nullptr : &*found;
}

}  // namespace lockscope::loadable
