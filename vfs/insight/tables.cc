#include <algorithm>
#include <array>
#include <utility>

#include "insight/barrier_table.h"
#include "insight/blocker_table.h"
#include "insight/connections.h"
#include "insight/hazard_table.h"
#include "insight/history_tables.h"
#include "insight/locks.h"
#include "insight/recovery_table.h"
#include "insight/snapshots.h"
#include "insight/table_parts.h"
#include "insight/waits.h"
#include "ledger/registry.h"
#include "settings/settings.h"

namespace lockscope::insight {
namespace {

// ---- lockscope_connections ----

constexpr std::array kConnectionColumns = {
    String("database"),    Integer("pid"),           String("process"),
    Integer("connection"), String("since"),          Integer("age_ms"),
    String("sql"),         String("source"),         String("opened"),
    String("pid_start"),   Integer("thread"),        String("application"),
    String("vfs"),         String("sqlite_version"), String("sqlite_source_id"),
    String("state"),       String("journal_mode"),   Integer("autocommit"),
    Integer("busy_count"), String("last_busy"),      String("registry")};

// Of a connection, its process.
struct Program {
  std::string application;
  std::string sqlite_version;
  std::string sqlite_source_id;
};

Program ProgramOf(const ledger::ConnectionView* view) {
  if (view == nullptr) return {};
  if (view->process != nullptr) {
    return {view->process->application, view->process->sqlite_version,
            view->process->sqlite_source_id};
  }
  const ledger::HostSqlite& host = ledger::CurrentHostSqlite();
  return {settings::Application().value_or(""), host.version, host.source_id};
}

// Whether other processes see it, or why they do not; of a process that only the kernel knows, why
// its connections could not be seen if it published any.
Value RegistryOf(const Database& database, const ledger::ConnectionView* view) {
  if (view == nullptr) {
    const std::string& why = database.registry->unavailable();
    return why.empty() ? Null() : Text("unavailable: " + why);
  }
  const std::string& why = view->info.private_because;
  if (!why.empty()) return Text("private: " + why);
  if (view->process == nullptr && settings::HiddenByProcess()) {
    return Text("private: as the setting 'registry' has it");
  }
  return Text("shared");
}

Row ConnectionRow(const Look& look, const Database& database, const ConnectionFacts& facts) {
  const ledger::ConnectionView* view = facts.view;
  const Program program = ProgramOf(view);
  Row row =
      RowOf(Text(database.path), Maybe(facts.pid), Maybe(look.ProcessName(facts.pid, view)),
            ConnectionNumber(view), Maybe(look.Since(facts.since)), Maybe(look.AgeMs(facts.since)),
            Maybe(facts.sql), Text(Name(view != nullptr ? Source::kShim : Source::kKernel)));
  Append(row, RowOf(view != nullptr ? Maybe(look.Since(view->info.opened)) : Null(),
                    Maybe(facts.pid_start), view != nullptr ? Int(view->info.thread) : Null(),
                    Known(program.application), view != nullptr ? Text(view->info.vfs) : Null(),
                    Known(program.sqlite_version), Known(program.sqlite_source_id),
                    Text(Name(facts.state)), Maybe(facts.journal_mode), AutocommitOf(view),
                    view != nullptr ? Int(view->slot.busy_count) : Null(),
                    view != nullptr ? Maybe(look.Since(view->slot.last_busy)) : Null(),
                    RegistryOf(database, view)));
  return row;
}

Rows ConnectionRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    for (const ConnectionFacts& facts : CollectConnections(look, database)) {
      rows.push_back(ConnectionRow(look, database, facts));
    }
  }
  return rows;
}

// ---- lockscope_locks ----

constexpr std::array kLockColumns = {
    String("database"),    Integer("pid"),       String("process"),  Integer("connection"),
    String("since"),       Integer("age_ms"),    String("sql"),      String("source"),
    String("file"),        Integer("inode"),     String("resource"), String("mode"),
    Integer("first_byte"), Integer("last_byte"), Integer("granted"), Integer("verified")};

FileId FileOf(const Database& database, const LockFacts& lock) {
  if (lock.view == nullptr) return IsShm(lock.resource) ? database.shm : database.id;
  return IsShm(lock.resource) ? lock.view->shm : lock.view->info.database;
}

Rows LockRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    for (const LockFacts& lock : CollectLocks(look, database)) {
      const ByteRange bytes = ProtocolBytes(lock.resource, lock.mode);
      const FileId file = FileOf(database, lock);
      Row row = CommonColumns(look, database, lock);
      Append(row, RowOf(Text(IsShm(lock.resource) ? "shm" : "database"),
                        file.known() ? Int(file.inode) : Null(), Text(Name(lock.resource)),
                        Text(Name(lock.mode)), Int(bytes.first), Int(bytes.last),
                        Bool(lock.granted), OptBool(lock.verified)));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// ---- lockscope_snapshots ----

constexpr std::array kSnapshotColumns = {
    String("database"), Integer("pid"),          String("process"),     Integer("connection"),
    String("since"),    Integer("age_ms"),       String("sql"),         String("source"),
    Integer("slot"),    Integer("mark"),         Integer("frame"),      Integer("behind_frames"),
    String("pins"),     Integer("pinned_bytes"), Integer("autocommit"), Integer("open_statements")};

Rows SnapshotRows(const Look& look, const Asker& asker) {
  Rows rows;
  for (const Database& database : look.databases()) {
    const auto locks = CollectLocks(look, database);
    for (const Snapshot& snapshot : CollectSnapshots(look, database, locks)) {
      const ledger::ConnectionView* view = snapshot.lock.view;
      const bool ours = view != nullptr && view->process == nullptr;
      const bool asks =
          ours && std::count(asker.connections.begin(), asker.connections.end(), view->info.id) > 0;
      Row row = CommonColumns(look, database, snapshot.lock);
      Append(row,
             RowOf(Maybe(snapshot.slot), Maybe(snapshot.mark), Maybe(snapshot.frame),
                   Maybe(snapshot.behind_frames), snapshot.pin ? Text(Name(*snapshot.pin)) : Null(),
                   Maybe(snapshot.pinned_bytes), AutocommitOf(view),
                   asks ? Int(asker.open_statements) : Null()));
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// ---- lockscope_wal ----

constexpr std::array kWalColumns = {String("database"),
                                    Integer("page_size"),
                                    Integer("frames"),
                                    Integer("backfilled"),
                                    Integer("pending_frames"),
                                    Integer("wal_bytes"),
                                    Integer("live_bytes"),
                                    Integer("database_pages"),
                                    Integer("salt1"),
                                    Integer("salt2"),
                                    Integer("oldest_snapshot_frame"),
                                    Integer("oldest_snapshot_age_ms"),
                                    Integer("backfill_pinned_by"),
                                    Integer("restart_pinned_by")};

Value PinnedBy(const std::vector<Snapshot>& snapshots, Pin pin) {
  const Snapshot* strongest = StrongestPin(snapshots, pin);
  return strongest != nullptr ? Maybe(strongest->lock.pid) : Null();
}

// The snapshot with the lowest mark of those that have one; null for none.
const Snapshot* Oldest(const std::vector<Snapshot>& snapshots) {
  const Snapshot* oldest = nullptr;
  for (const Snapshot& snapshot : snapshots) {
    if (!snapshot.mark) continue;
    if (oldest == nullptr || *snapshot.mark < *oldest->mark) oldest = &snapshot;
  }
  return oldest;
}

Row WalRow(const Look& look, const Database& database) {
  const Value wal_bytes = Int(database.wal_bytes);
  const auto known = [](std::uint32_t number) { return number != 0 ? Int(number) : Null(); };
  if (!database.wal_index) {
    Row row(kWalColumns.size(), Null());
    row[0] = Text(database.path);
    row[1] = known(database.PageBytes());
    row[5] = wal_bytes;
    return row;
  }
  const format::WalIndex& wal = *database.wal_index;
  // An empty WAL that was recovered has none: the first writer will choose them.
  const bool no_salts = wal.max_frame == 0 && wal.salt1 == 0 && wal.salt2 == 0;
  const auto salt = [no_salts](std::uint32_t number) { return no_salts ? Null() : Int(number); };
  const auto snapshots = CollectSnapshots(look, database, CollectLocks(look, database));
  const Snapshot* oldest = Oldest(snapshots);
  return RowOf(Text(database.path), known(database.PageBytes()), Int(wal.max_frame),
               Int(wal.backfilled), Int(wal.max_frame - wal.backfilled), wal_bytes,
               Int(wal.LiveBytes(wal.max_frame)), known(database.Pages()), salt(wal.salt1),
               salt(wal.salt2), oldest != nullptr ? Int(*oldest->mark) : Null(),
               oldest != nullptr ? Maybe(look.AgeMs(oldest->lock.since)) : Null(),
               PinnedBy(snapshots, Pin::kBackfill), PinnedBy(snapshots, Pin::kRestart));
}

Rows WalRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    if (database.wal_mode) rows.push_back(WalRow(look, database));
  }
  return rows;
}

constexpr std::array kTables = {Table{"connections", kConnectionColumns, ConnectionRows},
                                Table{"locks", kLockColumns, LockRows},
                                Table{"snapshots", kSnapshotColumns, SnapshotRows},
                                Table{"wal", kWalColumns, WalRows},
                                Table{"barriers", kBarrierColumns, BarrierRows},
                                Table{"blockers", kBlockerColumns, BlockerRows},
                                Table{"waits", kWaitColumns, WaitRows},
                                Table{"recoveries", kRecoveryColumns, RecoveryRows},
                                Table{"hazards", kHazardColumns, HazardRows},
                                Table{"events", kEventColumns, EventRows},
                                Table{"stats", kStatColumns, StatRows}};

}  // namespace

std::span<const Table> AllTables() { return kTables; }

const Table* FindTable(std::string_view name) {
  constexpr std::string_view kPrefix = "lockscope_";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  const auto* found = std::find_if(kTables.begin(), kTables.end(),
                                   [name](const Table& table) { return name == table.name; });
  return found == kTables.end() ? nullptr : found;
}

}  // namespace lockscope::insight
