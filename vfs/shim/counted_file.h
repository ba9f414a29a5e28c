// CountedFile: counts the pages that are written to a file, or read from it, for as long as a
// recovery takes.
//
// The file's method table is exchanged for a copy in which one slot counts: so nothing is in the
// way of reads and writes at any other time. The table comes first in this object, which is
// therefore found from the file that it was put into.
//
// Threads: those of the file. REQUIRES: it ends before the file is closed, or by that.
#pragma once

#include "ledger/word.h"
#include "shim/sqlite_api.h"

namespace lockscope::shim {

// Copies as much of a table as its version has, up to the newest that is known here.
void CopyMethods(const sqlite3_io_methods& from, sqlite3_io_methods& to) noexcept;

class CountedFile {
 public:
  enum class What { kReads, kWrites };
  CountedFile() = default;
  ~CountedFile() { End(); }
  CountedFile(const CountedFile&) = delete;
  CountedFile& operator=(const CountedFile&) = delete;

  // What is smaller than `smallest_bytes` is no page.
  void Begin(sqlite3_file* file, What what, int smallest_bytes, ledger::Word& pages) noexcept;
  void End() noexcept;

 private:
  struct State {
    sqlite3_io_methods table;  // first
    const sqlite3_io_methods* original;
    CountedFile* self;
    ledger::Word* pages;
    int smallest_bytes;
  };
  static State& StateOf(sqlite3_file* file);
  static void Count(State& state, int result, int bytes) noexcept;
  static int xRead(sqlite3_file* file, void* buffer, int bytes, sqlite3_int64 offset);
  static int xWrite(sqlite3_file* file, const void* buffer, int bytes, sqlite3_int64 offset);
  static int xClose(sqlite3_file* file);

  State state_{};
  sqlite3_file* file_ = nullptr;  // null: nothing is counted
};

}  // namespace lockscope::shim
