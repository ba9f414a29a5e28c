// The commands that print a table, run against processes of plain SQLite, and with lockscope.
//
//   1  what they show: the locks, readers and writers of others, with the right pid; what others
//      publish
//   2  the contract: JSON as lockscope_json gives it; text for people
//   3  several databases, none, and what is no database
//   4  usage
//   5  hostile names
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "command.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class TableCommandsTest : public ::testing::Test {
 protected:
  std::string MakeDatabase(const std::string& name, const std::string& journal_mode = "delete") {
    CreateDatabase(dir_ / name, {.journal_mode = journal_mode});
    return dir_ / name;
  }

  // Begins a transaction and reads.
  void BeginReading(Actor& actor, const std::string& path) {
    actor.Open("c", path);
    actor.Exec("c", "begin; select * from t limit 1");
  }

  // Begins to write, in a process whose connections others see: its only one is number 1.
  void BeginPublishing(Actor& actor, const std::string& path) {
    actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
    actor.Open("c", path);
    actor.Exec("c", "begin immediate");
  }

  // Each look counts time from the moment at which it looks, and knows the tick's length as well as
  // it can.
  static Json WithoutTimes(Json rows) {
    for (Json& row : rows) {
      for (const auto& [column, value] : row.items()) {
        const bool time = column == "at" || column == "since" || column == "opened" ||
                          column == "last_busy" || column == "pid_start" ||
                          column.ends_with("_ms") || column.ends_with("_ns") ||
                          column.find("_us_") != std::string::npos;
        if (time && !value.is_null()) row[column] = "known";
      }
    }
    return rows;
  }

  TempDir dir_;
};

// ---- 1 ----

TEST_F(TableCommandsTest, LocksNamesReaderAndWriterOfARollbackDatabase) {
  const std::string path = MakeDatabase("a.db");
  Actor reader;
  BeginReading(reader, path);
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin immediate");

  const Json rows = Rows("locks", {path});
  ASSERT_EQ(rows.size(), 2U) << rows.dump(2);
  const Json shared = RowWhere(rows, "pid", reader.pid());
  EXPECT_EQ(shared.at("resource"), "database");
  EXPECT_EQ(shared.at("mode"), "SHARED");
  EXPECT_EQ(shared.at("first_byte"), kSharedFirst);
  EXPECT_EQ(shared.at("last_byte"), kSharedLast);
  EXPECT_EQ(shared.at("granted"), 1);
  const Json reserved = RowWhere(rows, "pid", writer.pid());
  EXPECT_EQ(reserved.at("mode"), "RESERVED");
  EXPECT_EQ(reserved.at("first_byte"), kReservedByte);
  EXPECT_EQ(reserved.at("source"), "kernel");
  for (const char* unknown : {"connection", "since", "age_ms", "sql", "verified"}) {
    EXPECT_TRUE(reserved.at(unknown).is_null()) << unknown;
  }
}

TEST_F(TableCommandsTest, ConnectionsTellsWhatEachProcessOfAWalDatabaseDoes) {
  const std::string path = MakeDatabase("a.db", "wal");
  Actor idle;
  idle.Open("c", path);
  idle.Exec("c", "select * from t limit 1");
  Actor reader;
  BeginReading(reader, path);
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin immediate");

  const Json rows = Rows("connections", {path});
  ASSERT_EQ(rows.size(), 3U) << rows.dump(2);
  EXPECT_EQ(RowWhere(rows, "pid", idle.pid()).at("state"), "idle");
  EXPECT_EQ(RowWhere(rows, "pid", reader.pid()).at("state"), "reading");
  EXPECT_EQ(RowWhere(rows, "pid", writer.pid()).at("state"), "writing");
}

TEST_F(TableCommandsTest, BlockersNamesWhoIsInTheNextWritersWay) {
  const std::string path = MakeDatabase("a.db", "delete");
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin immediate");
  Actor reader;
  BeginReading(reader, path);

  const Json rows = Rows("blockers", {path});
  ASSERT_EQ(rows.size(), 2U) << rows.dump(2);
  // The writer could not commit now, and nobody else can begin to write.
  EXPECT_EQ(rows[0].at("blocked_pid"), writer.pid());
  EXPECT_EQ(rows[0].at("blocker_pid"), reader.pid());
  EXPECT_EQ(rows[0].at("wants"), "database EXCLUSIVE");
  EXPECT_EQ(rows[0].at("holds"), "database SHARED");
  EXPECT_TRUE(rows[1].at("blocked_pid").is_null());
  EXPECT_EQ(rows[1].at("blocker_pid"), writer.pid());
  EXPECT_EQ(rows[1].at("wants"), "database RESERVED");

  const ProgramResult text = Lockscope({"blockers", path});
  EXPECT_EQ(text.exit_code, 0) << text;
  EXPECT_TRUE(text.out.starts_with("WAITS")) << text.out;
  EXPECT_NE(text.out.find("COMMIT or ROLLBACK there"), std::string::npos) << text.out;
}

TEST_F(TableCommandsTest, SnapshotsAndWalAreRightToTheFrame) {
  const std::string path = MakeDatabase("a.db", "wal");
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "pragma wal_autocheckpoint = 0; update t set v = 0 where id < 50");
  Actor reader;
  BeginReading(reader, path);
  writer.Exec("c", "update t set v = 0 where id >= 50");
  // As far as SQLite can checkpoint, so far does the reader's snapshot reach.
  const auto sqlite = writer.Checkpoint("c", "passive");
  ASSERT_GT(sqlite.checkpointed_frames, 0);
  ASSERT_GT(sqlite.log_frames, sqlite.checkpointed_frames);
  const int behind = sqlite.log_frames - sqlite.checkpointed_frames;

  const Json snapshot = RowWhere(Rows("snapshots", {path}), "pid", reader.pid());
  EXPECT_EQ(snapshot.at("frame"), sqlite.checkpointed_frames);
  EXPECT_EQ(snapshot.at("mark"), sqlite.checkpointed_frames);
  EXPECT_EQ(snapshot.at("behind_frames"), behind);
  EXPECT_EQ(snapshot.at("pins"), "backfill");
  EXPECT_EQ(snapshot.at("pinned_bytes"), behind * (24 + 4096));
  const Json wal = Rows("wal", {path}).at(0);
  EXPECT_EQ(wal.at("frames"), sqlite.log_frames);
  EXPECT_EQ(wal.at("backfilled"), sqlite.checkpointed_frames);
  EXPECT_EQ(wal.at("pending_frames"), behind);
  EXPECT_EQ(wal.at("wal_bytes"), FileSize(path + "-wal"));
  EXPECT_EQ(wal.at("oldest_snapshot_frame"), sqlite.checkpointed_frames);
  EXPECT_EQ(wal.at("backfill_pinned_by"), reader.pid());
}

TEST_F(TableCommandsTest, APublishedConnectionIsToldWithStatementAndTime) {
  const std::string path = MakeDatabase("a.db", "wal");
  Actor host;
  BeginPublishing(host, path);
  const Json rows = Rows("connections", {path});
  ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
  EXPECT_EQ(rows[0].at("pid"), host.pid());
  EXPECT_EQ(rows[0].at("connection"), 1);
  EXPECT_EQ(rows[0].at("source"), "shim");
  EXPECT_EQ(rows[0].at("state"), "writing");
  EXPECT_EQ(rows[0].at("sql"), "begin immediate");
  EXPECT_EQ(rows[0].at("registry"), "shared");
  for (const char* known : {"since", "age_ms", "opened", "sqlite_version", "vfs"}) {
    EXPECT_FALSE(rows[0].at(known).is_null()) << known;
  }
  const Json locks = Rows("locks", {path});
  EXPECT_EQ(RowWhere(locks, "resource", "wal-write").at("sql"), "begin immediate");
  for (const Json& lock : locks) EXPECT_EQ(lock.at("verified"), 1) << lock.dump(2);
}

TEST_F(TableCommandsTest, EventsAndStatsAreThoseOfEveryProcessThatPublishes) {
  const std::string path = MakeDatabase("a.db", "wal");
  Actor first;
  BeginPublishing(first, path);
  Actor second;
  second.Load("m", LOCKSCOPE_LOADABLE_FILE);
  second.Open("c", path);
  ASSERT_EQ(second.Try("c", "begin immediate").code, SQLITE_BUSY);

  const Json events = Rows("events", {path});
  EXPECT_TRUE(AnyWhere(events, "pid", first.pid())) << events.dump(2);
  const Json refused = RowWhere(events, "result", "SQLITE_BUSY");
  EXPECT_EQ(refused.at("pid"), second.pid());
  EXPECT_EQ(refused.at("source"), "shim");
  EXPECT_EQ(refused.at("resource"), "wal-write");
  std::uint64_t before = 0;
  for (const Json& event : events) {
    EXPECT_GE(event.at("monotonic_ns").get<std::uint64_t>(), before);
    before = event.at("monotonic_ns").get<std::uint64_t>();
  }
  const ProgramResult text = Lockscope({"events", path});
  EXPECT_EQ(text.exit_code, 0) << text;
  EXPECT_NE(text.out.find("BUSY"), std::string::npos) << text;

  const auto counted = [&](const Actor& actor, const char* column) {
    for (const Json& row : Rows("stats", {path})) {
      if (row.at("pid") == actor.pid() && row.at("resource") == "wal-write") return row.at(column);
    }
    return Json();
  };
  const Json acquired = counted(first, "acquired");  // also for recovering the WAL as the first one
  first.Exec("c", "commit; begin immediate");
  EXPECT_EQ(counted(first, "acquired"), acquired.get<int>() + 1);
  EXPECT_EQ(counted(first, "refused"), 0);
  EXPECT_EQ(counted(second, "acquired"), 0);
  EXPECT_EQ(counted(second, "refused"), 1);
  EXPECT_NE(Lockscope({"stats", path}).out.find("wal-write"), std::string::npos);

  // What a process has told goes with it.
  first.Kill();
  EXPECT_FALSE(AnyWhere(Rows("events", {path}), "pid", first.pid()));
  EXPECT_FALSE(AnyWhere(Rows("stats", {path}), "pid", first.pid()));
  EXPECT_TRUE(AnyWhere(Rows("events", {path}), "pid", second.pid()));
}

TEST_F(TableCommandsTest, BarriersOfOtherProcessesAreShown) {
  const std::string path = MakeDatabase("a.db", "wal");
  const std::string other = MakeDatabase("b.db");
  Actor host;
  host.Load("m", LOCKSCOPE_LOADABLE_FILE);
  host.Open("c", path);
  host.Exec("c", "attach '" + other + "' as b");
  EXPECT_EQ(Rows("barriers", {path}).dump(), "[]");
  const std::string token = host.Exec("c", "select lockscope_barrier('write', 5000, '', 60000)")[0];
  for (const std::string& of : {path, other}) {
    const Json rows = Rows("barriers", {of});
    ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
    EXPECT_EQ(rows[0].at("database"), of);
    EXPECT_EQ(rows[0].at("pid"), host.pid());
    EXPECT_EQ(rows[0].at("token"), token);
    EXPECT_EQ(rows[0].at("kind"), "write");
    EXPECT_EQ(rows[0].at("state"), "held");
    EXPECT_EQ(rows[0].at("source"), "shim");
    EXPECT_FALSE(rows[0].at("expires").is_null());
    EXPECT_EQ(Json::parse(rows[0].at("databases").get<std::string>()), Json::array({path, other}));
    // Its connection is the private one.
    EXPECT_EQ(RowWhere(Rows("connections", {of}), "state", "barrier").at("connection"),
              rows[0].at("connection"));
  }
  EXPECT_EQ(Rows("barriers", {path, other}).size(), 1U);
  const ProgramResult text = Lockscope({"barriers", path});
  EXPECT_NE(text.out.find(token), std::string::npos) << text;
  host.Exec("c", "select lockscope_barrier_release('" + token + "')");
  EXPECT_EQ(Rows("barriers", {path}).dump(), "[]");
}

TEST_F(TableCommandsTest, AnExclusivelyLockedDatabaseCanBeLookedAt) {
  const std::string path = MakeDatabase("a.db");
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin exclusive");

  for (const char* command :
       {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
    EXPECT_EQ(Lockscope({command, path}).exit_code, 0) << command;
  }
  EXPECT_EQ(RowWhere(Rows("locks", {path}), "pid", writer.pid()).at("mode"), "EXCLUSIVE");
  EXPECT_EQ(RowWhere(Rows("connections", {path}), "pid", writer.pid()).at("state"), "writing");
}

// ---- 2 ----

TEST_F(TableCommandsTest, JsonIsWhatLockscopeJsonAnswers) {
  const std::string path = MakeDatabase("a.db", "wal");
  const auto readers = HoldReadSlots(path);
  Actor host;
  BeginPublishing(host, path);
  host.Exec("c", "insert into t(v) values (0)");
  Actor looker;
  looker.Load("c", LOCKSCOPE_LOADABLE_FILE);
  const auto in_sql = [&](const std::string& table) {
    std::string sql = "select lockscope_json('";
    sql.append(table).append("', '").append(path).append("')");
    return Json::parse(looker.Exec("c", sql).at(0));
  };
  for (const char* table :
       {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
    const Json printed = Rows(table, {path});
    ASSERT_FALSE(printed.empty()) << table;
    // dump() compares the order of the keys too.
    EXPECT_EQ(WithoutTimes(printed).dump(2), WithoutTimes(in_sql(table)).dump(2)) << table;
  }
}

TEST_F(TableCommandsTest, TextIsAnAlignedTableOfWhatIsKnown) {
  const std::string path = MakeDatabase("a.db");
  Actor reader;
  BeginReading(reader, path);
  const std::string process = RowWhere(Rows("locks", {path}), "pid", reader.pid()).at("process");

  const std::string pid = std::to_string(reader.pid());
  ASSERT_GE(pid.size(), 3U);
  const ProgramResult result = Lockscope({"locks", path});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  std::string expected(pid.size() - 3, ' ');
  expected += "PID  RESOURCE  MODE    STATE  PROCESS\n";
  expected += pid;
  expected += "  database  SHARED  held   ";
  expected += process;
  EXPECT_EQ(result.out, expected + "\n");
}

TEST_F(TableCommandsTest, NoRowsAreNoErrorAndNoData) {
  const std::string path = MakeDatabase("a.db");
  for (const char* command :
       {"connections", "locks", "snapshots", "wal", "blockers", "events", "stats"}) {
    const ProgramResult text = Lockscope({command, path});
    EXPECT_EQ(text.exit_code, 0) << command;
    EXPECT_EQ(text.out, "") << command;
    EXPECT_NE(text.err.find(path), std::string::npos) << text;
    const ProgramResult json = Lockscope({command, "--json", path});
    EXPECT_EQ(json.exit_code, 0) << command;
    EXPECT_EQ(json.out, "[]\n") << command;
    EXPECT_EQ(json.err, "") << command;
  }
}

// What a process keeps of its own calls no kernel tells.
TEST_F(TableCommandsTest, PlainSqliteHasNeitherEventsNorStats) {
  const std::string path = MakeDatabase("a.db", "wal");
  const auto readers = HoldReadSlots(path);
  ASSERT_FALSE(Rows("locks", {path}).empty());
  for (const std::string command : {"events", "stats"}) {
    EXPECT_EQ(Rows(command, {path}).dump(), "[]") << command;
    const ProgramResult text = Lockscope({command, path, dir_ / "missing.db"});
    EXPECT_EQ(text.exit_code, 1) << text;
    EXPECT_EQ(text.out, "");
    EXPECT_NE(text.err.find("lockscope: no lock call is "), std::string::npos) << text;
    EXPECT_NE(text.err.find(" on " + path + "\n"), std::string::npos) << text;
    EXPECT_NE(text.err.find(dir_ / "missing.db"), std::string::npos) << text;
  }
}

// ---- 3 ----

TEST_F(TableCommandsTest, SeveralDatabasesAreOneArrayInTheirOrder) {
  const std::string first = MakeDatabase("b.db");
  const std::string second = MakeDatabase("a.db", "wal");
  Actor actor;
  actor.Open("x", first);
  actor.Exec("x", "begin immediate");
  actor.Open("y", second);
  actor.Exec("y", "begin immediate");

  const Json rows = Rows("connections", {first, second});
  ASSERT_EQ(rows.size(), 2U) << rows.dump(2);
  EXPECT_EQ(rows[0].at("database"), first);
  EXPECT_EQ(rows[1].at("database"), second);
  EXPECT_EQ(rows[0].at("pid"), rows[1].at("pid"));
  const std::string text = Lockscope({"connections", first, second}).out;
  EXPECT_EQ(text.rfind("DATABASE", 0), 0U) << text;
  EXPECT_NE(text.find("\n" + first), std::string::npos) << text;
  EXPECT_NE(text.find("\n" + second), std::string::npos) << text;
}

TEST_F(TableCommandsTest, AFileIsLookedAtOnceHoweverOftenItIsNamed) {
  const std::string path = MakeDatabase("a.db");
  std::filesystem::create_symlink(path, dir_ / "link.db");
  Actor reader;
  BeginReading(reader, path);
  const Json rows = Rows("locks", {dir_ / "link.db", path, path});
  ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
  EXPECT_EQ(rows[0].at("database"), path);
}

TEST_F(TableCommandsTest, WhatCannotBeLookedAtIsSaidAndTheOthersAreShown) {
  const std::string path = MakeDatabase("a.db", "wal");
  Actor reader;
  BeginReading(reader, path);
  const std::string no_database = dir_ / "notes.txt";
  std::ofstream(no_database) << std::string(200, 'x');

  const std::vector<std::string> wrong = {dir_ / "missing.db", no_database, dir_.path(),
                                          path + "-wal", ""};
  for (const std::string& name : wrong) {
    const ProgramResult result = Lockscope({"locks", "--json", "--", name, path});
    EXPECT_EQ(result.exit_code, 1) << result;
    EXPECT_EQ(result.err.rfind("lockscope: ", 0), 0U) << result;
    EXPECT_NE(result.err.find(name), std::string::npos) << result;
    EXPECT_TRUE(AnyWhere(Json::parse(result.out), "pid", reader.pid())) << result;
  }
}

TEST_F(TableCommandsTest, AnEmptyFileIsADatabase) {
  std::ofstream(dir_ / "empty.db").flush();
  const ProgramResult result = Lockscope({"locks", "--json", dir_ / "empty.db"});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "[]\n");
}

TEST_F(TableCommandsTest, AFullDiskIsAnError) {
  const std::string path = MakeDatabase("a.db");
  const ProgramResult result =
      RunProgram({.argv = {"sh", "-c", "exec \"$0\" locks --json \"$1\" >/dev/full",
                           LOCKSCOPE_COMMAND, path}});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_NE(result.err.find("cannot write"), std::string::npos) << result;
}

// ---- 4 ----

TEST_F(TableCommandsTest, WrongUsageIsStatus2AndPrintsNoData) {
  const std::string path = MakeDatabase("a.db");
  const std::vector<std::vector<std::string>> wrong = {{},
                                                       {"bogus", path},
                                                       {"locks"},
                                                       {"events"},
                                                       {"stats", "--json"},
                                                       {"why"},
                                                       {"shell"},
                                                       {"locks", "--bogus", path},
                                                       {"events", "--bogus", path},
                                                       {"stats", "--bogus", path},
                                                       {"--bogus"}};
  for (const auto& arguments : wrong) {
    const ProgramResult result = Lockscope(arguments);
    EXPECT_EQ(result.exit_code, 2) << result;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err.rfind("lockscope: ", 0), 0U) << result;
  }
  EXPECT_NE(Lockscope({"bogus", path}).err.find("bogus"), std::string::npos);
}

TEST_F(TableCommandsTest, HelpAndVersionGoToStdout) {
  const ProgramResult version = Lockscope({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_EQ(version.out.rfind("lockscope 0.", 0), 0U) << version;
  const ProgramResult help = Lockscope({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const std::string command : {"connections", "locks", "snapshots", "wal", "blockers",
                                    "events", "stats", "why", "shell"}) {
    EXPECT_NE(help.out.find("\n  " + command + " "), std::string::npos) << command;
    const ProgramResult of_command = Lockscope({command, "--help"});
    EXPECT_EQ(of_command.exit_code, 0) << command;
    EXPECT_EQ(of_command.err, "") << command;
    EXPECT_NE(of_command.out.find("Exit status: "), std::string::npos) << of_command;
  }
}

// ---- 5 ----

TEST_F(TableCommandsTest, ANameInBracketsIsNoList) {
  const std::string path = MakeDatabase("[a,b]");
  Actor reader;
  BeginReading(reader, path);
  const ProgramResult result = Lockscope({"locks", "--json", "[a,b]"}, {}, dir_.path());
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(Json::parse(result.out).size(), 1U) << result;
}

TEST_F(TableCommandsTest, ALineFeedInANameStartsNoLine) {
  const std::string path = MakeDatabase("a\nok       nothing is wrong");
  LeaveHotJournal(path);
  const ProgramResult result = Lockscope({"why", path});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_EQ(result.out.find("\nok       nothing"), std::string::npos) << result;
}

TEST_F(TableCommandsTest, ManyDatabasesNeedMoreDescriptorsThanUsual) {
  std::vector<std::string> arguments = {
      "-c", "ulimit -Sn 64; exec \"$@\"", "sh", LOCKSCOPE_COMMAND, "wal", "--json"};
  const std::string first = MakeDatabase("0.db", "wal");
  for (int i = 0; i < 100; ++i) {
    arguments.push_back(dir_ / (std::to_string(i) + ".db"));
    if (i > 0) std::filesystem::copy_file(first, arguments.back());
  }
  arguments.insert(arguments.begin(), "sh");
  const ProgramResult result = RunProgram({.argv = arguments});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(Json::parse(result.out).size(), 100U);
}

TEST_F(TableCommandsTest, AWalWithoutFramesHasTheHeadersPageSize) {
  const std::string path = MakeDatabase("a.db", "wal");
  Actor reader;
  BeginReading(reader, path);
  const Json row = Rows("wal", {path}).at(0);
  EXPECT_EQ(row.at("frames"), 0) << row.dump();
  EXPECT_EQ(row.at("page_size"), 4096) << row.dump();
  EXPECT_GT(row.at("database_pages"), 0) << row.dump();
}

// Its first page is written last.
TEST_F(TableCommandsTest, ADatabaseInItsFirstTransactionIsOne) {
  const std::string path = dir_ / "new.db";
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c",
              "pragma cache_size = 5; begin; create table t(x);"
              "with recursive c(i) as (select 1 union all select i + 1 from c where i < 500)"
              " insert into t select zeroblob(500) from c");
  EXPECT_TRUE(AnyWhere(Rows("locks", {path}), "pid", writer.pid()));
  writer.Kill();
  const ProgramResult why = Lockscope({"why", path});
  EXPECT_NE(why.out.find("hot journal."), std::string::npos) << why;
}

TEST_F(TableCommandsTest, ControlCharactersOfANameReachNobodyRaw) {
  const std::string kTurn = "\u202e";  // NOLINT(misc-misleading-bidirectional)
  // An escape sequence, a line feed, C1's CSI, a right-to-left override, and no UTF-8.
  const std::string hostile = MakeDatabase("a\x1b[31m\n\u009b31m" + kTurn + "\xff.db");
  const std::string other = MakeDatabase("b.db");
  Actor reader;
  BeginReading(reader, hostile);

  const ProgramResult text = Lockscope({"locks", hostile, other, hostile + "missing"});
  const std::string shown = "a\\x1b[31m\\n\\u009b31m\\u202e\\xff.db";
  EXPECT_NE(text.out.find(shown), std::string::npos) << text;
  EXPECT_NE(text.err.find(shown + "missing"), std::string::npos) << text;
  const ProgramResult json = Lockscope({"locks", "--json", hostile});
  const ProgramResult why = Lockscope({"why", hostile});
  EXPECT_NE(why.out.find(shown), std::string::npos) << why;
  for (const std::string& output : {text.out, text.err, json.out, why.out}) {
    for (const std::string& raw :
         {std::string("\x1b"), std::string("\u009b"), kTurn, std::string("\xff")}) {
      EXPECT_EQ(output.find(raw), std::string::npos) << output;
    }
  }
  // In JSON the value is what it is, but for what is no UTF-8.
  const Json rows = Json::parse(json.out);
  EXPECT_EQ(rows.at(0).at("database"), dir_ / ("a\x1b[31m\n\u009b31m" + kTurn + "\ufffd.db"));
}

}  // namespace
}  // namespace lockscope::testing
