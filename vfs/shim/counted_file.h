// CountedFile: counts the pages that are written to a file, or read from it, for as long as a
// recovery takes.
//
// Threads: those of the file. REQUIRES: it ends before the file is closed, or by that.
#pragma once

#include "ledger/word.h"
#include "shim/exchanged_methods.h"

namespace lockscope::shim {

class CountedFile {
 public:
  enum class What { kReads, kWrites };

  // What is smaller than `smallest_bytes` is no page.
  void Begin(sqlite3_file* file, What what, int smallest_bytes, ledger::Word& pages) noexcept;
  void End() noexcept { methods_.End(); }

 private:
  void Count(int result, int bytes) noexcept;
  static int xRead(sqlite3_file* file, void* buffer, int bytes, sqlite3_int64 offset);
  static int xWrite(sqlite3_file* file, const void* buffer, int bytes, sqlite3_int64 offset);

  ExchangedMethods methods_;
  ledger::Word* pages_ = nullptr;
  int smallest_bytes_ = 0;
};

}  // namespace lockscope::shim
