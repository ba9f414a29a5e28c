// InterruptProbe: whether sqlite3_interrupt() was called for a connection that is running a
// function of ours.
//
// It is noticed by a statement that runs: there is no other way before SQLite 3.41. This one needs
// no schema and takes no lock.
#pragma once

#include <memory>

#include "shim/sqlite_api.h"

namespace lockscope::loadable {

class InterruptProbe {
 public:
  explicit InterruptProbe(sqlite3* db) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(db, "PRAGMA busy_timeout", -1, &statement, nullptr) == SQLITE_OK) {
      statement_.reset(statement);
    }
  }
  bool Interrupted() {
    if (statement_ == nullptr) return false;
    const bool interrupted = sqlite3_step(statement_.get()) == SQLITE_INTERRUPT;
    sqlite3_reset(statement_.get());
    return interrupted;
  }

 private:
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

}  // namespace lockscope::loadable
