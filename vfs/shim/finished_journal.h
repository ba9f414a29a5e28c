// FinishedJournal: tells when the journal that is being rolled back is overwritten or cut off.
// Nobody writes to it before: what it is read for is over then.
//
// The journal's method table is exchanged, as a CountedFile's is; only a journal that is deleted is
// not told of here.
//
// Threads: those of the database's file. REQUIRES: it ends before the journal is closed, or by
// that.
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::shim {

class ShimFile;

class FinishedJournal {
 public:
  FinishedJournal() = default;
  ~FinishedJournal() { End(); }
  FinishedJournal(const FinishedJournal&) = delete;
  FinishedJournal& operator=(const FinishedJournal&) = delete;

  // Calls `database`'s JournalFinished(), once, which may destroy this object.
  void Watch(sqlite3_file* journal, ShimFile& database) noexcept;
  void End() noexcept;

 private:
  struct State {
    sqlite3_io_methods table;  // first
    const sqlite3_io_methods* original;
    FinishedJournal* self;
    ShimFile* database;
  };
  static State& StateOf(sqlite3_file* file);
  static void Finished(State& state, int result) noexcept;
  static int xWrite(sqlite3_file* file, const void* buffer, int bytes, sqlite3_int64 offset);
  static int xTruncate(sqlite3_file* file, sqlite3_int64 bytes);
  static int xClose(sqlite3_file* file);

  State state_{};
  sqlite3_file* file_ = nullptr;  // null: nothing is watched
};

}  // namespace lockscope::shim
