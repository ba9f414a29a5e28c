// Requests that are refused:
//   waiting  a row with granted = 0 while SQLite's busy handler or the application's own waits, and
//            gone when BUSY has been returned
//   pending  what a refused EXCLUSIVE leaves behind
//   counts   wait histograms, busy_count, the events' duration_ns

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/session.h"
#include "core/waiting_client.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

class WaitingTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode + "; create table if not exists t(x)");
  }
  Lines Waiting() {
    return look_.Lines("select source, resource, mode, sql, verified from lockscope_locks(" +
                       Quote(path_) + ") where not granted");
  }
  bool IsWaiting() { return !Waiting().empty(); }
  std::string Look(const std::string& columns, const std::string& table, const std::string& where) {
    return look_.Value("select " + columns + " from lockscope_" + table + "(" + Quote(path_) +
                       ") where " + where);
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

using Waiter = WaitingClient;

// ---- waiting ----

TEST_F(WaitingTest, InSqlitesOwnBusyHandlerAWriterWaitsForTheWriteLock) {
  Make("wal");
  Db holder(path_);
  Waiter waiter(path_);
  holder.Exec("begin immediate");
  waiter.Start("begin immediate");
  ASSERT_TRUE(Eventually([this] { return IsWaiting(); }));
  EXPECT_EQ(Waiting(), Lines{"shim wal-write EXCLUSIVE begin immediate NULL"});
  EXPECT_EQ(look_.Value("select count(*) from lockscope_connections(" + Quote(path_) +
                        ") where state = 'waiting' and busy_count > 0 and last_busy is not null"),
            "1");
  holder.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
  EXPECT_FALSE(IsWaiting());
}

TEST_F(WaitingTest, InRollbackModeAReaderWaitsForShared) {
  Make("delete");
  Db holder(path_);
  Waiter waiter(path_);
  holder.Exec("begin exclusive");
  waiter.Start("select * from t");
  ASSERT_TRUE(Eventually([this] { return IsWaiting(); }));
  EXPECT_EQ(Waiting(), Lines{"shim database SHARED select * from t NULL"});
  holder.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
  EXPECT_FALSE(IsWaiting());
}

struct Handler {
  std::atomic<bool> give_up{false};
  static int Wait(void* self, int) {
    if (static_cast<Handler*>(self)->give_up) return 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // not through the VFS
    return 1;
  }
};

TEST_F(WaitingTest, InAnApplicationsOwnBusyHandlerTheRepeatsAreSeen) {
  Make("wal");
  Db holder(path_);
  Handler handler;
  Waiter waiter(path_, Handler::Wait, &handler);
  holder.Exec("begin immediate");
  waiter.Start("begin immediate");
  ASSERT_TRUE(Eventually([this] { return IsWaiting(); }));
  handler.give_up = true;
  EXPECT_EQ(waiter.Join().code, SQLITE_BUSY);
  EXPECT_TRUE(Eventually([this] { return !IsWaiting(); }));
}

TEST_F(WaitingTest, AfterBusyWasReturnedNobodyWaits) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    Make(mode);
    Db holder(path_);
    holder.Exec("begin immediate");
    Db refused(path_);
    sqlite3_busy_timeout(refused.handle(), 30);
    EXPECT_EQ(refused.Try("begin immediate").code, SQLITE_BUSY);
    EXPECT_TRUE(Eventually([this] { return !IsWaiting(); }));
    EXPECT_EQ(Look("busy_count > 1", "connections", "busy_count > 0"), "1");
  }
}

TEST_F(WaitingTest, WithoutABusyHandlerNobodyEverWaits) {
  Make("wal");
  Db holder(path_);
  holder.Exec("begin immediate");
  Db refused(path_);
  EXPECT_EQ(refused.Try("begin immediate").code, SQLITE_BUSY);
  EXPECT_FALSE(IsWaiting());
  EXPECT_EQ(Look("busy_count", "connections", "busy_count > 0"), "1");
}

TEST_F(WaitingTest, ASleepThatIsNobodysRequestMarksNobody) {
  Make("wal");
  Db holder(path_);
  holder.Exec("begin immediate");
  Db refused(path_);
  EXPECT_EQ(refused.Try("begin immediate").code, SQLITE_BUSY);
  refused.Close();
  sqlite3_sleep(1);  // in the thread that was refused, after its connection has gone
  EXPECT_FALSE(IsWaiting());
}

// A checkpoint that may not have slot 0 ends without it.
TEST_F(WaitingTest, AfterACheckpointThatAReaderStoppedNobodyWaits) {
  Make("wal");
  Db writer(path_);
  writer.Exec("insert into t values (1); pragma wal_checkpoint");
  Db reader(path_);
  reader.Exec("begin; select * from t");
  std::atomic<bool> refused{false};
  std::thread thread([&] {
    writer.Exec("insert into t values (2); pragma wal_checkpoint");
    refused = true;
    sqlite3_sleep(300);
  });
  EXPECT_TRUE(Eventually([&] { return refused.load(); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(Look("busy_count", "connections", "busy_count > 0"), "1");
  EXPECT_FALSE(IsWaiting());
  thread.join();
}

// ---- pending ----

TEST_F(WaitingTest, ARefusedCommitLeavesPendingBehind) {
  Make("delete");  // one EXCLUSIVE, to create the table
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t");
  Db writer(path_);
  writer.Exec("begin immediate; insert into t values (1)");
  EXPECT_EQ(writer.Try("commit").code, SQLITE_BUSY);
  EXPECT_EQ(Look("mode, first_byte, last_byte, verified", "locks", "source = 'shim' and granted"),
            "PENDING 1073741824 1073741824 1");
  EXPECT_EQ(Look("acquired, released, refused", "stats", "mode = 'PENDING'"), "1 0 0");
  EXPECT_EQ(Look("acquired, released, refused", "stats", "mode = 'EXCLUSIVE'"), "1 1 1");
  EXPECT_TRUE(HoldsByte(path_, getpid(), kWrite, kPendingByte));

  reader.Exec("c", "rollback");
  writer.Exec("commit");
  EXPECT_EQ(Look("acquired, released", "stats", "mode = 'PENDING'"), "1 1");
  EXPECT_EQ(Look("acquired, released", "stats", "mode = 'EXCLUSIVE'"), "2 2");
}

// ---- counts ----

TEST_F(WaitingTest, AWaitIsMeasuredFromTheFirstRefusalToTheGrant) {
  Make("wal");
  Db holder(path_);
  Waiter waiter(path_);
  holder.Exec("begin immediate");
  EXPECT_EQ(Look("wait_us_p50, wait_us_p99, wait_us_max", "stats", "resource = 'wal-write'"),
            "NULL NULL NULL");
  const auto begun = std::chrono::steady_clock::now();
  waiter.Start("begin immediate; commit");
  ASSERT_TRUE(Eventually([this] { return IsWaiting(); }));
  holder.Exec("commit");
  EXPECT_TRUE(waiter.Join().ok());
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(
      std::chrono::steady_clock::now() - begun);
  const std::string wait = Look("wait_us_max", "stats",
                                "resource = 'wal-write' and wait_us_p50 <= wait_us_max and "
                                "wait_us_p99 <= wait_us_max and refused > 0");
  EXPECT_GT(std::stol(wait), 0);
  EXPECT_LE(std::stol(wait), took.count());
}

TEST_F(WaitingTest, ARequestThatWasGivenUpHasNoWait) {
  Make("wal");
  Db holder(path_);
  holder.Exec("begin immediate");
  Db refused(path_);
  EXPECT_EQ(refused.Try("begin immediate").code, SQLITE_BUSY);
  holder.Exec("commit");
  refused.Exec("begin immediate; commit");
  EXPECT_EQ(Look("refused, wait_us_max", "stats", "resource = 'wal-write'"), "1 NULL");
}

TEST_F(WaitingTest, OnlyARepeatedRequestsDurationIsMeasured) {
  Make("wal");
  Db holder(path_);
  holder.Exec("begin immediate");
  Db refused(path_);
  sqlite3_busy_timeout(refused.handle(), 20);
  EXPECT_EQ(refused.Try("begin immediate").code, SQLITE_BUSY);
  const std::string events = "lockscope_events(" + Quote(path_) + ")";
  const std::string busy = " from " + events + " where result = 'SQLITE_BUSY'";
  EXPECT_EQ(
      look_.Value("select count(*) > 1, sum(duration_ns is null), max(duration_ns) > 0" + busy),
      "1 1 1");
  EXPECT_EQ(look_.Value("select duration_ns" + busy + " order by seq limit 1"), "NULL");
  EXPECT_EQ(look_.Value("select count(*) from " + events +
                        " where result = 'SQLITE_OK' and duration_ns is not null"),
            "0");
}

}  // namespace
}  // namespace lockscope::testing
