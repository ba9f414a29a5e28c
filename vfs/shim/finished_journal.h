// FinishedJournal: tells when the journal that is being rolled back is overwritten or cut off.
// Nobody writes to it before: what it is read for is over then. Only a journal that is deleted is
// not told of here.
//
// Threads: those of the database's file. REQUIRES: it ends before the journal is closed, or by
// that.
#pragma once

#include "shim/exchanged_methods.h"

namespace lockscope::shim {

class ShimFile;

class FinishedJournal {
 public:
  // Calls `database`'s JournalFinished(), once, which may destroy this object.
  void Watch(sqlite3_file* journal, ShimFile& database) noexcept;

 private:
  static int xWrite(sqlite3_file* file, const void* buffer, int bytes, sqlite3_int64 offset);
  static int xTruncate(sqlite3_file* file, sqlite3_int64 bytes);

  ExchangedMethods methods_;
};

}  // namespace lockscope::shim
