// Connections of this very process, through the shim: what the in-process tests are written with.
//
//   TempDir dir;
//   Db db(dir / "a.db");                          // the default VFS is lockscope
//   db.Exec("create table t(x); begin immediate");
//   Db look(":memory:");
//   EXPECT_EQ(look.Value("select mode from lockscope_locks(" + Quote(dir / "a.db") + ")"), …);
//
// No test opens a database file by other means than SQLite: the close() would drop its locks.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "support/actor.h"

namespace lockscope::testing {

// An SQL string literal.
std::string Quote(std::string_view text);

// A connection with lockscope's functions and tables. For one thread at a time.
class Db {
 public:
  static constexpr int kFlags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;

  // Registers the shim as the default VFS before the first of all. Throws where SQLite refuses.
  explicit Db(const std::string& file, const char* vfs = nullptr, int flags = kFlags);
  ~Db() { Close(); }
  Db(const Db&) = delete;
  Db& operator=(const Db&) = delete;

  sqlite3* handle() const { return db_; }
  void Close();

  // Runs all statements in `sql`; the rows of the last one. NULL is "NULL", blobs are hexadecimal.
  Reply Try(std::string_view sql);
  // As Try; throws where SQLite refuses.
  std::vector<Row> Query(std::string_view sql);
  void Exec(std::string_view sql) { Query(sql); }
  // The one row's columns, separated by a blank. Throws for none or several rows.
  std::string Value(std::string_view sql);
  // The rows, each as Value() shows it.
  std::vector<std::string> Lines(std::string_view sql);

 private:
  sqlite3* db_ = nullptr;
};

// SQLite's code for opening a database that should not open.
int OpenCode(const std::string& uri);

// A prepared statement. Throws where SQLite refuses to prepare it.
class Statement {
 public:
  Statement(Db& db, const std::string& sql);
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  sqlite3_stmt* handle() const { return statement_; }
  int Step() { return sqlite3_step(statement_); }
  void Reset() { sqlite3_reset(statement_); }

 private:
  sqlite3_stmt* statement_ = nullptr;
};

// What went to sqlite3_log() since the object was made, in this process: "14 cannot open …".
class LogCapture {
 public:
  LogCapture();
  std::vector<std::string> Lines() const;
  // How many lines contain `text`.
  int Count(std::string_view text) const;

 private:
  std::size_t from_;
};

// The shim as the default VFS; done by the first Db too.
void RegisterShim();

// This program's own file, for tests that run a part of themselves with another environment.
std::string OwnProgram();

}  // namespace lockscope::testing
