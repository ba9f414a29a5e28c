// Who reads which state, and what that keeps from happening; every number against SQLite's own:
//   tip        a reader of the newest commit: nothing is kept from being checkpointed, but the WAL
//              cannot start over
//   backfill   a reader of an older one: checkpoints stop at its mark
//   slot 0     a reader of the database file alone
//   shared     a slot whose mark is lower than what its reader sees
//   wal        the state of the WAL
//   rollback   readers have no slot; open_statements

#include <gtest/gtest.h>
#include <unistd.h>

#include "core/session.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

constexpr long kFrameBytes = 24 + 4096;

class SnapshotsTest : public ::testing::Test {
 protected:
  SnapshotsTest() {
    CreateDatabase(path_);
    writer_.Open("c", path_);
    writer_.Exec("c", "pragma wal_autocheckpoint=0");
  }

  // A commit of some frames. Returns the last frame of the WAL.
  long Commit() {
    writer_.Exec("c",
                 "begin; update t set v = v + 1 where id < 50; update t set v = v - 1 where id < "
                 "50; commit");
    return Frames();
  }
  long Frames() {
    return std::stol(look_.Value("select frames from lockscope_wal(" + Quote(path_) + ")"));
  }
  // "busy frames checkpointed" by SQLite.
  std::string Checkpoint() {
    const auto result = writer_.Checkpoint("c", "passive");
    return std::to_string(result.busy) + " " + std::to_string(result.log_frames) + " " +
           std::to_string(result.checkpointed_frames);
  }
  Lines Snapshots(const std::string& columns =
                      "source, slot, mark, frame, behind_frames, pins, "
                      "pinned_bytes") {
    return look_.Lines("select " + columns + " from lockscope_snapshots(" + Quote(path_) +
                       ") order by slot, source");
  }
  std::string Wal(const std::string& columns) {
    return look_.Value("select " + columns + " from lockscope_wal(" + Quote(path_) + ")");
  }
  static std::string Text(long number) { return std::to_string(number); }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Actor writer_;
  Db look_{":memory:"};
};

// ---- tip ----

TEST_F(SnapshotsTest, AReaderOfTheNewestCommitIsARestartPin) {
  const long frames = Commit();
  Db reader(path_);
  reader.Exec("begin; select * from t limit 1");
  const std::string row = "shim 1 " + Text(frames) + " " + Text(frames) + " 0 restart " +
                          Text(32 + frames * kFrameBytes);
  EXPECT_EQ(Snapshots(), Lines{row});
  EXPECT_EQ(Checkpoint(), "0 " + Text(frames) + " " + Text(frames));  // all of it…
  EXPECT_EQ(Snapshots(), Lines{row});
  EXPECT_EQ(Wal("restart_pinned_by, backfill_pinned_by"), Text(getpid()) + " NULL");
  EXPECT_GT(Commit(), frames);  // …and yet the WAL grows
}

TEST_F(SnapshotsTest, SoIsOneThatOnlyTheKernelKnows) {
  const long frames = Commit();
  Actor reader;
  reader.Open("c", path_);
  reader.Exec("c", "begin; select * from t limit 1");
  EXPECT_EQ(Snapshots("pid, connection, since, age_ms, sql, "
                      "source, slot, mark, frame, behind_frames, pins, pinned_bytes, autocommit, "
                      "open_statements"),
            Lines{Text(reader.pid()) + " NULL NULL NULL NULL kernel 1 " + Text(frames) + " " +
                  Text(frames) + " 0 restart " + Text(32 + frames * kFrameBytes) + " NULL NULL"});
  EXPECT_EQ(Wal("restart_pinned_by"), Text(reader.pid()));
}

// ---- backfill ----

TEST_F(SnapshotsTest, AReaderOfAnOlderCommitStopsCheckpointsAtItsMark) {
  const long mark = Commit();
  Db reader(path_);
  Actor other;
  reader.Exec("begin; select * from t limit 1");
  other.Open("c", path_);
  other.Step("c", "select * from t");
  const long frames = Commit();
  const std::string numbers = Text(mark) + " " + Text(mark) + " " + Text(frames - mark) +
                              " backfill " + Text((frames - mark) * kFrameBytes);
  EXPECT_EQ(Snapshots(), (Lines{"kernel 1 " + numbers, "shim 1 " + numbers}));
  EXPECT_EQ(Checkpoint(), "0 " + Text(frames) + " " + Text(mark));
  EXPECT_EQ(Wal("frames, backfilled, pending_frames, oldest_snapshot_frame"),
            Text(frames) + " " + Text(mark) + " " + Text(frames - mark) + " " + Text(mark));
  other.Finish("c");
  reader.Exec("commit");
  EXPECT_EQ(Snapshots(), Lines{});
  EXPECT_EQ(Checkpoint(), "0 " + Text(frames) + " " + Text(frames));
}

TEST_F(SnapshotsTest, OfSeveralTheOldestIsNamed) {
  const long first = Commit();
  Db oldest(path_);
  oldest.Exec("begin; select * from t limit 1");
  Commit();
  Actor younger;
  younger.Open("c", path_);
  younger.Exec("c", "begin; select * from t limit 1");
  Commit();
  EXPECT_EQ(Wal("oldest_snapshot_frame, oldest_snapshot_age_ms is not null, backfill_pinned_by, "
                "restart_pinned_by"),
            Text(first) + " 1 " + Text(getpid()) + " NULL");
  oldest.Exec("commit");
  EXPECT_EQ(Wal("oldest_snapshot_frame > " + Text(first) +
                ", oldest_snapshot_age_ms, backfill_pinned_by"),
            "1 NULL " + Text(younger.pid()));
}

// ---- slot 0 ----

TEST_F(SnapshotsTest, AReaderOfACheckpointedDatabaseHasNoMark) {
  const long frames = Commit();
  Checkpoint();
  Db reader(path_);
  reader.Exec("begin; select * from t limit 1");
  EXPECT_EQ(Snapshots(), Lines{"shim 0 NULL " + Text(frames) + " 0 none 0"});
  Actor other;
  other.Open("c", path_);
  other.Exec("c", "begin; select * from t limit 1");
  EXPECT_EQ(Snapshots(),
            (Lines{"kernel 0 NULL NULL 0 none 0", "shim 0 NULL " + Text(frames) + " 0 none 0"}));
  EXPECT_EQ(Wal("oldest_snapshot_frame, backfill_pinned_by, restart_pinned_by"), "NULL NULL NULL");
}

TEST_F(SnapshotsTest, WithFramesPendingItStopsAllBackfill) {
  const long before = Commit();
  Checkpoint();
  Db reader(path_);
  reader.Exec("begin; select * from t limit 1");
  Actor other;
  other.Open("c", path_);
  other.Exec("c", "begin; select * from t limit 1");
  const std::string salts = Wal("salt1, salt2");
  const long frames = Commit();  // which starts the WAL over
  EXPECT_NE(Wal("salt1, salt2"), salts);
  const std::string numbers = Text(frames) + " backfill " + Text(frames * kFrameBytes);
  EXPECT_EQ(Snapshots(), (Lines{"kernel 0 NULL NULL " + numbers,
                                "shim 0 NULL " + Text(before) + " " + numbers}));
  EXPECT_EQ(Checkpoint(), "0 " + Text(frames) + " 0");
  EXPECT_EQ(Wal("backfilled, backfill_pinned_by"), "0 " + Text(getpid()));
}

// ---- shared ----

TEST_F(SnapshotsTest, AReaderWithoutASlotOfItsOwnSharesOneAndHoldsItsMark) {
  writer_.Quit();
  const auto readers = HoldReadSlots(path_);
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "update t set v = v + 0 where id = 1");
  Db reader(path_);
  reader.Exec("begin; select * from t limit 1");
  const long frames = Frames();
  const long mark = std::stol(look_.Value("select mark from lockscope_snapshots(" + Quote(path_) +
                                          ") where source = 'shim'"));
  EXPECT_LT(mark, frames);
  EXPECT_EQ(look_.Value("select slot, frame, behind_frames, pins, pinned_bytes from "
                        "lockscope_snapshots(" +
                        Quote(path_) + ") where source = 'shim'"),
            "4 " + Text(frames) + " 0 backfill " + Text((frames - mark) * kFrameBytes));
  EXPECT_EQ(look_.Lines("select slot from lockscope_snapshots(" + Quote(path_) +
                        ") where source = 'kernel' order by 1"),
            (Lines{"0", "1", "2", "3", "4"}));
  EXPECT_EQ(look_.Value("select backfill_pinned_by from lockscope_wal(" + Quote(path_) + ")"),
            Text(readers[0]->pid()));
}

// ---- wal ----

TEST_F(SnapshotsTest, TheWalsNumbersAreSqlitesOwn) {
  const long frames = Commit();
  EXPECT_EQ(Wal("page_size, frames, backfilled, pending_frames, wal_bytes, live_bytes, "
                "database_pages"),
            "4096 " + Text(frames) + " 0 " + Text(frames) + " " +
                Text(static_cast<long>(FileSize(path_ + "-wal"))) + " " +
                Text(32 + frames * kFrameBytes) + " " + writer_.Exec("c", "pragma page_count")[0]);
  // The WAL's own header has the salts at 16, most significant byte first.
  const std::string header = ReadBytes(path_ + "-wal", 16, 8);
  const auto salt = [&header](std::size_t at) {
    unsigned long value = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      value = value << 8U | static_cast<unsigned char>(header.at(at + i));
    }
    return std::to_string(value);
  };
  EXPECT_EQ(Wal("salt1, salt2"), salt(0) + " " + salt(4));
}

TEST_F(SnapshotsTest, AnEmptyWalHasNothingLive) {
  writer_.Exec("c", "select * from t");
  EXPECT_EQ(Wal("frames, backfilled, pending_frames, wal_bytes, live_bytes"), "0 0 0 0 0");
}

TEST_F(SnapshotsTest, AWalThatNobodyUsesIsKnownByItsHeaderAlone) {
  Commit();
  writer_.Quit();
  EXPECT_EQ(Wal("page_size, frames, backfilled, pending_frames, wal_bytes, live_bytes, "
                "database_pages, salt1, salt2, oldest_snapshot_frame"),
            "4096 NULL NULL NULL 0 NULL NULL NULL NULL NULL");
}

TEST_F(SnapshotsTest, OtherPageSizes) {
  for (const int page_size : {512, 65536}) {
    SCOPED_TRACE(page_size);
    const std::string path = dir_ / (std::to_string(page_size) + ".db");
    CreateDatabase(path, {.page_size = page_size});
    Db db(path);
    db.Exec("begin; update t set v = v + 1; commit; begin; select * from t limit 1");
    const long frames = std::stol(db.Value("select frames from lockscope_wal"));
    EXPECT_EQ(db.Value("select page_size, live_bytes from lockscope_wal"),
              Text(page_size) + " " + Text(32 + frames * (24 + page_size)));
    EXPECT_EQ(db.Value("select frame, pins, pinned_bytes from lockscope_snapshots"),
              Text(frames) + " restart " + Text(32 + frames * (24 + page_size)));
    EXPECT_EQ(FileSize(path + "-wal"), 32 + frames * (24 + page_size));
  }
}

// ---- rollback ----

TEST_F(SnapshotsTest, InRollbackModeReadersHaveNoSlot) {
  const std::string path = dir_ / "r.db";
  CreateDatabase(path, {.journal_mode = "delete"});
  Db reader(path);
  reader.Exec("begin; select * from t limit 1");
  Actor other;
  other.Open("c", path);
  other.Step("c", "select * from t");
  EXPECT_EQ(look_.Lines("select source, slot, mark, frame, behind_frames, pins, pinned_bytes from "
                        "lockscope_snapshots(" +
                        Quote(path) + ") order by 1"),
            (Lines{"kernel NULL NULL NULL NULL none 0", "shim NULL NULL NULL NULL none 0"}));
  EXPECT_EQ(look_.Lines("select * from lockscope_wal(" + Quote(path) + ")"), Lines{});
}

TEST_F(SnapshotsTest, OpenStatementsAreToldToTheirOwnConnectionOnly) {
  Commit();
  Db reader(path_);
  Statement one(reader, "select * from t");
  Statement two(reader, "select * from t");
  Statement unused(reader, "select * from t");
  ASSERT_EQ(one.Step(), SQLITE_ROW);
  EXPECT_EQ(reader.Value("select open_statements from lockscope_snapshots"), "1");
  ASSERT_EQ(two.Step(), SQLITE_ROW);
  EXPECT_EQ(reader.Value("select open_statements from lockscope_snapshots"), "2");
  EXPECT_EQ(Snapshots("open_statements"), Lines{"NULL"});
  one.Reset();
  EXPECT_EQ(reader.Value("select open_statements from lockscope_snapshots"), "1");
}

}  // namespace
}  // namespace lockscope::testing
