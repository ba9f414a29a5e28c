#include "ledger/ledger.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "model/fork_safe_mutex.h"

namespace lockscope::ledger {
namespace {

// Closed connections whose events are kept until their record is needed again.
constexpr std::size_t kKeptClosed = 32;
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
  ledger.closed_.clear();
  ledger.totals_.clear();
}

Connection* Ledger::Open() {
  const std::lock_guard lock(Mutex());
  if (closed_.size() >= kKeptClosed) {
    Connection* connection = closed_.front();
    closed_.erase(closed_.begin());
    connection->Reset();
    return connection;
  }
  // What Opened() and Close() will need is reserved here, where failing is still possible.
  try {
    open_.reserve(open_.size() + 1);
    closed_.reserve(kKeptClosed + 1 + open_.size());
    return new Connection();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

void Ledger::Opened(Connection& connection, ConnectionInfo info) {
  const std::lock_guard lock(Mutex());
  info.id = next_id_++;
  connection.id_.store(info.id, std::memory_order_relaxed);
  connection.info_ = std::move(info);
  connection.open_ = true;
  open_.push_back(&connection);
}

void Ledger::Close(Connection& connection) {
  const Ticks now = Now();
  connection.ReleaseEverything(now);
  const std::lock_guard lock(Mutex());
  const auto found = std::find(open_.begin(), open_.end(), &connection);
  if (found != open_.end()) {
    open_.erase(found);
    connection.open_ = false;
    connection.wal_index_ = nullptr;
    connection.id_.store(0, std::memory_order_relaxed);
    FoldStats(connection);
  } else if (connection.info_.id != 0) {
    return;  // inherited through fork(): nobody's
  }
  closed_.push_back(&connection);
}

void Ledger::FoldStats(Connection& connection) {
  try {
    Totals& totals = totals_[connection.info_.path];
    totals.closed_last = ++closings_;
    for (std::size_t i = 0; i < kStatKinds; ++i) {
      const LockStats& stats = connection.record_.stats;
      if (!stats.Empty(i)) stats.AddTo(totals.kinds[i], i);
    }
    if (totals_.size() <= kKeptTotals) return;
    totals_.erase(std::min_element(
        totals_.begin(), totals_.end(),
        [](const auto& a, const auto& b) { return a.second.closed_last < b.second.closed_last; }));
  } catch (const std::bad_alloc&) {
    // Less information; the connection is closed all the same.
  }
  connection.record_.stats.Clear();
}

void Ledger::WalIndexOpened(Connection& connection, const FileId& shm) {
  const std::lock_guard lock(Mutex());
  connection.shm_ = shm;
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
  if (!connection.record_.slot.Read(view.slot)) return std::nullopt;
  view.info = connection.info_;
  view.shm = connection.shm_;
  view.journal_mode = connection.journal_mode_.load();
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
  for (const auto* list : {&closed_, &open_}) {
    for (const Connection* connection : *list) {
      const ConnectionInfo& info = connection->info_;
      if (info.id == 0) continue;
      if (connection->open_ ? !Chosen(filter, info) : !ChosenByPath(filter, info.path)) continue;
      ConnectionEvents& events = all.emplace_back();
      events.info = connection->info_;
      events.open = connection->open_;
      events.events = connection->record_.ring.Read(events.lost);
    }
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
      add(connection->info_.path, i, connection->record_.stats.Copy(i));
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
