#include "shim/statement_tracker.h"

#include <map>
#include <mutex>

#include "model/fork_safe_mutex.h"
#include "settings/settings.h"

namespace lockscope::shim {
namespace {

using Trackers = std::map<sqlite3*, std::shared_ptr<StatementTracker>>;

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kTrackers);
  return mutex;
}

// Guarded by Mutex(). A connection is in it while the main file through which it was opened is
// open, and its own.
Trackers& ByConnection() {
  static Trackers* const trackers = new Trackers();
  return *trackers;
}

// Trackers that SQLite may still call, for as long as nothing tells that their connection is gone:
// their main file was closed under it (sqlite3_deserialize() does that), or is in a shared cache.
// One for an address at the most, and only until that is a new connection's. Guarded by Mutex().
Trackers& Abandoned() {
  static Trackers* const abandoned = new Trackers();
  return *abandoned;
}

// Allocates nothing.
void Abandon(Trackers::const_iterator tracker) {
  Abandoned().insert(ByConnection().extract(tracker));
}

}  // namespace

std::shared_ptr<StatementTracker> StatementTracker::For(sqlite3* db, bool opening) {
  if (db == nullptr || !HasTrace()) return nullptr;
  if (!opening) {
    const std::lock_guard lock(Mutex());
    const auto found = ByConnection().find(db);
    return found == ByConnection().end() ? nullptr : found->second;
  }
  std::shared_ptr<StatementTracker> tracker(new StatementTracker(db));
  {
    const std::lock_guard lock(Mutex());
    ByConnection()[db] = tracker;
  }
  const bool traces = sqlite3_trace_v2(db, SQLITE_TRACE_STMT, OnTrace, tracker.get()) == SQLITE_OK;
  const std::lock_guard lock(Mutex());
  if (!traces) {
    ByConnection().erase(db);
    return nullptr;
  }
  // Of the connection that had this address before.
  Abandoned().erase(db);
  return tracker;
}

void StatementTracker::Joined(const std::shared_ptr<StatementTracker>& tracker) noexcept {
  const std::lock_guard lock(Mutex());
  const auto found = ByConnection().find(tracker->db_);
  if (found != ByConnection().end() && found->second == tracker) Abandon(found);
}

void StatementTracker::MainFileClosing(const std::shared_ptr<StatementTracker>& tracker,
                                       sqlite3* db) noexcept {
  // A connection closes its databases only when it has no statement left; then no trace can come.
  const bool connection_closes = db == tracker->db_ && sqlite3_next_stmt(db, nullptr) == nullptr;
  const std::lock_guard lock(Mutex());
  const auto found = ByConnection().find(tracker->db_);
  if (found == ByConnection().end() || found->second != tracker) return;
  if (connection_closes) {
    ByConnection().erase(found);
  } else {
    Abandon(found);
  }
}

int StatementTracker::OnTrace(unsigned, void* context, void* statement, void* text) {
  auto& tracker = *static_cast<StatementTracker*>(context);
  const auto* sql = static_cast<const char*>(text);
  if (sql == nullptr) return 0;  // SQLite had no memory for it
  // The text is the statement's own, but for what runs inside another one: a trigger, or what a
  // virtual table or a function runs. That is a comment made up for the occasion, and the statement
  // that the application runs is still the outer one.
  if (sql[0] == '-' && sql[1] == '-' && sql != sqlite3_sql(static_cast<sqlite3_stmt*>(statement)))
      [[unlikely]] {
    tracker.runs_ = kUnheardRuns;
    return 0;
  }
  tracker.Began(static_cast<sqlite3_stmt*>(statement), sql);
  return 0;
}

// Whether the statement that was heard last begins once more. Its address does not tell: another
// may have been prepared in the same memory since. But SQLite counts the runs of each statement,
// from 0, and every one of them is heard here, or it is known that one was not: a new statement
// does not go on counting where another one ended. (The application may set the count back; then
// the texts are compared.)
inline bool StatementTracker::RunsAgain(sqlite3_stmt* statement) noexcept {
  const int runs = sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_RUN, 0);
  const bool again = statement == statement_ && runs > 0 && runs - 1 == runs_;
  statement_ = statement;
  runs_ = runs;
  return again;
}

inline void StatementTracker::Began(sqlite3_stmt* statement, const char* sql) noexcept {
  ++statement_number_;
  misses_ = 0;
  if (!RunsAgain(statement) || capture_sql_word_ != settings::CaptureSqlWord()) [[unlikely]] {
    Assign(sql);
  }
  TextAssigned();
}

void StatementTracker::Assign(const char* sql) noexcept {
  const settings::Switch word = settings::CaptureSqlWord();
  if (word != capture_sql_word_) text_.Forget();
  capture_sql_word_ = word;
  text_.Assign(sql);
}

inline void StatementTracker::TextAssigned() noexcept {
  finished_ = false;
  running_text_ = text_.known() ? text_.id() : kAsk;
}

bool StatementTracker::StillRuns(sqlite3* db) {
  // Rare (a retry after a refusal, an automatic checkpoint) unless the trace has been replaced;
  // then every search is in vain, and after a few there are no more until the trace is heard again.
  constexpr int kLongest = 1000;
  if (misses_ >= kMisses) return false;
  bool another_runs = false;
  sqlite3_stmt* statement = nullptr;
  for (int i = 0; i < kLongest; ++i) {
    statement = sqlite3_next_stmt(db, statement);
    if (statement == nullptr) break;
    if (sqlite3_stmt_busy(statement) == 0) continue;
    another_runs = statement != statement_;
    if (another_runs) continue;
    Assign(sqlite3_sql(statement));
    TextAssigned();
    return true;
  }
  // Where none runs, that is a checkpoint or a backup, which needs none.
  if (another_runs || statement != nullptr) ++misses_;
  return false;
}

bool StatementTracker::Find(sqlite3* db, ledger::StatementText& text) {
  sqlite3_stmt* busy = nullptr;
  sqlite3_stmt* statement = nullptr;
  for (int i = 0; i < kWalk; ++i) {
    statement = sqlite3_next_stmt(db, statement);
    if (statement == nullptr) {
      if (busy == nullptr) return false;
      text.Assign(sqlite3_sql(busy));
      return text.known();
    }
    if (sqlite3_stmt_busy(statement) == 0) continue;
    if (busy != nullptr) return false;
    busy = statement;
  }
  return false;
}

}  // namespace lockscope::shim
