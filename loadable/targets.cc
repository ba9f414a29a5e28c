#include "targets.h"

#include <algorithm>

#include "insight/target.h"
#include "kernel/descriptors.h"
#include "ledger/ledger.h"
#include "settings/settings.h"
#include "shim/shim_file.h"

namespace lockscope::loadable {
namespace {

// The file of a schema: null for no such schema, empty for one that has no file.
std::optional<std::string> FileOfSchema(sqlite3* db, const std::string& schema) {
  if (sqlite3_stricmp(schema.c_str(), "temp") == 0) return "";
  const char* file = sqlite3_db_filename(db, schema.c_str());
  if (file == nullptr) return std::nullopt;
  return file;
}

bool IsOpenThroughShim(const std::string& path) {
  return !ledger::Ledger::Process()
              .Connections(
                  [&path](const std::string& other, const FileId&) { return other == path; })
              .empty();
}

Result<std::vector<std::string>> ResolveOne(sqlite3* db, const std::string& target) {
  std::string path = target;
  if (const auto file = target.empty() ? std::nullopt : FileOfSchema(db, target)) {
    if (file->empty()) {
      return Status{SQLITE_MISUSE, "the schema " + target + " is in memory or temporary"};
    }
    path = *file;
    // Deleted while it is open: its connections are what there is to see.
    if (!kernel::StatPath(path)) {
      if (IsOpenThroughShim(path)) return std::vector<std::string>{path};
      return Status{SQLITE_MISUSE, "the schema " + target + " has no file (" + path + ")"};
    }
  }
  auto resolved = insight::ResolveDatabasePath(path);
  if (!resolved.ok()) return resolved.status();
  return std::vector<std::string>{std::move(resolved.value())};
}

// Older than 3.39: the pragma lists the schemas.
std::vector<std::string> SchemasByPragma(sqlite3* db) {
  std::vector<std::string> names;
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db, "PRAGMA database_list", -1, &statement, nullptr) != SQLITE_OK) {
    return names;
  }
  while (sqlite3_step(statement) == SQLITE_ROW) {
    const auto* name = reinterpret_cast<const char*>(sqlite3_column_text(statement, 1));
    if (name != nullptr) names.emplace_back(name);
  }
  sqlite3_finalize(statement);
  return names;
}

}  // namespace

std::vector<std::string> Schemas(sqlite3* db) {
  if (sqlite3_libversion_number() < kDbNameSqliteVersion) return SchemasByPragma(db);
  std::vector<std::string> names;
  for (int i = 0;; ++i) {
    const char* name = sqlite3_db_name(db, i);
    if (name == nullptr) return names;
    names.emplace_back(name);
  }
}

Result<std::vector<std::string>> ResolveTargets(sqlite3* db,
                                                const std::optional<std::string>& target) {
  if (target) return ResolveOne(db, *target);
  if (const auto by_setting = settings::Target()) return ResolveOne(db, *by_setting);
  std::vector<std::string> paths;
  for (const std::string& schema : Schemas(db)) {
    const auto file = FileOfSchema(db, schema);
    if (!file || file->empty()) continue;
    // A VFS may use names that are no files (memdb); a database may have been deleted while it is
    // open.
    if (!kernel::StatPath(*file) && !IsOpenThroughShim(*file)) continue;
    if (std::find(paths.begin(), paths.end(), *file) == paths.end()) paths.push_back(*file);
  }
  return paths;
}

insight::Asker Ask(sqlite3* db) {
  insight::Asker asker;
  for (const std::string& schema : Schemas(db)) {
    std::uint64_t number = 0;
    if (sqlite3_file_control(db, schema.c_str(), shim::kFcntlConnection, &number) == SQLITE_OK) {
      asker.connections.push_back(number);
    }
  }
  for (sqlite3_stmt* s = sqlite3_next_stmt(db, nullptr); s != nullptr;
       s = sqlite3_next_stmt(db, s)) {
    if (sqlite3_stmt_busy(s) != 0) ++asker.open_statements;
  }
  if (asker.open_statements > 0) --asker.open_statements;  // the one that asks
  return asker;
}

Result<insight::Rows> Collect(sqlite3* db, const insight::Table& table,
                              const std::optional<std::string>& target) {
  const auto paths = ResolveTargets(db, target);
  if (!paths.ok()) return paths.status();
  const insight::Asker asker = Ask(db);
  return table.rows(insight::Look::At(paths.value()), asker);
}

}  // namespace lockscope::loadable
