#include "table_module.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <string>

#include "sql_tables.h"

namespace lockscope::loadable {
namespace {

// The columns of the table, then the hidden one that its argument is.
struct VirtualTable {
  sqlite3_vtab base{};  // first: this is the sqlite3_vtab that SQLite sees
  sqlite3* db = nullptr;
  const SqlTable* sql = nullptr;

  int ArgumentColumn() const { return static_cast<int>(sql->table->columns.size()); }
};

// One scan: the rows are collected when it begins, all at one moment.
struct Cursor {
  sqlite3_vtab_cursor base{};  // first, likewise
  insight::Rows rows;
  std::size_t position = 0;
  std::string argument;
  bool has_argument = false;
};

VirtualTable& Self(sqlite3_vtab* vtab) { return *reinterpret_cast<VirtualTable*>(vtab); }
Cursor& Self(sqlite3_vtab_cursor* cursor) { return *reinterpret_cast<Cursor*>(cursor); }

// Nothing that `body` throws reaches SQLite.
template <class Body>
int Guarded(Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (...) {
    return SQLITE_ERROR;
  }
}

int Fail(sqlite3_vtab* vtab, const Status& status) {
  sqlite3_free(vtab->zErrMsg);
  vtab->zErrMsg = sqlite3_mprintf("%s", status.message.c_str());
  return status.code;
}

std::string Declaration(const SqlTable& of) {
  std::string sql = "CREATE TABLE x(";
  for (const insight::Column& column : of.table->columns) {
    sql += std::string("\"") + column.name + "\" " + column.type + ", ";
  }
  return sql + of.argument + " TEXT HIDDEN)";
}

int xConnect(sqlite3* db, void* context, int, const char* const*, sqlite3_vtab** vtab, char**) {
  return Guarded([&] {
    const auto* sql = static_cast<const SqlTable*>(context);
    const int result = sqlite3_declare_vtab(db, Declaration(*sql).c_str());
    if (result != SQLITE_OK) return result;
    // A view in a database that came from somebody else must not open files of its choice.
    sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    auto self = std::make_unique<VirtualTable>();
    self->db = db;
    self->sql = sql;
    *vtab = &self.release()->base;
    return SQLITE_OK;
  });
}

int xDisconnect(sqlite3_vtab* vtab) {
  delete &Self(vtab);
  return SQLITE_OK;
}

constexpr int kWithArgument = 1;

int xBestIndex(sqlite3_vtab* vtab, sqlite3_index_info* info) {
  const int argument_column = Self(vtab).ArgumentColumn();
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& constraint = info->aConstraint[i];
    if (constraint.iColumn != argument_column || constraint.op != SQLITE_INDEX_CONSTRAINT_EQ)
      continue;
    // An argument that this plan cannot provide must not be dropped: another order of tables can.
    if (constraint.usable == 0) return SQLITE_CONSTRAINT;
    info->aConstraintUsage[i].argvIndex = 1;
    info->aConstraintUsage[i].omit = 1;
    info->idxNum = kWithArgument;
    break;
  }
  // Reading /proc/locks; of several plans that each name a target none may lose to one that does
  // not.
  info->estimatedCost = info->idxNum == kWithArgument ? 1000 : 1e9;
  info->estimatedRows = 20;
  return SQLITE_OK;
}

int xOpen(sqlite3_vtab*, sqlite3_vtab_cursor** cursor) {
  return Guarded([&] {
    *cursor = &(new Cursor())->base;
    return SQLITE_OK;
  });
}

int xClose(sqlite3_vtab_cursor* cursor) {
  delete &Self(cursor);
  return SQLITE_OK;
}

int xFilter(sqlite3_vtab_cursor* base, int plan, const char*, int, sqlite3_value** arguments) {
  return Guarded([&] {
    Cursor& cursor = Self(base);
    const VirtualTable& vtab = Self(base->pVtab);
    cursor.rows.clear();
    cursor.position = 0;
    std::optional<std::string> argument;
    if (plan == kWithArgument) {
      if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) {
        return Fail(base->pVtab,
                    {SQLITE_MISUSE, std::string("the ") + vtab.sql->argument + " is NULL"});
      }
      const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(arguments[0]));
      if (text == nullptr) return SQLITE_NOMEM;
      argument.emplace(text, static_cast<std::size_t>(sqlite3_value_bytes(arguments[0])));
    }
    cursor.has_argument = argument.has_value();
    cursor.argument = argument.value_or("");
    auto rows = vtab.sql->rows(vtab.db, *vtab.sql->table, argument);
    if (!rows.ok()) return Fail(base->pVtab, rows.status());
    cursor.rows = std::move(rows.value());
    return SQLITE_OK;
  });
}

int xNext(sqlite3_vtab_cursor* cursor) {
  ++Self(cursor).position;
  return SQLITE_OK;
}

int xEof(sqlite3_vtab_cursor* cursor) {
  return Self(cursor).position >= Self(cursor).rows.size() ? 1 : 0;
}

void ResultText(sqlite3_context* context, const std::string& text) {
  sqlite3_result_text64(context, text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}

int xColumn(sqlite3_vtab_cursor* base, sqlite3_context* context, int column) {
  const Cursor& cursor = Self(base);
  const insight::Row& row = cursor.rows[cursor.position];
  if (static_cast<std::size_t>(column) >= row.size()) {
    if (cursor.has_argument) ResultText(context, cursor.argument);
    return SQLITE_OK;
  }
  const insight::Value& value = row[static_cast<std::size_t>(column)];
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    sqlite3_result_int64(context, *number);
  } else if (const auto* text = std::get_if<std::string>(&value)) {
    ResultText(context, *text);
  }
  return SQLITE_OK;
}

int xRowid(sqlite3_vtab_cursor* cursor, sqlite3_int64* rowid) {
  // Unique over targets: SQLite takes rows of several scans (target = 'a' OR target = 'b') with one
  // number for one row.
  const Cursor& self = Self(cursor);
  const auto hash = static_cast<std::uint32_t>(std::hash<std::string>{}(self.argument));
  const std::uint32_t scan = self.has_argument ? hash >> 1U : 0;
  *rowid = (static_cast<sqlite3_int64>(scan) << 32) + static_cast<sqlite3_int64>(self.position) + 1;
  return SQLITE_OK;
}

// Without xCreate a module is eponymous only: no CREATE VIRTUAL TABLE, nothing in the schema.
constexpr sqlite3_module MakeModule() {
  sqlite3_module module{};
  module.iVersion = 0;
  module.xConnect = xConnect;
  module.xBestIndex = xBestIndex;
  module.xDisconnect = xDisconnect;
  module.xOpen = xOpen;
  module.xClose = xClose;
  module.xFilter = xFilter;
  module.xNext = xNext;
  module.xEof = xEof;
  module.xColumn = xColumn;
  module.xRowid = xRowid;
  return module;
}

constexpr sqlite3_module kModule = MakeModule();

}  // namespace

int RegisterTables(sqlite3* db) {
  for (const SqlTable& sql : SqlTables()) {
    const std::string name = std::string("lockscope_") + sql.table->name;
    const int result =
        sqlite3_create_module_v2(db, name.c_str(), &kModule, const_cast<SqlTable*>(&sql), nullptr);
    if (result != SQLITE_OK) return result;
  }
  return SQLITE_OK;
}

}  // namespace lockscope::loadable
