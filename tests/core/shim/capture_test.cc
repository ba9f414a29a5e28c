// Which statement took a lock, and in what state its connection was:
//   capture     among a hundred cached statements; each lock its own; a trigger's; a retry's
//   traces      the application's own trace replaces ours: then no text, never a wrong one
//   databases   attached ones, in-memory main, shared cache, sqlite3_deserialize over main
//   secrets     bound values, ATTACH … KEY
//   autocommit  as at the last lock call

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "core/session.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

class CaptureTest : public ::testing::Test {
 protected:
  CaptureTest() {
    Db make(path_);
    make.Exec(
        "pragma journal_mode=wal; create table t(x); create table u(x);"
        "insert into t values (1), (2), (3)");
  }

  // The text beside the lock on `resource`; asked from outside, so that looking changes nothing.
  std::string Sql(const std::string& resource) {
    return look_.Value("select sql from lockscope_locks(" + Quote(path_) +
                       ") where granted and resource like " + Quote(resource));
  }
  // Statements that lie about, as an ORM's do.
  static std::vector<std::unique_ptr<Statement>> Cache(Db& db, int count) {
    std::vector<std::unique_ptr<Statement>> cache;
    cache.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      cache.push_back(
          std::make_unique<Statement>(db, "select x + " + std::to_string(i) + " from t"));
    }
    return cache;
  }

  // A database in memory becomes `main` of the connection; it has a table i(x).
  void DeserializeOverMain(Db& db) {
    sqlite3_int64 bytes = 0;
    unsigned char* image = nullptr;
    {
      Db rollback(dir_ / "image.db");
      rollback.Exec("create table if not exists i(x)");
      image = sqlite3_serialize(rollback.handle(), "main", &bytes, 0);
    }
    ASSERT_NE(image, nullptr);
    ASSERT_EQ(sqlite3_deserialize(db.handle(), "main", image, bytes, bytes,
                                  SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE),
              SQLITE_OK);
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

// ---- capture ----

TEST_F(CaptureTest, NamesTheStatementAmongAHundredCachedOnes) {
  Db db(path_);
  const auto cache = Cache(db, 100);
  db.Exec("begin");
  EXPECT_EQ(cache[42]->Step(), SQLITE_ROW);
  EXPECT_EQ(Sql("wal-read-%"), "select x + 42 from t");
  cache[42]->Reset();
  Statement insert(db, "insert into t values (?)");
  EXPECT_EQ(insert.Step(), SQLITE_DONE);
  EXPECT_EQ(Sql("wal-write"), "insert into t values (?)");
  EXPECT_EQ(Sql("wal-read-%"), "select x + 42 from t");
  EXPECT_EQ(cache[7]->Step(), SQLITE_ROW);  // takes no lock
  EXPECT_EQ(Sql("wal-write"), "insert into t values (?)");
}

TEST_F(CaptureTest, EveryTransactionHasItsOwnText) {
  Db db(path_);
  const auto cache = Cache(db, 20);
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(cache[static_cast<std::size_t>(i)]->Step(), SQLITE_ROW);
    EXPECT_EQ(Sql("wal-read-%"), "select x + " + std::to_string(i) + " from t");
    cache[static_cast<std::size_t>(i)]->Reset();
  }
}

TEST_F(CaptureTest, AStatementThatIsRunAgainIsNamedAgain) {
  Db db(path_);
  Statement one(db, "select 1 from t");
  Statement two(db, "select 2 from t");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(one.Step(), SQLITE_ROW);
    EXPECT_EQ(Sql("wal-read-%"), "select 1 from t");
    one.Reset();
    EXPECT_EQ(two.Step(), SQLITE_ROW);
    EXPECT_EQ(Sql("wal-read-%"), "select 2 from t");
    two.Reset();
  }
}

// Texts of one length: SQLite prepares each where the one before it has been.
TEST_F(CaptureTest, AStatementInTheMemoryOfAFinalizedOneIsNamed) {
  Db db(path_);
  for (int i = 0; i < 40; ++i) {
    const std::string sql = "select " + std::to_string(10 + i) + " from t";
    Statement statement(db, sql);
    for (int run = 0; run <= i % 3; ++run) {
      EXPECT_EQ(statement.Step(), SQLITE_ROW);
      EXPECT_EQ(Sql("wal-read-%"), sql);
      statement.Reset();
      if (i % 5 == 0) sqlite3_stmt_status(statement.handle(), SQLITE_STMTSTATUS_RUN, 1);
    }
  }
}

TEST_F(CaptureTest, ATriggersStatementIsTheOneThatSetItOff) {
  Db db(path_);
  db.Exec(
      "create trigger r after insert on t begin insert into u values (new.x); end;"
      "begin; insert into t values (4)");
  EXPECT_EQ(Sql("wal-write"), "insert into t values (4)");
}

// As full-text search and every function that runs SQL of its own do.
TEST_F(CaptureTest, WhatAStatementRunsInsideItIsNotTheStatement) {
  Db db(path_);
  const auto run = [](sqlite3_context* context, int, sqlite3_value** arguments) {
    sqlite3_exec(sqlite3_context_db_handle(context),
                 reinterpret_cast<const char*>(sqlite3_value_text(arguments[0])), nullptr, nullptr,
                 nullptr);
  };
  ASSERT_EQ(
      sqlite3_create_function(db.handle(), "run", 1, SQLITE_UTF8, nullptr, run, nullptr, nullptr),
      SQLITE_OK);
  db.Exec("begin");
  Statement outer(db, "select run('insert into t values (5)')");
  EXPECT_EQ(outer.Step(), SQLITE_ROW);
  EXPECT_EQ(Sql("wal-write"), "select run('insert into t values (5)')");
}

TEST_F(CaptureTest, AStatementThatBeginsWithACommentIsNamed) {
  Db db(path_);
  db.Exec("begin; -- by hand\ninsert into t values (4)");
  EXPECT_EQ(Sql("wal-write"), "-- by hand\ninsert into t values (4)");
}

TEST_F(CaptureTest, ALongTextIsCut) {
  Db db(path_);
  db.Exec("begin; insert into t values ('" + std::string(5000, 'x') + "')");
  const std::string sql = Sql("wal-write");
  EXPECT_TRUE(sql.starts_with("insert into t values ('xxx")) << sql;
  EXPECT_TRUE(sql.ends_with("x…")) << sql;
  EXPECT_EQ(sql.size(), 1024U);
}

TEST_F(CaptureTest, InRollbackModeTheLastUpgradeIsNamed) {
  Db db(path_);
  db.Exec("pragma journal_mode=delete; begin; select * from t");
  EXPECT_EQ(Sql("database"), "select * from t");
  db.Exec("insert into t values (5)");
  EXPECT_EQ(Sql("database"), "insert into t values (5)");
}

// ---- traces ----

int Deaf(unsigned, void*, void*, void*) { return 0; }

TEST_F(CaptureTest, AnApplicationsTraceAmongManyStatementsLeavesNoText) {
  Db db(path_);
  const auto cache = Cache(db, 100);
  ASSERT_EQ(cache[0]->Step(), SQLITE_ROW);
  EXPECT_EQ(Sql("wal-read-%"), "select x + 0 from t");
  cache[0]->Reset();
  ASSERT_EQ(sqlite3_trace_v2(db.handle(), SQLITE_TRACE_ROW, Deaf, nullptr), SQLITE_OK);
  for (std::size_t i = 1; i < 20; ++i) {
    ASSERT_EQ(cache[i]->Step(), SQLITE_ROW);
    EXPECT_EQ(Sql("wal-read-%"), "NULL") << i;
    cache[i]->Reset();
  }
  ASSERT_EQ(cache[0]->Step(), SQLITE_ROW);  // the one that was heard last before
  const std::string again = Sql("wal-read-%");
  EXPECT_TRUE(again == "NULL" || again == "select x + 0 from t") << again;
}

TEST_F(CaptureTest, AnApplicationsTraceAmongFewStatementsIsNoLoss) {
  Db db(path_);
  ASSERT_EQ(sqlite3_trace_v2(db.handle(), SQLITE_TRACE_STMT, Deaf, nullptr), SQLITE_OK);
  Statement one(db, "select 1 from t");
  Statement two(db, "select 2 from t");
  ASSERT_EQ(two.Step(), SQLITE_ROW);
  EXPECT_EQ(Sql("wal-read-%"), "select 2 from t");
}

// The number of the statement that was heard last is nobody's any more: a checkpoint that is
// refused is not taken for the automatic one of the commits before it, which SQLite does without.
TEST_F(CaptureTest, AfterAnApplicationsTraceStatementsAreNotTakenForOne) {
  Actor checkpointer;
  checkpointer.Open("c", path_);
  checkpointer.Exec("c", "insert into t values (4)");
  Db db(path_);
  Statement heard(db, "select count(*) from t");  // stays, so that no other has its address
  ASSERT_EQ(heard.Step(), SQLITE_ROW);
  heard.Reset();
  ASSERT_EQ(sqlite3_trace_v2(db.handle(), SQLITE_TRACE_ROW, Deaf, nullptr), SQLITE_OK);
  checkpointer.PauseAt("after shm-lock ckpt exclusive");
  Answer checkpoint = checkpointer.Start("c", "pragma wal_checkpoint");
  checkpointer.AwaitPoint();
  for (int i = 0; i < 10; ++i) db.Exec("insert into t values (5)");
  EXPECT_EQ(db.Value("pragma wal_checkpoint").substr(0, 1), "1");
  EXPECT_EQ(look_.Lines("select resource, mode from lockscope_waits(" + Quote(path_) + ")"),
            Lines{"wal-checkpoint EXCLUSIVE"});
  checkpointer.Continue();
  EXPECT_TRUE(checkpoint.Wait().ok());
}

void DeafToo(void*, const char*) {}

TEST_F(CaptureTest, TheOldTraceFunctionReplacesOursToo) {
  Db db(path_);
  const auto cache = Cache(db, 100);
  sqlite3_trace(db.handle(), DeafToo, nullptr);
  for (std::size_t i = 0; i < 10; ++i) {
    ASSERT_EQ(cache[i]->Step(), SQLITE_ROW);
    EXPECT_EQ(Sql("wal-read-%"), "NULL") << i;
    cache[i]->Reset();
  }
}

// The last statement that we heard of began the transaction; the one that upgrades it we did not
// hear of.
TEST_F(CaptureTest, ATraceReplacedWithinATransactionGivesNoWrongText) {
  Db db(path_);
  db.Exec("begin");
  const auto cache = Cache(db, 100);
  ASSERT_EQ(cache[0]->Step(), SQLITE_ROW);
  cache[0]->Reset();
  ASSERT_EQ(sqlite3_trace_v2(db.handle(), 0, nullptr, nullptr), SQLITE_OK);
  Statement insert(db, "insert into t values (4)");
  ASSERT_EQ(insert.Step(), SQLITE_DONE);
  EXPECT_EQ(Sql("wal-read-%"), "select x + 0 from t");
  const std::string sql = Sql("wal-write");
  EXPECT_TRUE(sql == "NULL" || sql == "insert into t values (4)") << sql;
}

int Count(unsigned, void* count, void*, void*) { return ++*static_cast<int*>(count), 0; }

TEST_F(CaptureTest, TheApplicationsTraceHearsEverything) {
  Db db(path_);
  int heard = 0;
  ASSERT_EQ(sqlite3_trace_v2(db.handle(), SQLITE_TRACE_STMT, Count, &heard), SQLITE_OK);
  db.Exec("select * from t; begin; insert into t values (1); rollback");
  EXPECT_EQ(heard, 4);
}

// ---- databases ----

TEST_F(CaptureTest, AnAttachedDatabasesLocksAreNamed) {
  const std::string other = dir_ / "b.db";
  Db db(other);
  db.Exec("create table v(x); attach " + Quote(path_) + " as a");
  const auto cache = Cache(db, 100);
  db.Exec("begin; insert into a.t values (9)");
  EXPECT_EQ(Sql("wal-write"), "insert into a.t values (9)");
}

TEST_F(CaptureTest, AFileAttachedToAnInMemoryDatabaseIsNamedAmongFewStatements) {
  Db db(":memory:");
  db.Exec("attach " + Quote(path_) + " as a; begin; insert into a.t values (9)");
  EXPECT_EQ(Sql("wal-write"), "insert into a.t values (9)");
  db.Exec("rollback");
  const auto cache = Cache(db, 100);
  db.Exec("begin; insert into a.t values (10)");
  EXPECT_EQ(Sql("wal-write"), "NULL");
}

TEST_F(CaptureTest, WithASharedCacheTheConnectionThatActsIsNamed) {
  const std::string uri = "file:" + path_ + "?cache=shared";
  Db one(uri);
  Db two(uri);
  one.Exec("select * from t");
  two.Exec("begin; insert into t values (4)");
  EXPECT_EQ(Sql("wal-write"), "insert into t values (4)");
  EXPECT_EQ(look_.Value("select count(*) from lockscope_connections(" + Quote(path_) + ")"), "1");
  two.Exec("rollback");
  one.Exec("begin; insert into t values (5)");
  EXPECT_EQ(Sql("wal-write"), "insert into t values (5)");
  one.Exec("commit");
  one.Close();  // it brought the tracker
  two.Exec("begin; insert into t values (6)");
  EXPECT_EQ(Sql("wal-write"), "insert into t values (6)");
  two.Exec("commit");
  EXPECT_EQ(two.Value("select count(*) from t"), "5");
}

TEST_F(CaptureTest, SharedCacheConnectionsComeAndGo) {
  const std::string uri = "file:" + path_ + "?cache=shared";
  auto last = std::make_unique<Db>(uri);
  for (int i = 0; i < 20; ++i) {
    auto next = std::make_unique<Db>(uri);
    next->Exec("insert into u values (1)");
    last = std::move(next);
    last->Exec("begin; insert into u values (2)");
    const std::string sql = Sql("wal-write");
    EXPECT_TRUE(sql == "NULL" || sql == "insert into u values (2)") << sql;
    last->Exec("commit");
  }
}

// A connection may leave a shared cache without a call of the file's, and another be made where it
// was: what the first ran last is not what that one runs.
TEST_F(CaptureTest, WithASharedCacheAConnectionWhereAnotherWasIsNotTakenForIt) {
  const std::string uri = "file:" + path_ + "?cache=shared";
  auto gone = std::make_unique<Db>(uri);
  Db stays(uri);
  Statement reads(stays, "select * from t");
  ASSERT_EQ(reads.Step(), SQLITE_ROW);
  gone->Exec("select count(*) from t");
  const sqlite3* const address = gone->handle();
  gone.reset();
  std::vector<std::unique_ptr<Db>> others;
  do {
    if (others.size() == 100) GTEST_SKIP() << "no connection was made where the other was";
    others.push_back(std::make_unique<Db>(uri));
  } while (others.back()->handle() != address);
  Statement insert(*others.back(), "insert into u values (9) returning x");
  ASSERT_EQ(insert.Step(), SQLITE_ROW);
  EXPECT_EQ(Sql("wal-write"), "insert into u values (9) returning x");
}

// The main file is closed under the connection: its statements are still traced, by nobody.
TEST_F(CaptureTest, DeserializingOverMainLeavesAWorkingConnection) {
  for (int round = 0; round < 3; ++round) {
    Db db(path_);
    db.Exec("select * from t");
    DeserializeOverMain(db);
    EXPECT_EQ(look_.Value("select count(*) from lockscope_connections(" + Quote(path_) + ")"), "0");
    db.Exec("insert into i values (1); select * from i");
    db.Exec("attach " + Quote(path_) + " as a; begin; insert into a.u values (1)");
    EXPECT_EQ(Sql("wal-write"), "insert into a.u values (1)");
    db.Exec("rollback");
  }
}

// There the file is closed by another connection, which has no statement left.
TEST_F(CaptureTest, DeserializingOverASharedMainLeavesAWorkingConnection) {
  const std::string uri = "file:" + path_ + "?cache=shared";
  for (int round = 0; round < 3; ++round) {
    Db db(uri);
    auto other = std::make_unique<Db>(uri);
    other->Exec("select * from t");
    DeserializeOverMain(db);
    other.reset();
    EXPECT_EQ(look_.Value("select count(*) from lockscope_connections(" + Quote(path_) + ")"), "0");
    db.Exec("insert into i values (1); select * from i");
  }
}

// ---- secrets ----

TEST_F(CaptureTest, BoundValuesAreNeverShown) {
  Db db(path_);
  db.Exec("begin");
  Statement insert(db, "insert into t values (?1)");
  sqlite3_bind_text(insert.handle(), 1, "hush-hush", -1, SQLITE_STATIC);
  ASSERT_EQ(insert.Step(), SQLITE_DONE);
  EXPECT_EQ(Sql("wal-write"), "insert into t values (?1)");
  for (const char* table : {"connections", "locks", "snapshots", "events", "stats"}) {
    const std::string json =
        look_.Value("select lockscope_json(" + Quote(table) + ", " + Quote(path_) + ")");
    EXPECT_EQ(json.find("hush"), std::string::npos) << table;
  }
}

TEST_F(CaptureTest, AnAttachWithAKeyIsWithheld) {
  Db with_key(dir_ / "b.db");
  with_key.Exec("attach " + Quote(path_) + " as a key 'hush-hush'");
  with_key.Exec("select * from a.t");
  Db without(dir_ / "c.db");
  without.Exec("attach " + Quote(path_) + " as a");
  without.Exec("select * from a.t");
  // An idle WAL connection keeps SHARED on the database: ATTACH took it, to read the schema.
  const Lines sql = look_.Lines("select sql from lockscope_locks(" + Quote(path_) +
                                ") where resource = 'database' order by connection");
  EXPECT_EQ(sql, (Lines{"NULL", "attach " + Quote(path_) + " as a"}));
}

// ---- autocommit ----

TEST_F(CaptureTest, AutocommitIsThatOfTheLastLockCall) {
  Db db(path_);
  const std::string autocommit =
      "select autocommit from lockscope_connections(" + Quote(path_) + ")";
  const std::string of_snapshot =
      "select autocommit from lockscope_snapshots(" + Quote(path_) + ")";
  Statement read(db, "select * from t");
  ASSERT_EQ(read.Step(), SQLITE_ROW);
  EXPECT_EQ(look_.Value(autocommit), "1");
  EXPECT_EQ(look_.Value(of_snapshot), "1");
  read.Reset();
  db.Exec("begin; select * from t");
  EXPECT_EQ(look_.Value(autocommit), "0");
  EXPECT_EQ(look_.Value(of_snapshot), "0");
  db.Exec("commit");
  EXPECT_EQ(look_.Value(autocommit), "1");
}

}  // namespace
}  // namespace lockscope::testing
