// ShimFile: what follows a request that SQLite did not get.
#include "ledger/refusal.h"
#include "shim/refusals.h"
#include "shim/shim_file.h"
#include "shim/shim_vfs.h"

namespace lockscope::shim {

using ledger::Autocommit;
using ledger::CallContext;
using ledger::Ticks;

// `db`: of the connection that was refused; null: not known. Who was in the way is told as of
// the time at which it asked: when the call comes back, others may have taken the lock.
void ShimFile::AfterRefusal(sqlite3* db, const CallContext& context,
                            const CallTime& time) noexcept {
  const auto refused = connection_->refused();
  // A barrier tells by itself what was in its way.
  if (!refused || vfs_->for_barriers()) return;
  const Asking asking{.db = db,
                      .is_heard = context.statement_number != 0,
                      .wrote = connection_->HasWrittenIn(context)};
  if (!IsBusy(*refused, connection_->held(), asking)) {
    connection_->RefusalSwallowed();
    return;
  }
  const bool begins = connection_->WaitBegins(time.asked, time.returned);
  if (!begins && !connection_->WaitNeedsCause(time.returned)) return;
  const ledger::Upgrade upgrade = UpgradeOf(*refused, context);
  if (begins && upgrade != ledger::Upgrade::kNone) connection_->WaitUpgrades(upgrade);
  Explain(*refused, upgrade, time);
}

// Null: not known.
const char* ShimFile::OwnSchema() const noexcept {
  if (db_ == nullptr || *db_ == nullptr) return nullptr;
  const StatementTracker* const tracker = CurrentTracker();
  if (installed_tracker_ && tracker != nullptr && tracker->Follows(*db_)) return "main";
  if (sqlite3_libversion_number() < kDbNameSqliteVersion) return nullptr;
  for (int i = 0;; ++i) {
    const char* const schema = sqlite3_db_name(*db_, i);
    // The name that SQLite opened the file by is the same memory, not only the same text.
    if (schema == nullptr || sqlite3_db_filename(*db_, schema) == path_) return schema;
  }
}

// SQLite calls no busy handler where a read transaction is open before it asks for the lock, and
// tells that itself; but it may be this very statement that reads (PRAGMA journal_mode=WAL).
ledger::Upgrade ShimFile::UpgradeOf(const Event& wanted,
                                    const CallContext& context) const noexcept {
  using ledger::Upgrade;
  if (!wanted.AsksToWrite()) return Upgrade::kNone;
  const char* const schema = OwnSchema();
  // SQLite asks whether anybody of a shared cache reads, and tells each connection of itself alone.
  const Upgrade by_others =
      joined_.load(std::memory_order_relaxed) ? Upgrade::kPerhapsInCache : Upgrade::kNone;
  if (schema == nullptr) {
    return connection_->Upgrades(wanted, context) ? Upgrade::kInTransaction : by_others;
  }
  if (sqlite3_txn_state(*db_, schema) != SQLITE_TXN_READ) return by_others;
  if (context.autocommit == Autocommit::kOff) return Upgrade::kInTransaction;
  return HasUnfinished(*db_) ? Upgrade::kBesideStatement : Upgrade::kInStatement;
}

void ShimFile::Explain(const Event& event, ledger::Upgrade upgrade, const CallTime& time) noexcept {
  const ledger::RefusalExplainer explainer = ledger::CurrentRefusalExplainer();
  if (explainer == nullptr) return;
  ledger::RefusalCause cause;
  const ledger::Refusal refusal{.connection = connection_->id(),
                                .path = path_,
                                .event = event,
                                .upgrade = upgrade,
                                .asked = time.asked,
                                .waited = connection_->WaitExcusesLook(time.returned),
                                .is_told = connection_->WaitIsTold()};
  const ledger::Looked looked = explainer(refusal, cause);
  if (looked == ledger::Looked::kFound) connection_->WaitExplained(cause);
  if (looked == ledger::Looked::kNobody) connection_->WaitFoundNobody(cause);
  if (looked != ledger::Looked::kNot) connection_->WaitLookedInto(time.returned);
}

void ShimFile::WriteLockOfStaleSnapshot(Ticks now) noexcept {
  WriteLockOfStaleSnapshot(now, Context(User()));
}

void ShimFile::WriteLockOfStaleSnapshot(Ticks now, const CallContext& context) noexcept {
  is_stale_ = true;
  if (vfs_->for_barriers()) return;
  const Event wanted{.resource = Resource::kWalWrite, .to = LockMode::kExclusive};
  const ledger::Upgrade upgrade = UpgradeOf(wanted, context);
  const bool perhaps = upgrade == ledger::Upgrade::kPerhapsInCache;
  if (perhaps || upgrade == ledger::Upgrade::kNone) {
    connection_->WriteLockOvertaken(now, context, perhaps);
  } else {
    connection_->SnapshotStale(now, upgrade, context);
  }
}

}  // namespace lockscope::shim
