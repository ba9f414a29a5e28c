// What a process with lockscope shows of itself to others. Groups, each as this process sees it and
// as the command does:
//   reading    transactions and unfinished statements, their ages
//   writing    writers, those that wait for them, checkpointers, barriers
//   naming     `application`, the settings of `registry`, plain processes beside
//   history    events, counters
//   many       connections in several blocks
//   mid-update a record that is being written
//   words      why
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "barrier/hosted.h"
#include "ledger/registry_layout.h"
#include "ledger/registry_reader.h"
#include "registry/seen.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

enum class By { kThisProcess, kCommand };

#ifdef LOCKSCOPE_COMMAND
constexpr std::array kEverybody = {By::kThisProcess, By::kCommand};

Json SeenByCommand(const std::string& table, const std::string& path) {
  const ProgramResult result = RunProgram({.argv = {LOCKSCOPE_COMMAND, table, "--json", path}});
  Json rows = Json::parse(result.out, nullptr, false);
  if (rows.is_array()) return rows;
  ADD_FAILURE() << "no array: " << result;
  return Json::array();
}
#else
constexpr std::array kEverybody = {By::kThisProcess};
Json SeenByCommand(const std::string&, const std::string&) { return {}; }
#endif

std::string NameOf(const ::testing::TestParamInfo<By>& info) {
  return info.param == By::kCommand ? "ByTheCommand" : "ByThisProcess";
}

class RegistryVisibilityTest : public ::testing::TestWithParam<By> {
 protected:
  void Make(const std::string& journal_mode = "wal") {
    CreateDatabase(db_, {.journal_mode = journal_mode});
  }

  Json See(const std::string& table) const {
    return GetParam() == By::kCommand ? SeenByCommand(table, db_) : SeenHere(table, db_);
  }

  // The one row of a process; fails the test for another number.
  Json One(const std::string& table, pid_t pid) const {
    const Json all = See(table);
    const Json rows = OfPid(all, pid);
    EXPECT_EQ(rows.size(), 1U) << all.dump(2);
    return rows.empty() ? Json() : rows.at(0);
  }

  // The numbers that a process itself gives to its connections, oldest first.
  std::vector<std::int64_t> OwnNumbers(Actor& host) const {
    std::vector<std::int64_t> numbers;
    for (const Row& row : host.Query(
             "loader", "select connection from lockscope_connections(" + Quote(db_) +
                           ") where source = 'shim' and pid = " + std::to_string(host.pid()) +
                           " order by 1")) {
      numbers.push_back(std::stoll(row.at(0)));
    }
    return numbers;
  }

  // A plain process that has read: others then need not take the write lock to read, as the first
  // one must, which finds no wal-index.
  void BeFirst() {
    first_.Open("c", db_);
    first_.Exec("c", "select count(*) from t");
  }

  // Every lock of it is its connection's, known to the kernel, and told once.
  void ExpectAllItsLocksAreTold(Actor& host) const {
    const Json all = See("locks");
    const Json rows = OfPid(all, host.pid());
    EXPECT_GT(rows.size(), 0U);
    EXPECT_EQ(FromKernel(all).size(), 0U) << all.dump(2);
    EXPECT_EQ(Values(rows, "verified"), std::vector<Json>{1}) << rows.dump(2);
    EXPECT_EQ(Values(rows, "granted"), std::vector<Json>{1}) << rows.dump(2);
    EXPECT_EQ(Values(rows, "connection").size(), 1U) << rows.dump(2);
    EXPECT_EQ(FromKernel(See("connections")).size(), 0U);
    EXPECT_EQ(FromKernel(See("snapshots")).size(), 0U);
  }

  // What the process sees of its own locks is what others see, but for the ages.
  void ExpectSameAsItSees(Actor& host) const {
    Json own = Json::parse(
        host.Query("loader", "select lockscope_json('locks', " + Quote(db_) + ")").at(0).at(0));
    Json seen = See("locks");
    for (Json* rows : {&own, &seen}) {
      for (Json& row : *rows) row.erase("age_ms");
    }
    EXPECT_EQ(own, seen);
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";

 private:
  Actor first_;
};

INSTANTIATE_TEST_SUITE_P(Seen, RegistryVisibilityTest, ::testing::ValuesIn(kEverybody), NameOf);

// ---- reading ----

TEST_P(RegistryVisibilityTest, ReaderInATransactionIsSeenWithItsSql) {
  Make();
  HostProcess host;
  host.Open("c", db_);
  host.Exec("c", "begin");
  host.Exec("c", "select count(*) from t");
  const Json connection = One("connections", host.pid());
  EXPECT_EQ(connection.at("source"), "shim");
  EXPECT_EQ(connection.at("state"), "reading");
  EXPECT_EQ(connection.at("connection"), OwnNumbers(host).at(0));
  EXPECT_EQ(connection.at("sql"), "select count(*) from t");
  EXPECT_EQ(connection.at("autocommit"), 0);
  EXPECT_EQ(connection.at("journal_mode"), "wal");
  EXPECT_EQ(connection.at("registry"), "shared");
  EXPECT_EQ(connection.at("sqlite_version"), sqlite3_libversion());
  EXPECT_NE(connection.at("process").get<std::string>().find("lockscope_actor"), std::string::npos);
  const Json snapshot = One("snapshots", host.pid());
  EXPECT_EQ(snapshot.at("source"), "shim");
  EXPECT_EQ(snapshot.at("sql"), "select count(*) from t");
  EXPECT_EQ(snapshot.at("autocommit"), 0);
  EXPECT_EQ(snapshot.at("slot"), 0);
  EXPECT_EQ(snapshot.at("frame"), 0);
  ExpectAllItsLocksAreTold(host);
  ExpectSameAsItSees(host);
}

TEST_P(RegistryVisibilityTest, UnfinishedStatementIsSeenInEveryJournalMode) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    Make(mode);
    HostProcess host;
    host.Open("c", db_);
    host.Step("c", "select id from t order by id");
    const Json connection = One("connections", host.pid());
    EXPECT_EQ(connection.at("source"), "shim");
    EXPECT_EQ(connection.at("state"), "reading");
    EXPECT_EQ(connection.at("sql"), "select id from t order by id");
    EXPECT_EQ(connection.at("autocommit"), 1);
    EXPECT_EQ(One("snapshots", host.pid()).at("sql"), "select id from t order by id");
    ExpectAllItsLocksAreTold(host);
    ExpectSameAsItSees(host);
    host.Finish("c");
    EXPECT_EQ(One("connections", host.pid()).at("state"), "idle");
    EXPECT_EQ(See("snapshots").size(), 0U);
    host.Quit();
    EXPECT_EQ(See("connections").size(), 0U);
    std::filesystem::remove(db_);
  }
}

// Milliseconds of the day, by the actor's own clock.
double ItsTimeMs(Actor& host) {
  return std::stod(host.Query("loader", "select (julianday('now') - 2460000) * 86400000")[0][0]);
}

TEST_P(RegistryVisibilityTest, AgeIsTheTruth) {
  Make();
  HostProcess host;
  host.Open("c", db_);
  host.Exec("loader", "create table at(ms)");
  constexpr double kToleranceMs = 50;
  // What takes too long to be measured by is tried again.
  for (int attempt = 0; attempt < 20; ++attempt) {
    const double before = ItsTimeMs(host);
    host.Exec("c", "begin");
    host.Exec("c", "select count(*) from t");
    const double after = ItsTimeMs(host);
    host.Exec("loader",
              "with recursive n(i) as (select 1 union all select i + 1 from n limit "
              "300000) select sum(i) from n");
    const double look_begins = ItsTimeMs(host);
    const Json row = One("snapshots", host.pid());
    const double look_ends = ItsTimeMs(host);
    host.Exec("c", "commit");
    if (after - before > 10 || look_ends - look_begins > 40) continue;
    const double age = row.at("age_ms");
    EXPECT_GE(age, look_begins - after - kToleranceMs / 2);
    EXPECT_LE(age, look_ends - before + kToleranceMs / 2);
    const double since = std::stod(
        host.Query("loader", "select (julianday(" + Quote(row.at("since").get<std::string>()) +
                                 ") - 2460000) * 86400000")[0][0]);
    EXPECT_GE(since, before - kToleranceMs / 2);
    EXPECT_LE(since, after + kToleranceMs / 2);
    return;
  }
  GTEST_SKIP() << "this machine is too busy to measure on";
}

// ---- writing ----

TEST_P(RegistryVisibilityTest, WriterIsSeen) {
  for (const char* mode : {"wal", "delete"}) {
    SCOPED_TRACE(mode);
    Make(mode);
    HostProcess host;
    host.Open("c", db_);
    host.Exec("c", "begin immediate");
    host.Exec("c", "update t set v = v + 1 where id = 7");
    const Json connection = One("connections", host.pid());
    EXPECT_EQ(connection.at("state"), "writing");
    EXPECT_EQ(connection.at("sql"), "begin immediate");
    ExpectAllItsLocksAreTold(host);
    ExpectSameAsItSees(host);
    host.Quit();
    std::filesystem::remove(db_);
  }
}

TEST_P(RegistryVisibilityTest, WaitingWriterIsSeenBesideTheOneItWaitsFor) {
  Make();
  HostProcess writer;
  HostProcess waiter;
  writer.Open("c", db_);
  waiter.Open("c", db_);
  writer.Exec("c", "begin immediate");
  waiter.BusyTimeout("c", 30'000);
  Answer granted = waiter.Start("c", "begin immediate -- later");
  ASSERT_TRUE(Eventually(
      [&] { return Where(OfPid(See("locks"), waiter.pid()), "granted", 0).size() == 1; }));
  const Json row = Where(OfPid(See("locks"), waiter.pid()), "granted", 0).at(0);
  EXPECT_EQ(row.at("resource"), "wal-write");
  EXPECT_EQ(row.at("mode"), "EXCLUSIVE");
  EXPECT_EQ(row.at("sql"), "begin immediate -- later");
  EXPECT_EQ(row.at("source"), "shim");
  EXPECT_EQ(row.at("verified"), nullptr);
  EXPECT_EQ(One("connections", waiter.pid()).at("state"), "waiting");
  EXPECT_GE(One("connections", waiter.pid()).at("busy_count"), 1);
  const Json blocker = Where(See("blockers"), "blocked_pid", waiter.pid());
  ASSERT_EQ(blocker.size(), 1U) << See("blockers").dump(2);
  EXPECT_EQ(blocker.at(0).at("blocker_pid"), writer.pid());
  EXPECT_EQ(blocker.at(0).at("blocker_connection"), OwnNumbers(writer).at(0));
  EXPECT_EQ(blocker.at(0).at("blocker_sql"), "begin immediate");
  writer.Exec("c", "commit");
  EXPECT_TRUE(granted.Wait().ok());
  EXPECT_EQ(Where(OfPid(See("locks"), waiter.pid()), "granted", 0).size(), 0U);
  EXPECT_EQ(One("connections", waiter.pid()).at("state"), "writing");
}

TEST_P(RegistryVisibilityTest, CheckpointerIsSeen) {
  Make();
  HostProcess host;
  host.Open("c", db_);
  host.Exec("c", "update t set v = v + 1 where id = 7");
  host.PauseAt("before write main");
  Answer done = host.Start("c", "pragma wal_checkpoint");
  host.AwaitPoint();
  const Json connection = One("connections", host.pid());
  EXPECT_EQ(connection.at("state"), "checkpointing");
  EXPECT_EQ(connection.at("sql"), "pragma wal_checkpoint");
  EXPECT_EQ(Where(See("locks"), "resource", "wal-checkpoint").size(), 1U);
  ExpectAllItsLocksAreTold(host);
  host.Continue();
  EXPECT_TRUE(done.Wait().ok());
}

TEST_P(RegistryVisibilityTest, BarrierOfAConnectionIsSeen) {
  Make();
  const std::string other = dir_ / "b.db";
  CreateDatabase(other);
  HostProcess host;
  host.Open("c", db_);
  host.Load("c", LOCKSCOPE_LOADABLE_FILE);
  host.Exec("c", "attach " + Quote(other) + " as b");
  const double before = ItsTimeMs(host);
  const std::string token =
      host.Query("c", BarrierSql({.kind = "write", .max_hold_ms = 60'000})).at(0).at(0);
  const double after = ItsTimeMs(host);
  const Json barrier = One("barriers", host.pid());
  EXPECT_EQ(barrier.at("token"), token);
  EXPECT_EQ(barrier.at("label"), nullptr);
  EXPECT_EQ(barrier.at("kind"), "write");
  EXPECT_EQ(barrier.at("state"), "held");
  EXPECT_EQ(barrier.at("source"), "shim");
  const Json databases = Json::parse(barrier.at("databases").get<std::string>());
  EXPECT_EQ(databases, (Json{db_, other}));
  const double expires = std::stod(
      host.Query("loader", "select (julianday(" + Quote(barrier.at("expires").get<std::string>()) +
                               ") - 2460000) * 86400000")[0][0]);
  EXPECT_GE(expires, before + 60'000 - 50);
  EXPECT_LE(expires, after + 60'000 + 50);
  // Its private connection is a row beside the caller's.
  const Json connections = OfPid(See("connections"), host.pid());
  EXPECT_EQ(Where(connections, "state", "barrier").size(), 1U) << connections.dump(2);
  EXPECT_EQ(Where(connections, "state", "barrier").at(0).at("connection"),
            barrier.at("connection"));
  EXPECT_EQ(FromKernel(See("locks")).size(), 0U);
  host.Exec("c", "select lockscope_barrier_release(" + Quote(token) + ")");
  EXPECT_EQ(See("barriers").size(), 0U);
}

#ifdef LOCKSCOPE_COMMAND
TEST_P(RegistryVisibilityTest, BarrierOfTheCommandIsSeenWithItsLabel) {
  Make();
  const pid_t command =
      Spawn({LOCKSCOPE_COMMAND, "exec", "--db", db_, "--", "sleep", "1000"}, {.own_group = true});
  Json barriers;
  EXPECT_TRUE(Eventually([&] { return (barriers = See("barriers")).size() == 1; }));
  if (barriers.size() == 1) {
    EXPECT_EQ(barriers.at(0).at("pid"), command);
    EXPECT_EQ(barriers.at(0).at("label"), "lockscope exec: sleep 1000");
    EXPECT_EQ(barriers.at(0).at("expires"), nullptr);
    EXPECT_EQ(barriers.at(0).at("databases"), Json{db_}.dump());
  }
  kill(-command, SIGKILL);
  waitpid(command, nullptr, 0);
  EXPECT_EQ(See("barriers").size(), 0U);
}
#endif

// ---- naming ----

TEST_P(RegistryVisibilityTest, ApplicationIsSeenFromTheEnvironmentAndWhenItIsSet) {
  Make();
  HostProcess host({.env = {{"LOCKSCOPE_APPLICATION", "the shop"}}});
  HostProcess nameless;
  for (HostProcess* process : {&host, &nameless}) process->Open("c", db_);
  EXPECT_EQ(One("connections", host.pid()).at("application"), "the shop");
  EXPECT_EQ(One("connections", nameless.pid()).at("application"), nullptr);
  host.Exec("loader", "select lockscope_set('application', 'the shop, later')");
  nameless.Exec("loader", "select lockscope_set('application', 'named')");
  EXPECT_EQ(One("connections", host.pid()).at("application"), "the shop, later");
  EXPECT_EQ(One("connections", nameless.pid()).at("application"), "named");
  host.Exec("loader", "select lockscope_set('application', 'default')");
  EXPECT_EQ(One("connections", host.pid()).at("application"), "the shop");
}

class PrivateTest : public RegistryVisibilityTest {
 protected:
  // What only the kernel knows of the process: one row, without a connection or its SQL.
  void ExpectOnlyTheKernelKnows(pid_t pid) const {
    const Json connection = One("connections", pid);
    EXPECT_EQ(connection.at("source"), "kernel");
    EXPECT_EQ(connection.at("state"), "reading");
    EXPECT_EQ(connection.at("sql"), nullptr);
    EXPECT_EQ(FromShim(See("locks")).size(), 0U);
    EXPECT_EQ(FromShim(See("snapshots")).size(), 0U);
    EXPECT_EQ(OfPid(See("events"), pid).size(), 0U);
    EXPECT_EQ(OfPid(See("stats"), pid).size(), 0U);
  }
  static void Read(Actor& host) {
    host.Exec("c", "begin");
    host.Exec("c", "select count(*) from t");
  }
};

INSTANTIATE_TEST_SUITE_P(Seen, PrivateTest, ::testing::ValuesIn(kEverybody), NameOf);

TEST_P(PrivateTest, ByUri) {
  Make();
  HostProcess host;
  host.Open("c", "file:" + db_ + "?lockscope_registry=private");
  Read(host);
  ExpectOnlyTheKernelKnows(host.pid());
  EXPECT_EQ(FileSize(Sidecar(db_)), -1);
}

TEST_P(PrivateTest, ByEnvironment) {
  Make();
  HostProcess host({.env = {{"LOCKSCOPE_REGISTRY", "private"}}});
  host.Open("c", db_);
  Read(host);
  ExpectOnlyTheKernelKnows(host.pid());
  EXPECT_EQ(FileSize(Sidecar(db_)), -1);
}

TEST_P(PrivateTest, ByFunctionTillItIsSharedAgain) {
  Make();
  HostProcess host;
  host.Open("c", db_);
  Read(host);
  EXPECT_EQ(One("connections", host.pid()).at("source"), "shim");
  for (int i = 0; i < 2; ++i) {
    host.Exec("loader", "select lockscope_set('registry', 'private')");
    ExpectOnlyTheKernelKnows(host.pid());
    host.Exec("loader", "select lockscope_set('registry', 'shared')");
    const Json connection = One("connections", host.pid());
    EXPECT_EQ(connection.at("source"), "shim");
    EXPECT_EQ(connection.at("sql"), "select count(*) from t");
    ExpectAllItsLocksAreTold(host);
    EXPECT_GT(OfPid(See("events"), host.pid()).size(), 0U);
  }
}

TEST_P(RegistryVisibilityTest, PlainProcessBesideStaysTheKernels) {
  Make();
  HostProcess host;
  Actor plain;
  for (Actor* process : std::initializer_list<Actor*>{&host, &plain}) {
    process->Open("c", db_);
    process->Exec("c", "begin; select count(*) from t");
  }
  EXPECT_EQ(One("connections", host.pid()).at("source"), "shim");
  const Json row = One("connections", plain.pid());
  EXPECT_EQ(row.at("source"), "kernel");
  EXPECT_EQ(row.at("state"), "reading");
  for (const char* column : {"connection", "sql", "since", "registry"}) {
    EXPECT_EQ(row.at(column), nullptr) << column;
  }
  EXPECT_EQ(Values(OfPid(See("locks"), plain.pid()), "source"), std::vector<Json>{"kernel"});
  EXPECT_EQ(Values(OfPid(See("locks"), host.pid()), "source"), std::vector<Json>{"shim"});
}

// A process that had it open before it loaded lockscope: both kinds of rows, of one process.
TEST_P(RegistryVisibilityTest, ConnectionFromBeforeLoadingStaysTheKernels) {
  Make("delete");
  Actor host;
  host.Open("before", db_);
  host.Load("loader", LOCKSCOPE_LOADABLE_FILE);
  host.Open("after", db_);
  host.Exec("after", "begin; select count(*) from t");
  host.Exec("before", "begin immediate");
  const Json locks = OfPid(See("locks"), host.pid());
  const Json kernel = FromKernel(locks);
  ASSERT_EQ(kernel.size(), 1U) << locks.dump(2);
  EXPECT_EQ(kernel.at(0).at("mode"), "RESERVED");
  const Json shim = FromShim(locks);
  ASSERT_EQ(shim.size(), 1U) << locks.dump(2);
  EXPECT_EQ(shim.at(0).at("mode"), "SHARED");
  EXPECT_EQ(shim.at(0).at("verified"), 1);
}

// ---- history ----

TEST_P(RegistryVisibilityTest, EventsOfTwoProcessesAreInTheOrderTheyHappened) {
  Make();
  BeFirst();
  HostProcess a;
  HostProcess b;
  for (HostProcess* process : {&a, &b}) {
    process->Open("c", db_);
    process->Exec("c", "select count(*) from t");
  }
  constexpr int kTurns = 20;
  std::vector<Json> wanted;
  for (int i = 0; i < kTurns; ++i) {
    for (HostProcess* process : {&a, &b}) {
      process->Exec("c", "update t set v = v + 1 where id = 7");
      wanted.emplace_back(process->pid());
    }
  }
  const Json events = See("events");
  std::vector<Json> writers;
  std::int64_t last_ns = 0;
  for (const Json& event : events) {
    EXPECT_GE(event.at("monotonic_ns"), last_ns);
    last_ns = event.at("monotonic_ns");
    if (event.at("operation") == "shm-lock" && event.at("resource") == "wal-write") {
      EXPECT_EQ(event.at("result"), "SQLITE_OK");
      writers.push_back(event.at("pid"));
    }
  }
  EXPECT_EQ(writers, wanted);
  // Of each, one after the other.
  for (HostProcess* process : {&a, &b}) {
    std::int64_t number = 0;
    for (const Json& event : OfPid(events, process->pid())) {
      EXPECT_EQ(event.at("seq"), ++number);
      EXPECT_EQ(event.at("connection"), OwnNumbers(*process).at(0));
    }
    EXPECT_GT(number, 2 * kTurns);
  }
}

TEST_P(RegistryVisibilityTest, EventsOfAClosedConnectionStay) {
  Make();
  BeFirst();
  HostProcess host;
  host.Open("keeper", db_);
  host.Open("c", db_);
  host.Exec("c", "update t set v = v + 1 where id = 7");
  const std::int64_t number = OwnNumbers(host).at(1);
  const auto its_events = [&] {
    const Json events = Where(OfPid(See("events"), host.pid()), "connection", number);
    return Where(Where(events, "resource", "wal-write"), "operation", "shm-lock").size();
  };
  EXPECT_EQ(its_events(), 1U);
  host.Close("c");
  EXPECT_EQ(its_events(), 1U);
  EXPECT_EQ(OfPid(See("connections"), host.pid()).size(), 1U);
}

class StatsTest : public RegistryVisibilityTest {
 protected:
  // "acquired released refused" of the write lock; "" for no such row.
  std::string WriteLock(pid_t pid) const {
    const Json rows = Where(OfPid(See("stats"), pid), "resource", "wal-write");
    if (rows.empty()) return "";
    EXPECT_EQ(rows.size(), 1U) << rows.dump(2);
    const Json& row = rows.at(0);
    return row.at("acquired").dump() + " " + row.at("released").dump() + " " +
           row.at("refused").dump();
  }
  static void Write(Actor& host, const char* connection, int times) {
    for (int i = 0; i < times; ++i) {
      host.Exec(connection, "update t set v = v + 1 where id = 7");
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Seen, StatsTest, ::testing::ValuesIn(kEverybody), NameOf);

TEST_P(StatsTest, CountWhatHappened) {
  Make();
  BeFirst();
  HostProcess host;
  host.Open("c", db_);
  host.Open("d", db_);
  EXPECT_EQ(WriteLock(host.pid()), "");
  Write(host, "c", 5);
  EXPECT_EQ(WriteLock(host.pid()), "5 5 0");
  host.Exec("c", "begin immediate");
  EXPECT_EQ(WriteLock(host.pid()), "6 5 0");
  EXPECT_EQ(host.Try("d", "begin immediate").code, SQLITE_BUSY);
  EXPECT_EQ(WriteLock(host.pid()), "6 5 1");
  host.Exec("c", "commit");
  EXPECT_EQ(WriteLock(host.pid()), "6 6 1");
}

TEST_P(StatsTest, StayWhenAConnectionIsClosed) {
  Make();
  BeFirst();
  HostProcess host;
  host.Open("keeper", db_);
  host.Open("c", db_);
  Write(host, "c", 5);
  host.Close("c");
  EXPECT_EQ(WriteLock(host.pid()), "5 5 0");
  host.Open("c", db_);
  Write(host, "c", 2);
  EXPECT_EQ(WriteLock(host.pid()), "7 7 0");
}

TEST_P(StatsTest, AreThereAgainWhenTheProcessComesBack) {
  Make();
  BeFirst();
  HostProcess other;  // its sidecar stays meanwhile
  for (const bool alone : {true, false}) {
    SCOPED_TRACE(alone ? "alone" : "beside another");
    if (!alone) other.Open("c", db_);
    HostProcess host;
    int written = 0;
    for (int i = 1; i <= 3; ++i) {
      host.Open("c", db_);
      Write(host, "c", i);
      written += i;
      const std::string count = std::to_string(written);
      EXPECT_EQ(WriteLock(host.pid()), count + " " + count + " 0");
      host.Close("c");
      EXPECT_EQ(WriteLock(host.pid()), "");
    }
  }
}

TEST_P(StatsTest, OfAnotherProcessInTheSameBlockAreNotMixedIn) {
  Make();
  BeFirst();
  {
    HostProcess before;
    before.Open("c", db_);
    Write(before, "c", 5);
    before.Kill();
  }
  HostProcess host;
  host.Open("c", db_);
  Write(host, "c", 2);
  EXPECT_EQ(BlocksHeld(db_), std::vector<std::uint32_t>{0});
  EXPECT_EQ(WriteLock(host.pid()), "2 2 0");
  EXPECT_EQ(Values(See("stats"), "pid"), std::vector<Json>{host.pid()});
}

// ---- many ----

TEST_P(RegistryVisibilityTest, ManyConnectionsOfOneProcessAreAllSeen) {
  Make();
  HostProcess host;
  std::vector<std::uint32_t> blocks;
  for (int open = 1; open <= 20; ++open) {
    const std::string name = "c" + std::to_string(open);
    host.Open(name, db_);
    host.Exec(name, "begin; select count(*) from t -- " + name);
    if (open % 8 == 1) blocks.push_back(static_cast<std::uint32_t>(open / 8));
    if (open != 8 && open != 9 && open != 16 && open != 17 && open != 20) continue;
    SCOPED_TRACE(open);
    const Json rows = OfPid(See("connections"), host.pid());
    EXPECT_EQ(rows.size(), static_cast<std::size_t>(open));
    EXPECT_EQ(Values(rows, "connection").size(), static_cast<std::size_t>(open));
    EXPECT_EQ(Values(rows, "sql").size(), static_cast<std::size_t>(open));
    EXPECT_EQ(BlocksHeld(db_), blocks);
    EXPECT_EQ(FromKernel(See("locks")).size(), 0U);
    EXPECT_EQ(Values(See("locks"), "verified"), std::vector<Json>{1});
  }
  // Records that were given back are used again before another block is taken.
  for (int i = 1; i <= 12; ++i) host.Close("c" + std::to_string(i));
  EXPECT_EQ(OfPid(See("connections"), host.pid()).size(), 8U);
  for (int i = 1; i <= 12; ++i) host.Open("c" + std::to_string(i), db_);
  EXPECT_EQ(OfPid(See("connections"), host.pid()).size(), 20U);
  EXPECT_EQ(BlocksHeld(db_), blocks);
}

TEST_P(RegistryVisibilityTest, ManyProcessesAreAllSeen) {
  Make();
  std::vector<std::unique_ptr<HostProcess>> hosts;
  std::vector<Json> pids;
  for (int i = 0; i < 10; ++i) {
    hosts.push_back(std::make_unique<HostProcess>());
    hosts.back()->Open("c", db_);
    hosts.back()->Exec("c", "begin; select count(*) from t");
    pids.emplace_back(hosts.back()->pid());
  }
  std::sort(pids.begin(), pids.end());
  EXPECT_EQ(Values(FromShim(See("connections")), "pid"), pids);
  EXPECT_EQ(FromKernel(See("connections")).size(), 0U);
  EXPECT_EQ(BlocksHeld(db_).size(), 10U);
  // From within, each sees all of them too.
  EXPECT_EQ(hosts.back()
                ->Query("loader",
                        "select count(distinct pid), min(source), max(source)"
                        "  from lockscope_connections(" +
                            Quote(db_) + ")")
                .at(0),
            (Row{"10", "shim", "shim"}));
}

// ---- mid-update ----

// A writer that the scheduler, or a page fault, has taken off in the middle of recording.
TEST(RegistryReaderTest, ConnectionInMidUpdateForAMomentIsNotLeftOut) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  HostProcess host;
  host.Open("c", db);
  constexpr off_t kSequence = ledger::BlockOffset(0) + ledger::kFirstRecord +
                              offsetof(ledger::ConnectionRecord, slot) +
                              offsetof(ledger::ConnectionSlot, sequence);
  const int fd = open(Sidecar(db).c_str(), O_RDWR | O_CLOEXEC);
  std::uint64_t sequence = 0;
  ASSERT_EQ(pread(fd, &sequence, sizeof sequence, kSequence), 8);
  ASSERT_EQ(sequence % 2, 0U);
  // Where the machine makes the moment longer than it should be, it is tried again.
  struct stat facts = {};
  ASSERT_EQ(stat(db.c_str(), &facts), 0);
  bool shown = false;
  for (int attempt = 0; attempt < 3 && !shown; ++attempt) {
    ledger::RegistryReader reader(db, {.device = facts.st_dev, .inode = facts.st_ino});
    const std::uint64_t odd = sequence + 1;
    ASSERT_EQ(pwrite(fd, &odd, sizeof odd, kSequence), 8);
    std::thread writer([&] {
      usleep(4'000);
      EXPECT_EQ(pwrite(fd, &sequence, sizeof sequence, kSequence), 8);
    });
    shown = reader.Connections().size() == 1;
    writer.join();
  }
  EXPECT_TRUE(shown);
  close(fd);
}

// ---- words ----

#ifdef LOCKSCOPE_COMMAND
TEST(RegistryWhyTest, NamesTheConnectionAndItsSql) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db, {.rows = 2000});
  HostProcess host;
  Actor writer;
  host.Open("first", db);
  host.Open("c", db);
  writer.Open("w", db);
  writer.Exec("w", "update t set v = v + 1 where id = 7");
  host.Exec("c", "begin");
  host.Exec("c", "select count(*) from t");
  writer.Exec("w", "update t set pad = randomblob(300)");
  const auto number = std::stoll(
      host.Query("loader", "select max(connection) from lockscope_connections(" + Quote(db) + ")")
          .at(0)
          .at(0));
  const Json findings =
      Json::parse(RunProgram({.argv = {LOCKSCOPE_COMMAND, "why", "--json", db}}).out);
  const Json pinned = OfPid(findings, host.pid());
  ASSERT_GE(pinned.size(), 1U) << findings.dump(2);
  EXPECT_EQ(pinned.at(0).at("connection"), number);
  EXPECT_NE(pinned.at(0).at("text").get<std::string>().find("select count(*) from t"),
            std::string::npos)
      << findings.dump(2);
  const ProgramResult text = RunProgram({.argv = {LOCKSCOPE_COMMAND, "why", db}});
  EXPECT_NE(text.out.find("connection " + std::to_string(number)), std::string::npos) << text;
}
#endif

}  // namespace
}  // namespace lockscope::testing
