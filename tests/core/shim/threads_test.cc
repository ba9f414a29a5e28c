// Many threads at once:
//   all        eight threads open, read, write, checkpoint, look and close; nothing is lost, every
//              lock is verified, and none of ours is told as somebody else's
//   one        a connection that is used by one thread after another
//   shared     a cache that a thread's connection shares with another's

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "core/session.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class ThreadsTest : public ::testing::TestWithParam<const char*> {
 protected:
  TempDir dir_;
  std::string path_ = dir_ / "a.db";
};

INSTANTIATE_TEST_SUITE_P(JournalModes, ThreadsTest, ::testing::Values("wal", "delete"),
                         [](const auto& mode) { return std::string(mode.param); });

constexpr int kThreads = 8;
constexpr int kRounds = 30;

// One thread's life: its own connections, again and again.
void Work(const std::string& path, int number, std::atomic<int>& written,
          std::atomic<int>& errors) {
  for (int round = 0; round < kRounds; ++round) {
    Db db(path);
    sqlite3_busy_timeout(db.handle(), 60'000);
    for (int i = 0; i < 5; ++i) {
      if ((number + i) % 2 == 0) {
        if (db.Try("begin immediate; insert into t values (1); commit").ok()) {
          ++written;
        } else {
          ++errors;
        }
      } else if (!db.Try("select count(*) from t").ok()) {
        ++errors;
      }
    }
    if (number == 0) db.Try("pragma wal_checkpoint");
  }
}

TEST_P(ThreadsTest, OpenReadWriteLookAndCloseAtOnce) {
  {
    Db make(path_);
    make.Exec("pragma journal_mode=" + std::string(GetParam()) + "; create table t(x)");
  }
  std::atomic<int> written{0};
  std::atomic<int> errors{0};
  std::atomic<int> looks{0};
  std::atomic<bool> done{false};
  std::vector<std::string> wrong;
  std::thread looker([&] {
    Db look(":memory:");
    const std::string quoted = "(" + Quote(path_) + ")";
    for (bool more = true; more;) {
      more = !done;
      for (const std::string& line : look.Lines("select * from lockscope_locks" + quoted +
                                                " where verified = 0 or source = 'kernel'")) {
        wrong.push_back(line);
      }
      for (const std::string& line :
           look.Lines("select * from lockscope_stats" + quoted + " where released > acquired")) {
        wrong.push_back(line);
      }
      look.Exec("select * from lockscope_connections" + quoted);
      look.Exec("select * from lockscope_snapshots" + quoted);
      look.Exec("select * from lockscope_wal" + quoted);
      look.Exec("select count(*) from lockscope_events" + quoted);
      ++looks;
    }
  });
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads - 1; ++i) {
    threads.emplace_back([&, i] { Work(path_, i, written, errors); });
  }
  for (std::thread& thread : threads) thread.join();
  done = true;
  looker.join();

  EXPECT_EQ(errors, 0);
  EXPECT_GT(looks, 1);
  EXPECT_EQ(wrong, std::vector<std::string>{});
  Db db(path_);
  EXPECT_EQ(db.Value("select count(*) from t"), std::to_string(written));
  EXPECT_EQ(db.Value("pragma integrity_check"), "ok");
  Db look(":memory:");
  db.Close();
  EXPECT_EQ(
      look.Lines("select * from lockscope_stats(" + Quote(path_) + ") where acquired <> released"),
      std::vector<std::string>{});
}

TEST_P(ThreadsTest, AConnectionMayGoFromThreadToThread) {
  Db db(path_);
  db.Exec("pragma journal_mode=" + std::string(GetParam()) + "; create table t(x)");
  for (int i = 0; i < 10; ++i) {
    std::thread([&] { db.Exec("insert into t values (1)"); }).join();
  }
  EXPECT_EQ(db.Value("select count(*) from t"), "10");
  EXPECT_EQ(db.Value("select thread from lockscope_connections"), std::to_string(gettid()));
}

// ---- a shared cache ----

class SharedCacheThreadsTest : public ::testing::Test {
 protected:
  SharedCacheThreadsTest() {
    Db make(path_);
    make.Exec("pragma journal_mode=wal; create table t(x)");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  std::string uri_ = "file:" + path_ + "?cache=shared";
};

// A statement that uses no database takes no mutex of the cache.
TEST_F(SharedCacheThreadsTest, AnothersLocksComeBesideTheStatementsOfTheOneThatOpenedIt) {
  Db opened(uri_);
  Db joined(uri_);
  std::atomic<bool> done{false};
  std::thread other([&] {
    for (int i = 0; i < 200; ++i) joined.Exec("insert into t values (1); select * from t limit 1");
    done = true;
  });
  Statement nothing(opened, "select 1");
  while (!done) {
    EXPECT_EQ(nothing.Step(), SQLITE_ROW);
    nothing.Reset();
  }
  other.join();
  EXPECT_EQ(opened.Value("select count(*) from t"), "200");
}

// Two close at once: the last one closes the file outside the cache's mutex, and the other, which
// SQLite may take for the one that uses it, has gone meanwhile. With a mutex in each connection, so
// that ThreadSanitizer sees it used when it is gone.
TEST_F(SharedCacheThreadsTest, WhoClosesTheFileAsksNothingOfOneThatIsGone) {
  constexpr int kFlags = (Db::kFlags & ~SQLITE_OPEN_NOMUTEX) | SQLITE_OPEN_FULLMUTEX;
  sqlite3_mutex* const sharing = sqlite3_mutex_alloc(SQLITE_MUTEX_STATIC_MAIN);
  for (int i = 0; i < 20; ++i) {
    Db one(uri_, nullptr, kFlags);
    Db two(uri_, nullptr, kFlags);
    one.Exec("select * from t");
    two.Exec("insert into t values (1)");
    sqlite3_mutex_enter(sharing);
    std::thread closing([&two] { two.Close(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // until it waits for `sharing`
    sqlite3_mutex_leave(sharing);
    one.Close();
    closing.join();
  }
  EXPECT_EQ(Db(path_).Value("select count(*) from t"), "20");
}

}  // namespace
}  // namespace lockscope::testing
