#include "core/session.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <stdexcept>

#include "lockscope.h"

namespace lockscope::testing {
namespace {

struct Log {
  std::mutex mutex;
  std::vector<std::string> lines;  // guarded by mutex
};

Log& TheLog() {
  static Log* const log = new Log();
  return *log;
}

// Before SQLite is initialised, and so before main().
const int kLogInstalled = sqlite3_config(
    SQLITE_CONFIG_LOG,
    +[](void*, int code, const char* message) {
      const std::lock_guard lock(TheLog().mutex);
      TheLog().lines.push_back(std::to_string(code) + " " + message);
    },
    nullptr);

std::string Column(sqlite3_stmt* statement, int column) {
  const int type = sqlite3_column_type(statement, column);
  if (type == SQLITE_NULL) return "NULL";
  // Text as UTF-8, whatever the database's encoding.
  const auto* bytes =
      type == SQLITE_BLOB
          ? static_cast<const unsigned char*>(sqlite3_column_blob(statement, column))
          : sqlite3_column_text(statement, column);
  const auto count = static_cast<std::size_t>(sqlite3_column_bytes(statement, column));
  if (type != SQLITE_BLOB) return {reinterpret_cast<const char*>(bytes), count};
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (std::size_t i = 0; i < count; ++i) {
    hex += kDigits[bytes[i] >> 4U];
    hex += kDigits[bytes[i] & 15U];
  }
  return hex;
}

std::string Joined(const Row& row) {
  std::string text;
  for (const std::string& column : row) text += (&column == row.data() ? "" : " ") + column;
  return text;
}

}  // namespace

std::string Quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

void RegisterShim() {
  static const int result = lockscope_register(nullptr, nullptr, 1);
  if (result != SQLITE_OK || kLogInstalled != SQLITE_OK) throw std::runtime_error("no shim");
}

Db::Db(const std::string& file, const char* vfs, int flags) {
  RegisterShim();
  int result = sqlite3_open_v2(file.c_str(), &db_, flags, vfs);
  if (result == SQLITE_OK) result = lockscope_init(db_);
  if (result == SQLITE_OK) return;
  const std::string reason = db_ != nullptr ? sqlite3_errmsg(db_) : "no memory";
  Close();
  throw std::runtime_error("cannot open " + file + ": " + reason);
}

void Db::Close() {
  sqlite3_close_v2(db_);
  db_ = nullptr;
}

Reply Db::Try(std::string_view sql) {
  Reply reply;
  sqlite3_extended_result_codes(db_, 1);
  for (;;) {
    // A blank between two statements would be the first character of the second.
    sql.remove_prefix(std::min(sql.find_first_not_of(" \n"), sql.size()));
    if (sql.empty()) return reply;
    sqlite3_stmt* statement = nullptr;
    const char* rest = nullptr;
    int result =
        sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &statement, &rest);
    sql.remove_prefix(static_cast<std::size_t>(rest - sql.data()));
    if (result == SQLITE_OK && statement == nullptr) continue;
    if (result == SQLITE_OK) {
      reply.rows.clear();
      while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        Row& row = reply.rows.emplace_back();
        for (int i = 0; i < sqlite3_column_count(statement); ++i) {
          row.push_back(Column(statement, i));
        }
      }
    }
    if (result != SQLITE_DONE) {
      reply.code = sqlite3_extended_errcode(db_);
      reply.message = sqlite3_errmsg(db_);
    }
    sqlite3_finalize(statement);
    if (!reply.ok()) return reply;
  }
}

std::vector<Row> Db::Query(std::string_view sql) {
  Reply reply = Try(sql);
  if (reply.ok()) return std::move(reply.rows);
  throw std::runtime_error(std::string(sql) + ": " + reply.message + " (" +
                           std::to_string(reply.code) + ")");
}

std::string Db::Value(std::string_view sql) {
  const auto rows = Query(sql);
  if (rows.size() == 1) return Joined(rows[0]);
  throw std::runtime_error(std::string(sql) + ": " + std::to_string(rows.size()) + " rows");
}

std::vector<std::string> Db::Lines(std::string_view sql) {
  std::vector<std::string> lines;
  for (const Row& row : Query(sql)) lines.push_back(Joined(row));
  return lines;
}

int OpenCode(const std::string& uri) {
  RegisterShim();
  sqlite3* db = nullptr;
  const int result = sqlite3_open_v2(uri.c_str(), &db, Db::kFlags, nullptr);
  sqlite3_close(db);
  return result;
}

Statement::Statement(Db& db, const std::string& sql) {
  if (sqlite3_prepare_v2(db.handle(), sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK) {
    throw std::runtime_error(sql + ": " + sqlite3_errmsg(db.handle()));
  }
}

LogCapture::LogCapture() {
  const std::lock_guard lock(TheLog().mutex);
  from_ = TheLog().lines.size();
}

std::vector<std::string> LogCapture::Lines() const {
  const std::lock_guard lock(TheLog().mutex);
  const auto& lines = TheLog().lines;
  return {lines.begin() + static_cast<std::ptrdiff_t>(from_), lines.end()};
}

int LogCapture::Count(std::string_view text) const {
  int count = 0;
  for (const std::string& line : Lines()) {
    if (line.find(text) != std::string::npos) ++count;
  }
  return count;
}

std::string OwnProgram() {
  std::array<char, 4096> path{};
  const ssize_t bytes = readlink("/proc/self/exe", path.data(), path.size());
  if (bytes <= 0) throw std::runtime_error("readlink /proc/self/exe");
  return {path.data(), static_cast<std::size_t>(bytes)};
}

}  // namespace lockscope::testing
