// WAL recoveries of this process:
//   shared cache  the WAL's file is asked for through the connection whose main database it is
//   elsewhere     a VFS below that keeps the WAL in no file of that name

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "core/session.h"
#include "core/shim/fake_vfs.h"
#include "lockscope.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

// As a writer leaves it that dies in the midst: whoever reads next recovers. REQUIRES: nobody
// reads.
void TearWalIndex(Db& db, const char* schema) {
  sqlite3_file* file = nullptr;
  ASSERT_EQ(sqlite3_file_control(db.handle(), schema, SQLITE_FCNTL_FILE_POINTER,
                                 static_cast<void*>(&file)),
            SQLITE_OK);
  volatile void* page = nullptr;
  ASSERT_EQ(file->pMethods->xShmMap(file, 0, 32768, 0, &page), SQLITE_OK);
  ASSERT_NE(page, nullptr);
  for (int i = 0; i < 96; ++i) static_cast<volatile char*>(page)[i] = 0;
}

class WalRecoveryTest : public ::testing::Test {
 protected:
  static void Make(const std::string& path, const char* vfs = nullptr) {
    Db make(path, vfs);
    make.Exec("pragma journal_mode=wal; create table t(x); insert into t values (1), (2), (3)");
  }
  std::vector<std::string> Seen(const std::string& columns) {
    return look_.Lines("select " + columns + " from lockscope_recoveries(" + Quote(path_) + ")");
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  std::string main_ = dir_ / "main.db";
  Db look_{":memory:"};
};

// ---- shared cache ----

// An SQL function that keeps a statement running, and with it the mutex of its database's cache.
class Held {
 public:
  explicit Held(Db& db) : db_(db) {
    const auto wait = [](sqlite3_context* context, int, sqlite3_value**) {
      auto& self = *static_cast<Held*>(sqlite3_user_data(context));
      self.held_ = true;
      while (!self.over_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    sqlite3_create_function(db.handle(), "hold", 0, SQLITE_UTF8, this, wait, nullptr, nullptr);
    thread_ = std::thread([this] { db_.Exec("select hold() from t limit 1"); });
  }
  ~Held() { LetGo(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  bool held() const { return held_; }
  void LetGo() {
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  Db& db_;
  std::atomic<bool> held_{false};
  std::atomic<bool> over_{false};
  std::thread thread_;
};

class SharedCacheTest : public WalRecoveryTest, public ::testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(OpenedFirst, SharedCacheTest, ::testing::Bool(), [](const auto& of) {
  return std::string(of.param ? "AsMainByAnother" : "AsAttached");
});

// To ask for the main database of a connection that has this one attached may mean to wait for that
// one's cache, and to let others into this one meanwhile, in the midst of a lock call.
TEST_P(SharedCacheTest, ARecoveryOfAnAttachedDatabaseDoesNotWaitForTheMainOne) {
  const std::string shared = "file:" + path_ + "?cache=shared";
  const std::string main = "file:" + main_ + "?cache=shared";
  Make(path_);
  Make(main_);
  std::optional<Db> another;
  if (GetParam()) {
    another.emplace(shared);
    another->Exec("select * from t");
  }
  Db db(main);
  db.Exec("attach " + Quote(shared) + " as x; insert into x.t values (4); select * from main.t");
  Db neighbour(main);
  neighbour.Exec("select * from t");
  TearWalIndex(db, "x");
  Statement read(db, "select x from x.t");

  Held held(neighbour);
  ASSERT_TRUE(Eventually([&] { return held.held(); }));
  std::atomic<bool> done{false};
  std::thread reading([&] {
    EXPECT_EQ(read.Step(), SQLITE_ROW);
    done = true;
  });
  EXPECT_TRUE(Eventually([&] { return done.load(); }, std::chrono::seconds(5)));
  held.LetGo();
  reading.join();
  EXPECT_EQ(Seen("kind, state, journal_bytes > 0, pages_total, pages_done"),
            std::vector<std::string>{"wal done 1 NULL NULL"});
}

TEST_F(WalRecoveryTest, TheMainDatabasesIsCountedFrameByFrameWithASharedCacheToo) {
  Make(path_);
  Db db("file:" + path_ + "?cache=shared");
  db.Exec("insert into t values (4)");
  TearWalIndex(db, "main");
  EXPECT_EQ(db.Value("select count(*) from t"), "4");
  EXPECT_EQ(Seen("kind, state, journal_bytes > 0, pages_total, pages_done"),
            std::vector<std::string>{"wal done 1 1 1"});
}

// ---- elsewhere ----

FakeVfs& Elsewhere() {
  static FakeVfs* const fake = [] {
    auto* made = new FakeVfs("fake-elsewhere");
    made->wal_elsewhere = true;
    EXPECT_EQ(lockscope_register("fake-elsewhere", "shim-elsewhere", 0), SQLITE_OK);
    return made;
  }();
  return *fake;
}

TEST_F(WalRecoveryTest, OfAWalInNoFileOfThatNameIsSeen) {
  ASSERT_STREQ(Elsewhere().name(), "fake-elsewhere");
  Make(path_, "shim-elsewhere");
  Db db(path_, "shim-elsewhere");
  db.Exec("insert into t values (4)");
  ASSERT_EQ(FileSize(path_ + "-wal"), -1);
  TearWalIndex(db, "main");
  EXPECT_EQ(db.Value("select count(*) from t"), "4");
  EXPECT_EQ(Seen("kind, state, journal_bytes > 0, pages_total, pages_done"),
            std::vector<std::string>{"wal done 1 1 1"});
}

// Of an attached database nothing can be asked: it might as well be empty.
TEST_F(WalRecoveryTest, OfAnAttachedWalInNoFileOfThatNameIsNotSeen) {
  ASSERT_STREQ(Elsewhere().name(), "fake-elsewhere");
  Make(path_, "shim-elsewhere");
  Db writer(path_, "shim-elsewhere");
  writer.Exec("insert into t values (4)");
  Db db(main_);
  db.Exec("attach " + Quote("file:" + path_ + "?vfs=shim-elsewhere") + " as x");
  db.Exec("select * from x.t");
  EXPECT_EQ(Seen("*").size(), 0U);
  TearWalIndex(db, "x");
  EXPECT_EQ(db.Value("select count(*) from x.t"), "4");
  EXPECT_EQ(Seen("*").size(), 0U);
}

// Whoever opens it first makes the wal-index, and recovers nothing.
TEST_F(WalRecoveryTest, AnEmptyWalInNoFileOfThatNameIsNotRecovered) {
  ASSERT_STREQ(Elsewhere().name(), "fake-elsewhere");
  Make(path_, "shim-elsewhere");
  Db db(path_, "shim-elsewhere");
  db.Exec("select * from t");
  EXPECT_EQ(Seen("*").size(), 0U);
}

}  // namespace
}  // namespace lockscope::testing
