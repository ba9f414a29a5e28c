// ExchangedMethods: for a while, a copy of a file's method table stands in its place, in which some
// slots are another's. So nothing is in the way of the file's calls at any other time.
//
// The table comes first in this object, which is therefore found from the file that it was put
// into.
//
// Threads: those of the file. REQUIRES: it ends before the file is closed, or by that.
#pragma once

#include "shim/sqlite_api.h"

namespace lockscope::shim {

class ExchangedMethods {
 public:
  ExchangedMethods() = default;
  ~ExchangedMethods() { End(); }
  ExchangedMethods(const ExchangedMethods&) = delete;
  ExchangedMethods& operator=(const ExchangedMethods&) = delete;

  // The copy, for its owner to put his slots into, but for xClose, which ends it. As much is copied
  // of the table as its version has, up to the newest that is known here.
  sqlite3_io_methods& Begin(sqlite3_file* file, void* owner) noexcept;
  void End() noexcept;

  // In a slot that was put in: whose it is, and what stood there.
  template <class Owner>
  static Owner& OwnerOf(sqlite3_file* file) {
    return *static_cast<Owner*>(Of(file).owner_);
  }
  static const sqlite3_io_methods& OriginalOf(sqlite3_file* file) { return *Of(file).original_; }

 private:
  static ExchangedMethods& Of(sqlite3_file* file);
  static int xClose(sqlite3_file* file);

  sqlite3_io_methods table_{};  // first
  const sqlite3_io_methods* original_ = nullptr;
  void* owner_ = nullptr;
  sqlite3_file* file_ = nullptr;  // null: nothing is exchanged
};

}  // namespace lockscope::shim
