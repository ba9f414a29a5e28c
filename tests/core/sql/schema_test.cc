// What lockscope adds to a connection, literally:
//   names     functions and tables
//   columns   of every table, in order, with their types
//   use       eponymous only; version

#include <gtest/gtest.h>

#include "core/session.h"
#include "lockscope.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

class SchemaTest : public ::testing::Test {
 protected:
  Db db_{":memory:"};
};

// ---- names ----

TEST_F(SchemaTest, FunctionsAreTheseAndNoOthers) {
  EXPECT_EQ(db_.Lines("select distinct name, narg from pragma_function_list "
                      "where name like '%lockscope%' order by name, narg"),
            (Lines{"lockscope_barrier 0",
                   "lockscope_barrier 1",
                   "lockscope_barrier 2",
                   "lockscope_barrier 3",
                   "lockscope_barrier 4",
                   "lockscope_barrier_check 1",
                   "lockscope_barrier_manifest 1",
                   "lockscope_barrier_release 1",
                   "lockscope_get 1",
                   "lockscope_json 1",
                   "lockscope_json 2",
                   "lockscope_recovery_state 0",
                   "lockscope_recovery_state 1",
                   "lockscope_set 2",
                   "lockscope_version 0",
                   "lockscope_wait_recovery 0",
                   "lockscope_wait_recovery 1",
                   "lockscope_wait_recovery 2",
                   "lockscope_why 0",
                   "lockscope_why 1"}));
}

// A view of a database that came from somebody else must neither change anything nor look.
TEST_F(SchemaTest, WhatChangesStateOrOpensFilesIsDirectOnly) {
  EXPECT_EQ(db_.Lines("select distinct name from pragma_function_list "
                      "where name like 'lockscope%' and flags & 0x80000 order by name"),
            (Lines{"lockscope_barrier", "lockscope_barrier_check", "lockscope_barrier_manifest",
                   "lockscope_barrier_release", "lockscope_json", "lockscope_recovery_state",
                   "lockscope_set", "lockscope_wait_recovery", "lockscope_why"}));
}

TEST_F(SchemaTest, TablesAreTheseAndNoOthers) {
  EXPECT_EQ(
      db_.Lines("select name from pragma_module_list where name like '%lockscope%' order by 1"),
      (Lines{"lockscope_barrier_files", "lockscope_barriers", "lockscope_blockers",
             "lockscope_connections", "lockscope_events", "lockscope_hazards", "lockscope_locks",
             "lockscope_recoveries", "lockscope_snapshots", "lockscope_stats", "lockscope_waits",
             "lockscope_wal"}));
}

TEST_F(SchemaTest, AddingThemAgainIsHarmless) {
  EXPECT_EQ(lockscope_init(db_.handle()), SQLITE_OK);
  EXPECT_EQ(db_.Value("select count(*) from lockscope_locks"), "0");
}

// ---- columns ----

class ColumnsTest : public SchemaTest {
 protected:
  // "name TYPE", the hidden argument in brackets.
  Lines Columns(const std::string& table) {
    return db_.Lines(
        "select iif(hidden, '[', '') || name || ' ' || type || iif(hidden, ']', '') "
        "from pragma_table_xinfo(" +
        Quote("lockscope_" + table) + ") order by cid");
  }
  static Lines WithCommon(const Lines& more) {
    Lines all = {"database TEXT", "pid INTEGER",    "process TEXT", "connection INTEGER",
                 "since TEXT",    "age_ms INTEGER", "sql TEXT",     "source TEXT"};
    all.insert(all.end(), more.begin(), more.end());
    all.emplace_back("[target TEXT]");
    return all;
  }
};

TEST_F(ColumnsTest, Connections) {
  EXPECT_EQ(
      Columns("connections"),
      WithCommon({"opened TEXT", "pid_start TEXT", "thread INTEGER", "application TEXT", "vfs TEXT",
                  "sqlite_version TEXT", "sqlite_source_id TEXT", "state TEXT", "journal_mode TEXT",
                  "autocommit INTEGER", "busy_count INTEGER", "last_busy TEXT", "registry TEXT"}));
}

TEST_F(ColumnsTest, Locks) {
  EXPECT_EQ(Columns("locks"), WithCommon({"file TEXT", "inode INTEGER", "resource TEXT",
                                          "mode TEXT", "first_byte INTEGER", "last_byte INTEGER",
                                          "granted INTEGER", "verified INTEGER"}));
}

TEST_F(ColumnsTest, Snapshots) {
  EXPECT_EQ(Columns("snapshots"),
            WithCommon({"slot INTEGER", "mark INTEGER", "frame INTEGER", "behind_frames INTEGER",
                        "pins TEXT", "pinned_bytes INTEGER", "autocommit INTEGER",
                        "open_statements INTEGER"}));
}

TEST_F(ColumnsTest, Wal) {
  EXPECT_EQ(Columns("wal"),
            (Lines{"database TEXT", "page_size INTEGER", "frames INTEGER", "backfilled INTEGER",
                   "pending_frames INTEGER", "wal_bytes INTEGER", "live_bytes INTEGER",
                   "database_pages INTEGER", "salt1 INTEGER", "salt2 INTEGER",
                   "oldest_snapshot_frame INTEGER", "oldest_snapshot_age_ms INTEGER",
                   "backfill_pinned_by INTEGER", "restart_pinned_by INTEGER", "[target TEXT]"}));
}

TEST_F(ColumnsTest, Barriers) {
  EXPECT_EQ(Columns("barriers"), WithCommon({"token TEXT", "label TEXT", "kind TEXT",
                                             "databases TEXT", "expires TEXT", "state TEXT"}));
  EXPECT_EQ(Columns("barrier_files"),
            (Lines{"database TEXT", "schema TEXT", "path TEXT", "role TEXT", "bytes INTEGER",
                   "frames INTEGER", "device INTEGER", "inode INTEGER", "[token TEXT]"}));
}

TEST_F(ColumnsTest, Blockers) {
  EXPECT_EQ(Columns("blockers"),
            WithCommon({"blocked_pid INTEGER", "blocked_connection INTEGER", "wants TEXT",
                        "blocker_pid INTEGER", "blocker_connection INTEGER", "blocker_process TEXT",
                        "holds TEXT", "held_ms INTEGER", "blocker_sql TEXT", "advice TEXT",
                        "reason TEXT"}));
}

TEST_F(ColumnsTest, Waits) {
  EXPECT_EQ(Columns("waits"),
            WithCommon({"at TEXT", "resource TEXT", "mode TEXT", "reason TEXT", "explanation TEXT",
                        "waited_ms INTEGER", "refusals INTEGER", "blocker_pid INTEGER",
                        "blocker_connection INTEGER", "blocker_sql TEXT", "outcome TEXT"}));
}

TEST_F(ColumnsTest, Recoveries) {
  EXPECT_EQ(Columns("recoveries"),
            WithCommon({"kind TEXT", "state TEXT", "journal TEXT", "journal_bytes INTEGER",
                        "pages_total INTEGER", "pages_done INTEGER", "started TEXT",
                        "duration_ms INTEGER", "refused INTEGER", "super_journal TEXT"}));
}

TEST_F(ColumnsTest, Hazards) {
  EXPECT_EQ(Columns("hazards"),
            WithCommon({"hazard TEXT", "severity TEXT", "explanation TEXT", "advice TEXT"}));
}

TEST_F(ColumnsTest, Events) {
  EXPECT_EQ(Columns("events"),
            (Lines{"database TEXT", "pid INTEGER", "process TEXT", "connection INTEGER",
                   "source TEXT", "seq INTEGER", "at TEXT", "monotonic_ns INTEGER",
                   "operation TEXT", "resource TEXT", "from_mode TEXT", "to_mode TEXT",
                   "result TEXT", "duration_ns INTEGER", "lost INTEGER", "[target TEXT]"}));
}

TEST_F(ColumnsTest, Stats) {
  EXPECT_EQ(Columns("stats"),
            (Lines{"database TEXT", "pid INTEGER", "process TEXT", "source TEXT", "resource TEXT",
                   "mode TEXT", "acquired INTEGER", "released INTEGER", "refused INTEGER",
                   "wait_us_p50 INTEGER", "wait_us_p99 INTEGER", "wait_us_max INTEGER",
                   "hold_us_p50 INTEGER", "hold_us_p99 INTEGER", "hold_us_max INTEGER",
                   "[target TEXT]"}));
}

// ---- use ----

TEST_F(SchemaTest, TheTablesAreNotForCreating) {
  EXPECT_EQ(db_.Try("create virtual table x using lockscope_locks").code, SQLITE_ERROR);
  EXPECT_EQ(db_.Value("select count(*) from sqlite_schema"), "0");
}

TEST_F(SchemaTest, TheTablesAreReadOnly) {
  EXPECT_FALSE(db_.Try("delete from lockscope_locks").ok());
  EXPECT_FALSE(db_.Try("insert into lockscope_locks(pid) values (1)").ok());
}

TEST_F(SchemaTest, AnUnknownFunctionOrTableIsSqlitesOwnError) {
  EXPECT_EQ(db_.Try("select * from lockscope_checkpoints").code, SQLITE_ERROR);
  EXPECT_EQ(db_.Try("select lockscope_why(1, 2)").code, SQLITE_ERROR);
  EXPECT_EQ(db_.Try("select lockscope_json()").code, SQLITE_ERROR);
  EXPECT_EQ(db_.Try("select lockscope_json('a', 'b', 'c')").code, SQLITE_ERROR);
  EXPECT_EQ(db_.Try("select * from lockscope_locks('a', 'b')").code, SQLITE_ERROR);
}

}  // namespace
}  // namespace lockscope::testing
