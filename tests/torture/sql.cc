#include "sql.h"

#include <unistd.h>

namespace lockscope::torture {
namespace {

void Check(sqlite3* db, int result) {
  if (result == SQLITE_OK) return;
  throw SqlError(result, db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(result));
}

extern "C" int Nap(void* tries, int count) {
  if (count >= *static_cast<int*>(tries)) return 0;
  constexpr useconds_t kNapUs = 1000;
  usleep(kNapUs);
  return 1;
}

}  // namespace

Prepared::Prepared(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  Check(db, sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr));
  statement_.reset(statement);
}

Prepared& Prepared::Bind(int index, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), index, value);
  return *this;
}

Prepared& Prepared::Bind(int index, const std::string& value) {
  sqlite3_bind_text(statement_.get(), index, value.c_str(), -1, SQLITE_TRANSIENT);
  return *this;
}

void Prepared::Step() {
  value_.clear();
  int result = SQLITE_ROW;
  while ((result = sqlite3_step(statement_.get())) == SQLITE_ROW) {
    if (sqlite3_column_count(statement_.get()) == 0) continue;
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), 0));
    value_ = text != nullptr ? text : "";
  }
  sqlite3* db = sqlite3_db_handle(statement_.get());
  const std::string message = sqlite3_errmsg(db);
  sqlite3_reset(statement_.get());
  if (result != SQLITE_DONE) throw SqlError(result, message);
}

std::int64_t Prepared::Int() {
  Step();
  return value_.empty() ? 0 : std::stoll(value_);
}

std::string Prepared::Text() {
  Step();
  return value_;
}

Sql::Sql(const std::string& path, const char* vfs) {
  sqlite3* db = nullptr;
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  const int result = sqlite3_open_v2(path.c_str(), &db, kFlags, vfs);
  db_.reset(db);
  Check(db, result);
  sqlite3_extended_result_codes(db, 1);
}

void Sql::Exec(const std::string& sql) {
  Check(get(), sqlite3_exec(get(), sql.c_str(), nullptr, nullptr, nullptr));
}

void Sql::RetryEveryMillisecond(int timeout_ms) {
  tries_ = timeout_ms;
  sqlite3_busy_handler(get(), Nap, &tries_);
}

}  // namespace lockscope::torture
