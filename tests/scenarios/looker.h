// Looker: what this process sees of a database that others use.
//
//   Looker looker;                                      // a :memory: connection with lockscope
//   looker.Locks(path, actor.pid())                     // {"database RESERVED
//   1073741825-1073741825"} looker.One("select state from lockscope_connections(?1) where pid =
//   ?2", path, pid)
//
// The database is never opened through SQLite here, so that looking takes no lock of its own.
#pragma once

#include <sqlite3.h>
#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "support/actor.h"

namespace lockscope::testing {

// What follows a table's name in these tests when every table is meant.
inline constexpr const char* kTables[] = {"connections", "locks",  "snapshots", "wal",
                                          "blockers",    "events", "stats"};

class Looker {
 public:
  // Opens `file` (by default no file) and adds lockscope's functions and tables to it.
  explicit Looker(const std::string& file = ":memory:");
  ~Looker();
  Looker(const Looker&) = delete;
  Looker& operator=(const Looker&) = delete;

  sqlite3* db() const { return db_; }

  // All rows of one statement. Throws std::runtime_error with SQLite's message where it refuses.
  std::vector<Row> All(std::string_view sql, const std::vector<std::string>& arguments = {}) const;

  // As All, for exactly one row: throws where there are more or none.
  Row One(std::string_view sql, const std::vector<std::string>& arguments = {}) const;

  // The code and message of a statement that SQLite may refuse; no rows.
  Reply Try(std::string_view sql, const std::vector<std::string>& arguments = {}) const;

  // The kernel's rows of one process, sorted: "RESOURCE MODE FIRST-LAST", " waits" after a request
  // that is not granted. A row that has anything but NULL where only lockscope's own connections
  // are known, or that lies about its file, shows it: " connection=3".
  std::vector<std::string> Locks(const std::string& path, pid_t pid) const;

  // The same of this process's connections: rows whose source is the shim.
  std::vector<std::string> OwnLocks(const std::string& path) const;

  // The state of a process in lockscope_connections, of which it must have one row.
  std::string State(const std::string& path, pid_t pid) const;

  // Looks at `path` by every means there is: each table, and lockscope_json of each.
  void LookEverywhere(const std::string& path) const;

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace lockscope::testing
