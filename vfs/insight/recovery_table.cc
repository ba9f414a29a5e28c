#include "insight/recovery_table.h"

#include "insight/recoveries.h"

namespace lockscope::insight {
namespace {

Value DurationMs(const Look& look, const SeenRecovery& recovery) {
  if (recovery.started == 0) return Null();
  const ledger::Ticks end = recovery.ended != 0 ? recovery.ended : look.now().ticks;
  if (end < recovery.started) return Null();
  return Int(look.timeline().DurationNs(end - recovery.started) / 1'000'000);
}

Row RecoveryRow(const Look& look, const Database& database, const SeenRecovery& recovery) {
  const bool wal = recovery.kind == ledger::RecoveryKind::kWal;
  Row row =
      RowOf(Text(database.path), Maybe(recovery.pid), Maybe(recovery.process),
            Maybe(recovery.connection), Maybe(look.Since(recovery.started)),
            Maybe(look.AgeMs(recovery.started)), Maybe(recovery.sql), Text(Name(recovery.source)));
  Append(row,
         RowOf(Text(Name(recovery.kind)), Text(Name(recovery.state)),
               Text(database.path + (wal ? "-wal" : "-journal")), Maybe(recovery.journal_bytes),
               Maybe(recovery.pages_total), Maybe(recovery.pages_done),
               Maybe(look.Since(recovery.started)), DurationMs(look, recovery),
               Maybe(recovery.refused), Maybe(recovery.super_journal)));
  return row;
}

}  // namespace

Rows RecoveryRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    for (const SeenRecovery& recovery : CollectRecoveries(look, database, Refused::kCounted)) {
      rows.push_back(RecoveryRow(look, database, recovery));
    }
  }
  return rows;
}

}  // namespace lockscope::insight
