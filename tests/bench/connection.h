// Connection and Statement: SQLite's handles with an end, for benchmarks. Every error throws.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>

#include "bench/comparison.h"

namespace lockscope::bench {

// The VFS of a side; "unix" for both while calibrating.
const char* VfsOf(Side side, bool calibrate);

class Statement {
 public:
  Statement(sqlite3* db, const std::string& sql);

  // Steps to the end with ?1 = `argument`, and resets: one autocommit statement. Returns the first
  // column of the last row, 0 where there is none.
  std::int64_t Run(std::int64_t argument);
  // As Run(); false where SQLite said SQLITE_BUSY.
  bool TryRun(std::int64_t argument);

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  int StepToEnd(std::int64_t argument);

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::int64_t value_ = 0;
};

class Connection {
 public:
  Connection(const std::string& path, const char* vfs);

  void Exec(const std::string& sql);
  sqlite3* get() const { return db_.get(); }

 private:
  struct Close {
    void operator()(sqlite3* db) const { sqlite3_close(db); }
  };
  std::unique_ptr<sqlite3, Close> db_;
};

// A database t(id integer primary key, v integer, pad text) of kRows rows, made by stock SQLite;
// what was there before is removed.
inline constexpr std::int64_t kRows = 2000;
void CreateDatabase(const std::string& path, const std::string& journal_mode);

// The lock calls that lockscope has recorded of `path` in this process: the sum of the connections'
// event numbers.
std::int64_t RecordedLockCalls(const std::string& path);

}  // namespace lockscope::bench
