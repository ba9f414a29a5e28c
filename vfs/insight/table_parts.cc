#include "insight/table_parts.h"

namespace lockscope::insight {

Value AutocommitOf(const ledger::ConnectionView* view) {
  if (view == nullptr || view->held.autocommit == ledger::Autocommit::kUnknown) return Null();
  return Bool(view->held.autocommit == ledger::Autocommit::kOn);
}

Row CommonColumns(const Look& look, const Database& database, const LockFacts& lock) {
  return RowOf(Text(database.path), Maybe(lock.pid), Maybe(look.ProcessName(lock.pid, lock.view)),
               ConnectionNumber(lock.view), Maybe(look.Since(lock.since)),
               Maybe(look.AgeMs(lock.since)), Maybe(lock.sql), Text(Name(lock.source)));
}

Teller TellerOf(const Look& look, const Database& database, const ledger::ProcessFacts* process) {
  if (process == nullptr) return {look.pid(), look.ProcessName(look.pid())};
  // By its locks the kernel may have told which of our pid namespace's processes it is.
  for (const ledger::ConnectionView& view : database.others) {
    if (view.process->instance != process->instance) continue;
    return {view.process->pid, look.ProcessName(view.process->pid, &view)};
  }
  if (process->pid) return {process->pid, look.ProcessName(process->pid)};
  return {std::nullopt, process->command};
}

ledger::DatabaseFilter Of(const Database& database) {
  return [&database](const std::string& path, const FileId& id) {
    return path == database.path || (database.id.known() && id == database.id);
  };
}

}  // namespace lockscope::insight
