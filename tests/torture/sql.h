// Sql: plain SQLite's handles with an end. Every error throws SqlError, SQLITE_BUSY included.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace lockscope::torture {

class SqlError : public std::runtime_error {
 public:
  SqlError(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  // The primary result code.
  int code() const { return code_ & 0xff; }

 private:
  int code_;
};

class Prepared {
 public:
  Prepared() = default;
  Prepared(sqlite3* db, const std::string& sql);

  Prepared& Bind(int index, std::int64_t value);
  Prepared& Bind(int index, const std::string& value);
  // Steps to the end and resets. The first column of the last row: as a number, as text.
  std::int64_t Int();
  std::string Text();
  void Run() { Step(); }

 private:
  void Step();

  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::string value_;
};

class Sql {
 public:
  // READWRITE | CREATE | URI. `vfs` null: the default one.
  explicit Sql(const std::string& path, const char* vfs = nullptr);

  void Exec(const std::string& sql);
  std::int64_t Int(const std::string& sql) { return Prepared(get(), sql).Int(); }
  std::string Text(const std::string& sql) { return Prepared(get(), sql).Text(); }
  bool InTransaction() const { return sqlite3_get_autocommit(get()) == 0; }
  // Asks again every millisecond, as some frameworks do: SQLite's own handler, which sleeps up to
  // 100 ms, would show its naps as stalls.
  void RetryEveryMillisecond(int timeout_ms);
  sqlite3* get() const { return db_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
  int tries_ = 0;  // what the busy handler may do; the handler has its address
 public:
  Sql(const Sql&) = delete;
  Sql& operator=(const Sql&) = delete;
};

}  // namespace lockscope::torture
