#include "ledger/ledger.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <new>

#include "ledger/registry.h"
#include "model/fork_safe_mutex.h"

namespace lockscope::ledger {
namespace {

// Closed connections whose events are kept.
constexpr std::size_t kKeptClosed = 32;
// A Connection rests while so many others are used, so that a thread that wakes late from a sleep
// for the one that had it before meets nobody.
constexpr std::size_t kResting = 32;
// Databases without an open connection whose counters are kept; beyond, the one closed longest ago
// goes.
constexpr std::size_t kKeptTotals = 1024;

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kLedger);
  return mutex;
}

bool Chosen(const DatabaseFilter& filter, const ConnectionInfo& info) {
  return !filter || filter(info.path, info.database);
}

// For what is closed: its inode may be another file's by now.
bool ChosenByPath(const DatabaseFilter& filter, const std::string& path) {
  return !filter || filter(path, FileId{});
}

}  // namespace

__attribute__((no_sanitize("thread"))) void CopyShared(const volatile std::uint8_t* from,
                                                       std::uint8_t* to, std::size_t bytes) {
  const auto* words = reinterpret_cast<const volatile std::uint64_t*>(from);
  auto* target = reinterpret_cast<std::uint64_t*>(to);
  for (std::size_t i = 0; i < bytes / 8; ++i) target[i] = words[i];
}

Ledger::Ledger() { ForkSafeMutex::OnFork(LockRank::kLedger, ForgetInChild); }

Ledger& Ledger::Process() {
  static Ledger* const ledger = new Ledger();
  return *ledger;
}

namespace {

// Made before main(), or while the extension is loaded: a fork in the middle of a first use would
// leave the child waiting for the static's own lock.
[[maybe_unused]] const Ledger& g_made_early = Ledger::Process();

}  // namespace

void Ledger::ForgetInChild() {
  Ledger& ledger = Process();
  ledger.open_.clear();
  ledger.unused_.clear();
  ledger.closed_.clear();
  ledger.closed_notes_.clear();
  ledger.totals_.clear();
}

Connection* Ledger::Open() {
  const std::lock_guard lock(Mutex());
  if (unused_.size() >= kResting) {
    Connection* connection = unused_.front();
    unused_.erase(unused_.begin());
    return connection;
  }
  // What Opened() and Close() will need is reserved here, where failing is still possible.
  try {
    auto fresh = std::make_unique<Connection>();
    ++connections_;
    open_.reserve(connections_);
    unused_.reserve(connections_);
    return fresh.release();  // for life
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

namespace {

// What other processes are told of a connection.
void Identify(Published<IdentityLayout>& identity, const ConnectionInfo& info) {
  const IdentityFlags flags{.posix_locks = info.posix_locks,
                            .posix_shm_locks = info.posix_shm_locks,
                            .barrier = info.barrier,
                            .immutable = info.immutable,
                            .unguarded = info.unguarded};
  auto& words = identity.words;
  const Update update(identity.sequence);
  words.number.Store(info.id);
  words.opened.Store(info.opened);
  words.thread.Store(static_cast<std::uint64_t>(info.thread));
  words.flags.Store(flags.Pack());
  words.database_device.Store(info.database.device);
  words.database_inode.Store(info.database.inode);
  StoreText(words.vfs, info.vfs);
  words.state.Store(static_cast<std::uint64_t>(RecordState::kOpen));
}

}  // namespace

void Ledger::Opened(Connection& connection, ConnectionInfo info) {
  Registry::Lease lease{.refusal = "as the setting 'registry' has it"};
  if (info.publish) lease = Registry::Process().Enter(info.path, info.database, PublishedTotals);
  info.private_because = std::move(lease.refusal);
  if (lease.record == nullptr && connection.own_record_ == nullptr) {
    connection.own_record_ = std::make_unique<ConnectionRecord>();
  }
  const std::lock_guard lock(Mutex());
  info.id = next_id_++;
  ConnectionRecord* record = lease.record != nullptr ? lease.record : connection.own_record_.get();
  Identify(record->identity, info);
  connection.record_.store(record, std::memory_order_release);
  connection.published_ = lease.record != nullptr;
  connection.id_.store(info.id, std::memory_order_relaxed);
  connection.info_ = std::move(info);
  connection.open_ = true;
  open_.push_back(&connection);
}

// What connections to the database that others could see have counted, and are closed.
std::map<std::size_t, StatCounts> Ledger::PublishedTotals(const std::string& path) {
  const std::lock_guard lock(Mutex());
  const auto& totals = Process().totals_;
  const auto found = totals.find(path);
  return found != totals.end() ? found->second.published : std::map<std::size_t, StatCounts>{};
}

void Ledger::Close(Connection& connection) {
  const Ticks now = Now();
  ConnectionRecord* record = &connection.record();
  const bool published = connection.published_;
  {
    const std::lock_guard lock(Mutex());
    const auto found = std::find(open_.begin(), open_.end(), &connection);
    if (found != open_.end()) {
      // First: without a number nobody is told of what it lets go, who would ask the ledger.
      connection.id_.store(0, std::memory_order_relaxed);
      connection.ReleaseEverything(now);
      open_.erase(found);
      connection.open_ = false;
      connection.wal_index_ = nullptr;
      KeepEvents(connection);
      FoldStats(connection);
      const Update update(record->identity.sequence);
      record->identity.words.state.Store(static_cast<std::uint64_t>(RecordState::kClosed));
    } else if (connection.info_.id != 0) {
      return;  // inherited through fork(): nobody's
    }
    connection.record_.store(&Connection::Nobodys(), std::memory_order_release);
    connection.published_ = false;
    if (!published && connection.own_record_ != nullptr) connection.own_record_->Clear();
    connection.Reset();
  }
  if (published) Registry::Process().Leave(record);
  const std::lock_guard lock(Mutex());
  unused_.push_back(&connection);
}

void Ledger::KeepEvents(const Connection& connection) {
  try {
    ConnectionEvents events;
    events.info = connection.info_;
    events.events = connection.record().ring.Read(events.lost);
    closed_.push_back(std::move(events));
    if (closed_.size() > kKeptClosed) closed_.pop_front();
    ConnectionNotes notes = NotesOf(connection);
    if (notes.recoveries.empty() && notes.waits.empty()) return;
    notes.open = false;
    closed_notes_.push_back(std::move(notes));
    if (closed_notes_.size() > kKeptClosed) closed_notes_.pop_front();
  } catch (const std::bad_alloc&) {
    // Less information; the connection is closed all the same.
  }
}

void Ledger::FoldStats(Connection& connection) {
  try {
    Totals& totals = totals_[connection.info_.path];
    totals.closed_last = ++closings_;
    const LockStats& stats = connection.record().stats;
    for (std::size_t i = 0; i < kStatKinds; ++i) {
      if (stats.Empty(i)) continue;
      stats.AddTo(totals.kinds[i], i);
      if (connection.published_) stats.AddTo(totals.published[i], i);
    }
    if (totals_.size() <= kKeptTotals) return;
    totals_.erase(std::min_element(
        totals_.begin(), totals_.end(),
        [](const auto& a, const auto& b) { return a.second.closed_last < b.second.closed_last; }));
  } catch (const std::bad_alloc&) {
    // As above.
  }
}

void Ledger::NoteBarrier(std::uint64_t connection, const BarrierNotice& notice) {
  std::string databases;
  for (const BarrierNotice::Member& member : notice.members) {
    if (!databases.empty()) databases += '\0';
    databases += member.path;
  }
  const std::lock_guard lock(Mutex());
  const auto found = std::find_if(open_.begin(), open_.end(), [connection](const Connection* of) {
    return of->info_.id == connection;
  });
  if (found == open_.end()) return;
  auto& note = (*found)->record().barrier;
  const bool fits = databases.size() <= sizeof note.words.databases.words;
  const Update update(note.sequence);
  note.words.state.Store(static_cast<std::uint64_t>(notice.state));
  note.words.since.Store(notice.since);
  note.words.expires.Store(notice.expires_monotonic_ns);
  StoreText(note.words.token, notice.token);
  StoreText(note.words.kind, notice.kind);
  StoreText(note.words.label, notice.label);
  StoreText(note.words.databases, fits ? databases : "");
  note.words.present.Store(1);
}

void Ledger::WalIndexOpened(Connection& connection, const FileId& shm) {
  const std::lock_guard lock(Mutex());
  connection.shm_ = shm;
  auto& identity = connection.record().identity;
  const Update update(identity.sequence);
  identity.words.shm_device.Store(shm.device);
  identity.words.shm_inode.Store(shm.inode);
}

void Ledger::Mapped(Connection& connection, const volatile std::uint8_t* page) {
  const std::lock_guard lock(Mutex());
  connection.wal_index_ = page;
}

void Ledger::Unmapping(Connection& connection) {
  const std::lock_guard lock(Mutex());
  connection.wal_index_ = nullptr;
}

// REQUIRES: the mutex is held.
std::optional<ConnectionView> Ledger::ViewOf(const Connection& connection) {
  ConnectionView view;
  SqlCopy texts;
  if (!connection.record().slot.Read(view.slot, &texts)) return std::nullopt;
  view.sql = TextsOf(view.slot, texts);
  view.info = connection.info_;
  view.shm = connection.shm_;
  view.journal_mode = connection.asked_journal_mode();
  view.locking_mode = connection.asked_locking_mode();
  view.held = HeldBits::Unpack(view.slot.held);
  return view;
}

std::vector<ConnectionView> Ledger::Connections(const DatabaseFilter& filter) {
  const std::lock_guard lock(Mutex());
  std::vector<ConnectionView> views;
  for (const Connection* connection : open_) {
    if (!Chosen(filter, connection->info_)) continue;
    if (auto view = ViewOf(*connection)) views.push_back(std::move(*view));
  }
  return views;
}

std::optional<ConnectionView> Ledger::View(std::uint64_t number) {
  const std::lock_guard lock(Mutex());
  for (const Connection* connection : open_) {
    if (connection->info_.id == number) return ViewOf(*connection);
  }
  return std::nullopt;
}

std::uint64_t Ledger::Closings() {
  const std::lock_guard lock(Mutex());
  return closings_;
}

std::vector<ConnectionEvents> Ledger::Events(const DatabaseFilter& filter) {
  const std::lock_guard lock(Mutex());
  std::vector<ConnectionEvents> all;
  for (const ConnectionEvents& closed : closed_) {
    if (ChosenByPath(filter, closed.info.path)) all.push_back(closed);
  }
  for (const Connection* connection : open_) {
    if (!Chosen(filter, connection->info_)) continue;
    ConnectionEvents& events = all.emplace_back();
    events.info = connection->info_;
    events.open = true;
    events.events = connection->record().ring.Read(events.lost);
  }
  return all;
}

ConnectionNotes Ledger::NotesOf(const Connection& connection) {
  ConnectionNotes notes;
  notes.info = connection.info_;
  notes.open = true;
  RecoveryNotesLayout<std::uint64_t> recoveries;
  if (ReadLive(connection.record().recoveries, recoveries)) {
    notes.recoveries = RecoveriesOf(recoveries);
  }
  WaitNotesLayout<std::uint64_t> waits;
  if (ReadLive(connection.record().waits, waits)) notes.waits = WaitsOf(waits);
  return notes;
}

std::vector<ConnectionNotes> Ledger::Notes(const DatabaseFilter& filter) {
  const std::lock_guard lock(Mutex());
  std::vector<ConnectionNotes> all;
  for (const ConnectionNotes& closed : closed_notes_) {
    if (ChosenByPath(filter, closed.info.path)) all.push_back(closed);
  }
  for (const Connection* connection : open_) {
    if (!Chosen(filter, connection->info_)) continue;
    ConnectionNotes notes = NotesOf(*connection);
    if (!notes.recoveries.empty() || !notes.waits.empty()) all.push_back(std::move(notes));
  }
  return all;
}

std::vector<DatabaseStats> Ledger::Stats(const DatabaseFilter& filter) {
  const std::lock_guard lock(Mutex());
  std::map<std::string, DatabaseStats> by_path;
  const auto add = [&by_path](const std::string& path, std::size_t kind, const StatCounts& counts) {
    if (counts.Empty()) return;
    DatabaseStats& stats = by_path[path];
    stats.path = path;
    stats.kinds.at(kind).Merge(counts);
  };
  for (const auto& [path, totals] : totals_) {
    if (!ChosenByPath(filter, path)) continue;
    for (const auto& [kind, counts] : totals.kinds) add(path, kind, counts);
  }
  for (const Connection* connection : open_) {
    if (!Chosen(filter, connection->info_)) continue;
    for (std::size_t i = 0; i < kStatKinds; ++i) {
      add(connection->info_.path, i, connection->record().stats.Copy(i));
    }
  }
  std::vector<DatabaseStats> all;
  all.reserve(by_path.size());
  for (auto& [path, stats] : by_path) all.push_back(std::move(stats));
  return all;
}

bool Ledger::CopyWalIndex(const DatabaseFilter& filter,
                          std::array<std::uint8_t, format::kWalIndexHeadBytes>& bytes) {
  const std::lock_guard lock(Mutex());
  for (const Connection* connection : open_) {
    if (connection->wal_index_ == nullptr || !Chosen(filter, connection->info_)) continue;
    CopyShared(connection->wal_index_, bytes.data(), bytes.size());
    return true;
  }
  return false;
}

}  // namespace lockscope::ledger
