#include <unistd.h>

#include <algorithm>
#include <array>

#include "insight/blocker_table.h"
#include "insight/connections.h"
#include "insight/locks.h"
#include "insight/snapshots.h"
#include "insight/table.h"
#include "ledger/barrier_board.h"
#include "model/result_name.h"

namespace lockscope::insight {
namespace {

constexpr Column Integer(const char* name) { return {name, "INTEGER"}; }
constexpr Column String(const char* name) { return {name, "TEXT"}; }

Value Opt(const std::optional<std::string>& text) { return Maybe(text); }

Value ConnectionNumber(const ledger::ConnectionView* view) {
  return view != nullptr ? Int(view->info.id) : Null();
}

Value OptBool(const std::optional<bool>& yes) { return yes ? Bool(*yes) : Null(); }

Value AutocommitOf(const ledger::ConnectionView* view) {
  if (view == nullptr || view->held.autocommit == ledger::Autocommit::kUnknown) return Null();
  return Bool(view->held.autocommit == ledger::Autocommit::kOn);
}

// The columns that every table of connections begins with, for one lock.
Row CommonColumns(const Look& look, const Database& database, const LockFacts& lock) {
  return RowOf(Text(database.path), Maybe(lock.pid), Opt(look.ProcessName(lock.pid)),
               ConnectionNumber(lock.view), Opt(look.Since(lock.since)),
               Maybe(look.AgeMs(lock.since)), Opt(lock.sql), Text(Name(lock.source)));
}

void Append(Row& row, Row more) {
  row.insert(row.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// ---- lockscope_connections ----

constexpr std::array kConnectionColumns = {
    String("database"),    Integer("pid"),           String("process"),
    Integer("connection"), String("since"),          Integer("age_ms"),
    String("sql"),         String("source"),         String("opened"),
    String("pid_start"),   Integer("thread"),        String("application"),
    String("vfs"),         String("sqlite_version"), String("sqlite_source_id"),
    String("state"),       String("journal_mode"),   Integer("autocommit"),
    Integer("busy_count"), String("last_busy")};

Rows ConnectionRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    for (const ConnectionFacts& facts : CollectConnections(look, database)) {
      const ledger::ConnectionView* view = facts.view;
      const HostSqlite host = view != nullptr ? CurrentHostSqlite() : HostSqlite{};
      const auto known = [](const std::string& text) { return text.empty() ? Null() : Text(text); };
      rows.push_back(RowOf(
          Text(database.path), Maybe(facts.pid), Opt(look.ProcessName(facts.pid)),
          ConnectionNumber(view), Opt(look.Since(facts.since)), Maybe(look.AgeMs(facts.since)),
          Opt(facts.sql), Text(Name(view != nullptr ? Source::kShim : Source::kKernel)),
          view != nullptr ? Opt(look.Since(view->info.opened)) : Null(), Opt(facts.pid_start),
          view != nullptr ? Int(view->info.thread) : Null(), Null(),
          view != nullptr ? Text(view->info.vfs) : Null(), known(host.version),
          known(host.source_id), Text(Name(facts.state)), Opt(facts.journal_mode),
          AutocommitOf(view), view != nullptr ? Int(view->slot.busy_count) : Null(),
          view != nullptr ? Opt(look.Since(view->slot.last_busy)) : Null()));
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
      const bool asks = view != nullptr && std::count(asker.connections.begin(),
                                                      asker.connections.end(), view->info.id) > 0;
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

// ---- lockscope_barriers ----

constexpr std::array kBarrierColumns = {
    String("database"), Integer("pid"),    String("process"), Integer("connection"),
    String("since"),    Integer("age_ms"), String("sql"),     String("source"),
    String("token"),    String("label"),   String("kind"),    String("databases"),
    String("expires"),  String("state")};

using BarrierMember = ledger::BarrierNotice::Member;

// The member that is one of the databases looked at; null for none.
const BarrierMember* MemberLookedAt(const Look& look, const ledger::BarrierNotice& notice) {
  for (const Database& database : look.databases()) {
    for (const BarrierMember& member : notice.members) {
      if (member.path == database.path || (database.id.known() && member.database == database.id)) {
        return &member;
      }
    }
  }
  return nullptr;
}

std::string PathsAsJson(const std::vector<BarrierMember>& members) {
  std::vector<std::string> paths;
  paths.reserve(members.size());
  for (const BarrierMember& member : members) paths.push_back(member.path);
  return JsonStrings(paths);
}

Rows BarrierRows(const Look& look, const Asker&) {
  Rows rows;
  for (const ledger::BarrierNotice& notice : ledger::BarrierBoard::Process().All()) {
    const BarrierMember* member = MemberLookedAt(look, notice);
    if (member == nullptr) continue;
    Value expires = Null();
    if (notice.expires_monotonic_ns != 0) {
      const auto from_now = static_cast<std::int64_t>(notice.expires_monotonic_ns) -
                            static_cast<std::int64_t>(look.now().monotonic_ns);
      expires = Text(ledger::FormatUtc(look.now().realtime_ns + from_now));
    }
    rows.push_back(RowOf(Text(member->path), Int(look.pid()), Opt(look.ProcessName(look.pid())),
                         Int(member->connection), Opt(look.Since(notice.since)),
                         Maybe(look.AgeMs(notice.since)), Null(), Text(Name(Source::kShim)),
                         Text(notice.token), notice.label.empty() ? Null() : Text(notice.label),
                         Text(notice.kind), Text(PathsAsJson(notice.members)), std::move(expires),
                         Text(Name(notice.state))));
  }
  return rows;
}

// ---- lockscope_events ----

constexpr std::array kEventColumns = {
    String("database"),  Integer("pid"),         String("process"),   Integer("connection"),
    String("source"),    Integer("seq"),         String("at"),        Integer("monotonic_ns"),
    String("operation"), String("resource"),     String("from_mode"), String("to_mode"),
    String("result"),    Integer("duration_ns"), Integer("lost")};

ledger::DatabaseFilter Of(const Database& database) {
  return [&database](const std::string& path, const FileId& id) {
    return path == database.path || (database.id.known() && id == database.id);
  };
}

struct TimedRow {
  ledger::Ticks at;
  Row row;
};

void AddEvents(const Look& look, const Database& database, std::vector<TimedRow>& rows) {
  for (const auto& connection : ledger::Ledger::Process().Events(Of(database))) {
    for (const auto& recorded : connection.events) {
      const Event& event = recorded.event;
      const bool measured = recorded.duration_ticks != ledger::kNotMeasured;
      rows.push_back(
          {recorded.at,
           RowOf(Text(database.path), Int(look.pid()), Opt(look.ProcessName(look.pid())),
                 Int(connection.info.id), Text(Name(Source::kShim)), Int(recorded.number + 1),
                 Opt(look.Since(recorded.at)), Int(look.timeline().MonotonicNs(recorded.at)),
                 Text(Name(event.operation)), Text(event.ResourceName()), Text(Name(event.from)),
                 Text(Name(event.to)), Text(ResultName(event.result)),
                 measured ? Int(look.timeline().DurationNs(recorded.duration_ticks)) : Null(),
                 Int(connection.lost))});
    }
  }
}

Rows EventRows(const Look& look, const Asker&) {
  std::vector<TimedRow> timed;
  for (const Database& database : look.databases()) AddEvents(look, database, timed);
  std::stable_sort(timed.begin(), timed.end(),
                   [](const TimedRow& a, const TimedRow& b) { return a.at < b.at; });
  Rows rows;
  rows.reserve(timed.size());
  for (TimedRow& entry : timed) rows.push_back(std::move(entry.row));
  return rows;
}

// ---- lockscope_stats ----

constexpr std::array kStatColumns = {
    String("database"),     Integer("pid"),         String("process"),      String("source"),
    String("resource"),     String("mode"),         Integer("acquired"),    Integer("released"),
    Integer("refused"),     Integer("wait_us_p50"), Integer("wait_us_p99"), Integer("wait_us_max"),
    Integer("hold_us_p50"), Integer("hold_us_p99"), Integer("hold_us_max")};

void AppendPercentiles(const Look& look, const ledger::HistogramCounts& counts, Row& row) {
  const auto micros = [&look](ledger::Ticks ticks) {
    return Int((look.timeline().DurationNs(ticks) + 500) / 1000);
  };
  if (counts.total == 0) {
    Append(row, RowOf(Null(), Null(), Null()));
    return;
  }
  Append(row, RowOf(micros(counts.Percentile(0.5)), micros(counts.Percentile(0.99)),
                    micros(counts.max)));
}

Rows StatRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    std::array<ledger::StatCounts, ledger::kStatKinds> kinds{};
    for (const auto& stats : ledger::Ledger::Process().Stats(Of(database))) {
      for (std::size_t i = 0; i < kinds.size(); ++i) kinds.at(i).Merge(stats.kinds.at(i));
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      const ledger::StatCounts& counts = kinds.at(i);
      if (counts.Empty()) continue;
      const ledger::StatKind kind = ledger::StatKindOf(i);
      Row row = RowOf(Text(database.path), Int(look.pid()), Opt(look.ProcessName(look.pid())),
                      Text(Name(Source::kShim)), Text(Name(kind.resource)), Text(Name(kind.mode)),
                      Int(counts.acquired), Int(counts.released), Int(counts.refused));
      AppendPercentiles(look, counts.wait, row);
      AppendPercentiles(look, counts.hold, row);
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

constexpr std::array kTables = {Table{"connections", kConnectionColumns, ConnectionRows},
                                Table{"locks", kLockColumns, LockRows},
                                Table{"snapshots", kSnapshotColumns, SnapshotRows},
                                Table{"wal", kWalColumns, WalRows},
                                Table{"barriers", kBarrierColumns, BarrierRows},
                                Table{"blockers", kBlockerColumns, BlockerRows},
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
