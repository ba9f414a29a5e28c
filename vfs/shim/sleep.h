// Which connection a thread waits for when it sleeps.
//
// SQLite's own busy handler sleeps through the VFS's xSleep, which names no connection: it is the
// one whose request this thread was refused last. An application's busy handler sleeps elsewhere,
// unseen.
#pragma once

#include "ledger/connection.h"

namespace lockscope::shim {

// A request of `connection` was refused in this thread.
void SleepsFor(ledger::Connection& connection) noexcept;

// Marks that connection as asleep while it lives; does nothing where there is none.
class SleepMark {
 public:
  SleepMark() noexcept;
  ~SleepMark();
  SleepMark(const SleepMark&) = delete;
  SleepMark& operator=(const SleepMark&) = delete;

 private:
  ledger::Connection* connection_;
};

}  // namespace lockscope::shim
