#include "bench/connection.h"

#include <lockscope.h>

#include <filesystem>
#include <stdexcept>

namespace lockscope::bench {
namespace {

[[noreturn]] void Fail(sqlite3* db, const std::string& what) {
  throw std::runtime_error(what + ": " + sqlite3_errmsg(db));
}

}  // namespace

const char* VfsOf(Side side, bool calibrate) {
  return side == Side::kStock || calibrate ? "unix" : "lockscope";
}

Statement::Statement(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db, sql.c_str(), -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK) {
    Fail(db, sql);
  }
  statement_.reset(statement);
}

int Statement::StepToEnd(std::int64_t argument) {
  sqlite3_bind_int64(statement_.get(), 1, argument);
  int result = 0;
  value_ = 0;
  while ((result = sqlite3_step(statement_.get())) == SQLITE_ROW) {
    value_ = sqlite3_column_int64(statement_.get(), 0);
  }
  sqlite3_reset(statement_.get());
  return result;
}

std::int64_t Statement::Run(std::int64_t argument) {
  if (StepToEnd(argument) != SQLITE_DONE) {
    Fail(sqlite3_db_handle(statement_.get()), sqlite3_sql(statement_.get()));
  }
  return value_;
}

bool Statement::TryRun(std::int64_t argument) {
  const int result = StepToEnd(argument);
  if (result != SQLITE_DONE && (result & 0xff) != SQLITE_BUSY) {
    Fail(sqlite3_db_handle(statement_.get()), sqlite3_sql(statement_.get()));
  }
  return result == SQLITE_DONE;
}

Connection::Connection(const std::string& path, const char* vfs) {
  sqlite3* db = nullptr;
  const int result = sqlite3_open_v2(
      path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, vfs);
  db_.reset(db);
  if (result != SQLITE_OK) Fail(db, path);
}

void Connection::Exec(const std::string& sql) {
  if (sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    Fail(db_.get(), sql);
  }
}

void CreateDatabase(const std::string& path, const std::string& journal_mode) {
  for (const char* end : {"", "-wal", "-shm", "-journal"}) std::filesystem::remove(path + end);
  Connection connection(path, "unix");
  connection.Exec("pragma synchronous = off; pragma journal_mode = " + journal_mode +
                  "; create table t(id integer primary key, v integer, pad text);"
                  "with recursive n(i) as (select 1 union all select i + 1 from n where i < " +
                  std::to_string(kRows) +
                  ") insert into t select i, i * 7, printf('%064d', i) from n;");
  if (journal_mode == "wal") connection.Exec("pragma wal_checkpoint(truncate)");
}

std::int64_t RecordedLockCalls(const std::string& path) {
  Connection memory(":memory:", nullptr);
  if (lockscope_init(memory.get()) != SQLITE_OK) Fail(memory.get(), "lockscope_init");
  const std::string quoted = "'" + path + "'";
  Statement count(memory.get(),
                  "select sum(last) from (select max(seq) as last from lockscope_events(" + quoted +
                      ") group by connection) where ?1");
  return count.Run(1);
}

}  // namespace lockscope::bench
