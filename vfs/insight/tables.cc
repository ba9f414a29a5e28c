#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <utility>

#include "insight/blocker_table.h"
#include "insight/connections.h"
#include "insight/locks.h"
#include "insight/snapshots.h"
#include "insight/table.h"
#include "ledger/barrier_board.h"
#include "ledger/registry.h"
#include "model/result_name.h"
#include "settings/settings.h"

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
  return RowOf(Text(database.path), Maybe(lock.pid), Opt(look.ProcessName(lock.pid, lock.view)),
               ConnectionNumber(lock.view), Opt(look.Since(lock.since)),
               Maybe(look.AgeMs(lock.since)), Opt(lock.sql), Text(Name(lock.source)));
}

void Append(Row& row, Row more) {
  row.insert(row.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

// Whose row it is, of a process that tells of itself.
struct Teller {
  std::optional<std::int64_t> pid;
  std::optional<std::string> process;
};

// `process` null: ours.
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

// ---- lockscope_connections ----

constexpr std::array kConnectionColumns = {
    String("database"),    Integer("pid"),           String("process"),
    Integer("connection"), String("since"),          Integer("age_ms"),
    String("sql"),         String("source"),         String("opened"),
    String("pid_start"),   Integer("thread"),        String("application"),
    String("vfs"),         String("sqlite_version"), String("sqlite_source_id"),
    String("state"),       String("journal_mode"),   Integer("autocommit"),
    Integer("busy_count"), String("last_busy"),      String("registry")};

Value Known(const std::string& text) { return text.empty() ? Null() : Text(text); }

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
      RowOf(Text(database.path), Maybe(facts.pid), Opt(look.ProcessName(facts.pid, view)),
            ConnectionNumber(view), Opt(look.Since(facts.since)), Maybe(look.AgeMs(facts.since)),
            Opt(facts.sql), Text(Name(view != nullptr ? Source::kShim : Source::kKernel)));
  Append(row,
         RowOf(view != nullptr ? Opt(look.Since(view->info.opened)) : Null(), Opt(facts.pid_start),
               view != nullptr ? Int(view->info.thread) : Null(), Known(program.application),
               view != nullptr ? Text(view->info.vfs) : Null(), Known(program.sqlite_version),
               Known(program.sqlite_source_id), Text(Name(facts.state)), Opt(facts.journal_mode),
               AutocommitOf(view), view != nullptr ? Int(view->slot.busy_count) : Null(),
               view != nullptr ? Opt(look.Since(view->slot.last_busy)) : Null(),
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

struct ShownBarrier {
  const ledger::BarrierNotice& notice;
  const std::string& database;
  std::optional<std::int64_t> pid;
  std::optional<std::string> process;
  std::uint64_t connection;
};

Row BarrierRow(const Look& look, const ShownBarrier& barrier) {
  const ledger::BarrierNotice& notice = barrier.notice;
  Value expires = Null();
  if (notice.expires_monotonic_ns != 0) {
    // Another process may say anything: the sum need not be a time.
    const std::uint64_t from_now = notice.expires_monotonic_ns - look.now().monotonic_ns;
    const auto now = static_cast<std::uint64_t>(look.now().realtime_ns);
    expires = Text(ledger::FormatUtc(static_cast<std::int64_t>(now + from_now)));
  }
  return RowOf(Text(barrier.database), Maybe(barrier.pid), Opt(barrier.process),
               Int(barrier.connection), Opt(look.Since(notice.since)),
               Maybe(look.AgeMs(notice.since)), Null(), Text(Name(Source::kShim)),
               Text(notice.token), Known(notice.label), Text(notice.kind),
               notice.members.empty() ? Null() : Text(PathsAsJson(notice.members)),
               std::move(expires), Text(Name(notice.state)));
}

Rows BarrierRows(const Look& look, const Asker&) {
  Rows rows;
  for (const ledger::BarrierNotice& notice : ledger::BarrierBoard::Process().All()) {
    const BarrierMember* member = MemberLookedAt(look, notice);
    if (member == nullptr) continue;
    rows.push_back(BarrierRow(look, {notice, member->path, look.pid(), look.ProcessName(look.pid()),
                                     member->connection}));
  }
  // Of another process each private connection tells of the whole barrier.
  std::set<std::pair<std::uint64_t, std::string>> told;
  for (const Database& database : look.databases()) {
    for (const ledger::BarrierView& view : database.registry->Barriers()) {
      if (!told.emplace(view.process->instance, view.notice.token).second) continue;
      const Teller teller = TellerOf(look, database, view.process.get());
      rows.push_back(BarrierRow(
          look, {view.notice, database.path, teller.pid, teller.process, view.connection}));
    }
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

// So many rows somebody may want to sort through; more would only fill the memory of whoever looks.
// The newest are kept.
constexpr std::size_t kEventRowsMax = 100'000;

struct ShownEvent {
  std::uint64_t at_ns;
  const ledger::RecordedEvent* recorded;
  const ledger::ConnectionEvents* of;
  const Database* database;
  const Teller* teller;
};

// The events of several connections, merged by time.
class EventMerge {
 public:
  explicit EventMerge(const Look& look) : look_(look) {}

  void Add(const Database& database, std::vector<ledger::ConnectionEvents> all) {
    for (ledger::ConnectionEvents& events : all) {
      OneConnection& source =
          sources_.emplace_back(OneConnection{std::move(events), {}, &database});
      source.teller = TellerOf(look_, database, source.events.process.get());
    }
  }

  Rows Run() const {
    std::vector<ShownEvent> shown;
    for (const OneConnection& source : sources_) {
      for (const auto& recorded : source.events.events) {
        const std::uint64_t at_ns =
            recorded.at != 0 ? look_.timeline().MonotonicNs(recorded.at) : 0;
        shown.push_back({at_ns, &recorded, &source.events, source.database, &source.teller});
      }
    }
    std::stable_sort(shown.begin(), shown.end(),
                     [](const ShownEvent& a, const ShownEvent& b) { return a.at_ns < b.at_ns; });
    const std::size_t first = shown.size() - std::min(shown.size(), kEventRowsMax);
    Rows rows;
    rows.reserve(shown.size() - first);
    for (std::size_t i = first; i < shown.size(); ++i) rows.push_back(EventRow(shown[i]));
    return rows;
  }

 private:
  struct OneConnection {
    ledger::ConnectionEvents events;
    Teller teller;
    const Database* database;
  };

  Row EventRow(const ShownEvent& shown) const {
    const ledger::RecordedEvent& recorded = *shown.recorded;
    const Event& event = recorded.event;
    const bool timed = recorded.at != 0;
    const bool measured = timed && recorded.duration_ticks != ledger::kNotMeasured;
    return RowOf(Text(shown.database->path), Maybe(shown.teller->pid), Opt(shown.teller->process),
                 Int(shown.of->info.id), Text(Name(Source::kShim)), Int(recorded.number + 1),
                 Opt(look_.Since(recorded.at)), timed ? Int(shown.at_ns) : Null(),
                 Text(Name(event.operation)), Text(event.ResourceName()), Text(Name(event.from)),
                 Text(Name(event.to)), Text(ResultName(event.result)),
                 measured ? Int(look_.timeline().DurationNs(recorded.duration_ticks)) : Null(),
                 Int(shown.of->lost));
  }

  const Look& look_;
  std::deque<OneConnection> sources_;
};

Rows EventRows(const Look& look, const Asker&) {
  EventMerge merge(look);
  for (const Database& database : look.databases()) {
    merge.Add(database, ledger::Ledger::Process().Events(Of(database)));
    merge.Add(database, database.registry->Events());
  }
  return merge.Run();
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

using StatKinds = std::array<ledger::StatCounts, ledger::kStatKinds>;

void AddStats(const Look& look, const Database& database, const Teller& teller,
              const StatKinds& kinds, Rows& rows) {
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const ledger::StatCounts& counts = kinds.at(i);
    if (counts.Empty()) continue;
    const ledger::StatKind kind = ledger::StatKindOf(i);
    Row row = RowOf(Text(database.path), Maybe(teller.pid), Opt(teller.process),
                    Text(Name(Source::kShim)), Text(Name(kind.resource)), Text(Name(kind.mode)),
                    Int(counts.acquired), Int(counts.released), Int(counts.refused));
    AppendPercentiles(look, counts.wait, row);
    AppendPercentiles(look, counts.hold, row);
    rows.push_back(std::move(row));
  }
}

Rows StatRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    StatKinds own{};
    for (const auto& stats : ledger::Ledger::Process().Stats(Of(database))) {
      for (std::size_t i = 0; i < own.size(); ++i) own.at(i).Merge(stats.kinds.at(i));
    }
    AddStats(look, database, TellerOf(look, database, nullptr), own, rows);
    for (const auto& stats : database.registry->Stats()) {
      AddStats(look, database, TellerOf(look, database, stats.process.get()), stats.kinds, rows);
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
