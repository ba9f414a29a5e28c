// A database in a folder of its own, with one connection, whose rollback journal is looked at.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "support/temp_dir.h"

namespace lockscope::testing {

class JournalDatabase {
 public:
  JournalDatabase() { EXPECT_EQ(sqlite3_open((dir_ / "db").c_str(), &db_), SQLITE_OK); }
  ~JournalDatabase() { sqlite3_close(db_); }
  JournalDatabase(const JournalDatabase&) = delete;
  JournalDatabase& operator=(const JournalDatabase&) = delete;

  void Run(const std::string& sql) {
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_free(error);
  }

  // The beginning of the journal, so many bytes at most. Nobody locks a journal: it may be closed.
  std::vector<std::uint8_t> Journal(std::size_t most) const {
    const int fd = open((dir_ / "db-journal").c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_GE(fd, 0);
    std::vector<std::uint8_t> bytes(most);
    const ssize_t count = read(fd, bytes.data(), bytes.size());
    close(fd);
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return bytes;
  }

 private:
  const TempDir dir_;
  sqlite3* db_ = nullptr;
};

}  // namespace lockscope::testing
