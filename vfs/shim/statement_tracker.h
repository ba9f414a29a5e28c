// StatementTracker: which statement a database connection is running, at no cost to speak of.
//
// A walk over sqlite3_next_stmt() costs more than a point SELECT when an application has cached a
// hundred statements, so a tracker listens with sqlite3_trace_v2(SQLITE_TRACE_STMT), set while the
// connection is being opened: before the application can have set a trace of its own, which simply
// replaces this one. Then, and for connections whose main database is not opened through the shim,
// the statement is looked for in a walk of at most kWalk statements, and believed only if it is the
// only one that is busy.
//
// Threads: a tracker is used by whichever thread is inside a call of its connection, as SQLite
// orders it. In a shared cache other connections' threads come into the same file, without any
// order towards the trace: from Joined() on that file uses its tracker no more.
#pragma once

#include <cstdint>
#include <memory>

#include "ledger/connection.h"
#include "ledger/statement_text.h"
#include "settings/settings.h"
#include "shim/sqlite_api.h"

namespace lockscope::shim {

// What every lock call and every statement needs lies in its first cache line.
class alignas(64) StatementTracker {
 public:
  static constexpr int kWalk = 8;

  // For a database file whose SQLITE_FCNTL_PDB has just told its connection. Installs a trace if
  // that connection is `opening`, or finds the tracker that was installed then. Null where there is
  // none: another VFS opened the main database.
  static std::shared_ptr<StatementTracker> For(sqlite3* db, bool opening);

  // Another connection has joined the file through which the tracker was installed. The tracker's
  // own may close now without a word, and another one get its address: For() finds it no more.
  static void Joined(const std::shared_ptr<StatementTracker>& tracker) noexcept;
  // The file through which the tracker was installed is being closed, by `db`; null: not known.
  static void MainFileClosing(const std::shared_ptr<StatementTracker>& tracker,
                              sqlite3* db) noexcept;

  // The number of the running statement's text (StatementText::id), or kAsk: Current() must be
  // asked. Where it is the number of the text that was recorded last, nothing is to be copied.
  static constexpr std::uint64_t kAsk = ~std::uint64_t{0};
  std::uint64_t running_text() const { return running_text_; }

  // The text of the statement that `db` runs now; null where nothing is known. Usually the one that
  // the trace saw last. Once every lock was let go (Finished), that statement is over, or it let go
  // in order to try again, or the application's own trace has replaced this one: then it is looked
  // for.
  const ledger::StatementText* Current(sqlite3* db) {
    if (!finished_) return &text_;
    return StillRuns(db) ? &text_ : nullptr;
  }
  // Changes when a statement begins; 0 once it is known that statements are not heard any more, as
  // the application has set a trace of its own. Until then, and for a cached statement that was
  // heard before and runs again, it is an old one's.
  std::uint64_t statement_number() const { return misses_ < kMisses ? statement_number_ : 0; }
  void Finished() {
    finished_ = true;
    running_text_ = kAsk;
  }
  bool Follows(sqlite3* db) const { return db == db_; }

  // The walk. Fills `text`; false where no single statement can be named.
  static bool Find(sqlite3* db, ledger::StatementText& text);

 private:
  explicit StatementTracker(sqlite3* db) : db_(db) {}
  bool StillRuns(sqlite3* db);
  bool RunsAgain(sqlite3_stmt* statement) noexcept;
  void Began(sqlite3_stmt* statement, const char* sql) noexcept;
  void Assign(const char* sql) noexcept;
  void TextAssigned() noexcept;
  [[gnu::hot, gnu::aligned(64)]] static int OnTrace(unsigned event, void* context, void* statement,
                                                    void* text);

  sqlite3* const db_;  // compared, never used
  std::uint64_t running_text_ = kAsk;
  std::uint64_t statement_number_ = 1;
  bool finished_ = true;
  // The setting as it was when text_ was assigned. After another word every text gets a new number,
  // so that whoever compares numbers asks, and hears the new word.
  settings::Switch capture_sql_word_ = settings::Switch::kUnset;
  const sqlite3_stmt* statement_ = nullptr;  // compared, never used: it may be gone
  // So many misses, and nothing more is heard.
  static constexpr int kMisses = 3;
  // A number that no count of runs follows: of one that was not heard.
  static constexpr int kUnheardRuns = -2;
  int runs_ = 0;    // of statement_, without the one that the trace heard last
  int misses_ = 0;  // how often StillRuns() found another since the last trace
  ledger::StatementText text_;
};

}  // namespace lockscope::shim
