#include "looker.h"

#include <sys/stat.h>

#include <algorithm>
#include <stdexcept>

#include "lockscope.h"

namespace lockscope::testing {
namespace {

std::string Column(sqlite3_stmt* statement, int column) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
  return text != nullptr ? text : "NULL";
}

// "" where there is no such file.
std::string InodeOf(const std::string& path) {
  struct stat file = {};
  return stat(path.c_str(), &file) == 0 ? std::to_string(file.st_ino) : "";
}

// What a row says of itself: columns 0 … 5 as the statement in Locks() selects them.
std::string Describe(const Row& row) {
  return row[0] + " " + row[1] + " " + row[2] + "-" + row[3] + (row[4] == "0" ? " waits" : "");
}

}  // namespace

Looker::Looker(const std::string& file) {
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  int code = sqlite3_open_v2(file.c_str(), &db_, kFlags, nullptr);
  if (code == SQLITE_OK) code = lockscope_init(db_);
  if (code != SQLITE_OK) {
    const std::string message = sqlite3_errmsg(db_);
    sqlite3_close(db_);
    throw std::runtime_error(file + ": " + message);
  }
  sqlite3_extended_result_codes(db_, 1);
}

Looker::~Looker() { sqlite3_close(db_); }

Reply Looker::Try(std::string_view sql, const std::vector<std::string>& arguments) const {
  Reply reply;
  const auto fail = [&](int code) {
    reply.code = code;
    reply.message = sqlite3_errmsg(db_);
  };
  sqlite3_stmt* statement = nullptr;
  const int prepared =
      sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (prepared != SQLITE_OK) {
    fail(prepared);
    return reply;
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    sqlite3_bind_text(statement, static_cast<int>(i) + 1, arguments[i].c_str(), -1,
                      SQLITE_TRANSIENT);
  }
  int code = SQLITE_OK;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    Row& row = reply.rows.emplace_back();
    for (int i = 0; i < sqlite3_column_count(statement); ++i) row.push_back(Column(statement, i));
  }
  if (code != SQLITE_DONE) fail(code);
  sqlite3_finalize(statement);
  return reply;
}

std::vector<Row> Looker::All(std::string_view sql,
                             const std::vector<std::string>& arguments) const {
  Reply reply = Try(sql, arguments);
  if (!reply.ok()) throw std::runtime_error(std::string(sql) + ": " + reply.message);
  return std::move(reply.rows);
}

Row Looker::One(std::string_view sql, const std::vector<std::string>& arguments) const {
  std::vector<Row> rows = All(sql, arguments);
  if (rows.size() == 1) return std::move(rows.front());
  throw std::runtime_error(std::string(sql) + ": " + std::to_string(rows.size()) + " rows");
}

std::vector<std::string> Looker::Locks(const std::string& path, pid_t pid) const {
  const auto rows =
      All("select resource, mode, first_byte, last_byte, granted, file, inode, connection, since,"
          "       age_ms, sql, verified, database, process"
          "  from lockscope_locks(?1) where source = 'kernel' and pid = cast(?2 as integer)",
          {path, std::to_string(pid)});
  std::vector<std::string> locks;
  for (const Row& row : rows) {
    std::string& text = locks.emplace_back(Describe(row));
    if (row[5] != (row[0] == "database" ? "database" : "shm")) text += " file=" + row[5];
    if (row[6] != InodeOf(path + (row[5] == "shm" ? "-shm" : ""))) text += " inode=" + row[6];
    constexpr const char* kNames[] = {"connection", "since", "age_ms", "sql", "verified"};
    for (std::size_t i = 0; i < std::size(kNames); ++i) {
      if (row[7 + i] != "NULL") text += std::string(" ") + kNames[i] + "=" + row[7 + i];
    }
    if (row[12] != path) text += " database=" + row[12];
    if (row[13] == "NULL" || row[13].empty()) text += " no process";
  }
  std::sort(locks.begin(), locks.end());
  return locks;
}

std::vector<std::string> Looker::OwnLocks(const std::string& path) const {
  const auto rows =
      All("select resource, mode, first_byte, last_byte, granted, verified"
          "  from lockscope_locks(?1) where source = 'shim'",
          {path});
  std::vector<std::string> locks;
  locks.reserve(rows.size());
  for (const Row& row : rows) locks.push_back(Describe(row) + " verified=" + row[5]);
  std::sort(locks.begin(), locks.end());
  return locks;
}

std::string Looker::State(const std::string& path, pid_t pid) const {
  return One("select state from lockscope_connections(?1) where pid = cast(?2 as integer)",
             {path, std::to_string(pid)})[0];
}

void Looker::LookEverywhere(const std::string& path) const {
  for (const char* table : kTables) {
    All("select * from lockscope_" + std::string(table) + "(?1)", {path});
    All("select lockscope_json(?1, ?2)", {table, path});
  }
}

}  // namespace lockscope::testing
