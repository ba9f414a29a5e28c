// Roles: what goes on while barriers come and go. Each runs in a process of its own, with plain
// SQLite, until SharedState::stop; each closes and opens its connections now and then.
#pragma once

#include <string>

#include "bank.h"
#include "shared_state.h"

namespace lockscope::torture {

struct Setting {
  BankFiles files;
  bool wal = true;
  unsigned seed = 0;
  // Benchmarks: nobody rolls back, closes, thinks or checkpoints by himself; transactions are all
  // alike.
  bool steady = false;
};

// Transactions of random sizes, some rolled back; hot phases and small pauses; a small cache, so
// that uncommitted frames stand in the WAL; journal_size_limit and wal_autocheckpoint change.
void RunWriter(const Setting& setting, SharedState& shared, int number);
// PASSIVE, FULL, RESTART, TRUNCATE, with several busy timeouts; now and then a VACUUM.
void RunCheckpointer(const Setting& setting, SharedState& shared);
// Short and longer snapshots, each audited.
void RunReader(const Setting& setting, SharedState& shared, int number);

}  // namespace lockscope::torture
