// Who keeps the WAL from being checkpointed or started over. Groups:
//   StarvedCheckpointTest   a forgetful reader and a busy writer, both plain SQLite
//   PinTest                 the kinds of pins: backfill, restart, slot 0, several readers
//   OwnPinTest              the same readers in this process, through the shim
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "lockscope.h"
#include "looker.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

constexpr std::int64_t kFrameBytes = 24 + 4096;
constexpr int kWalHeaderBytes = 32;

std::string Text(std::int64_t number) { return std::to_string(number); }

class PinTest : public ::testing::Test {
 protected:
  PinTest() {
    CreateDatabase(db_);
    writer_.Open("c", db_);
    writer_.Exec("c", "pragma wal_autocheckpoint = 0");
  }

  // One commit of a few frames that keeps the sum of v at 0.
  void Transfer(int times = 1) {
    for (int i = 0; i < times; ++i) {
      writer_.Exec("c",
                   "begin; update t set v = v + 1, pad = randomblob(300) where id % 40 = 0;"
                   "update t set v = v - 1, pad = randomblob(300) where id % 40 = 1; commit");
    }
  }

  // A process that reads and does not end its transaction.
  std::unique_ptr<Actor> ForgetfulReader() {
    auto reader = std::make_unique<Actor>();
    reader->Open("c", db_);
    reader->Exec("c", "begin; select count(*) from t");
    return reader;
  }

  Actor::CheckpointResult Checkpoint() { return writer_.Checkpoint("c", "passive"); }

  // The snapshot of a process that has one.
  Row Snapshot(const Actor& actor) {
    return looker_.One(
        "select slot, mark, frame, behind_frames, pins, pinned_bytes"
        "  from lockscope_snapshots(?1) where pid = cast(?2 as integer)",
        {db_, Text(actor.pid())});
  }

  Row Wal() {
    return looker_.One(
        "select frames, backfilled, pending_frames, oldest_snapshot_frame, backfill_pinned_by,"
        "       restart_pinned_by from lockscope_wal(?1)",
        {db_});
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
  Actor writer_;
  Looker looker_;
};

// ---- The story ---------------------------------------------------------------------------------

using StarvedCheckpointTest = PinTest;

TEST_F(StarvedCheckpointTest, NamesTheForgetfulReaderAndItsFrame) {
  Transfer();
  const auto reader = ForgetfulReader();
  const std::string reader_pid = Text(reader->pid());
  for (int round = 0; round < 3; ++round) {
    Transfer(20);
    // What the tables say without a checkpoint is what a checkpoint then finds.
    const Row told = Snapshot(*reader);
    const Row wal = Wal();
    const auto checkpoint = Checkpoint();
    ASSERT_GT(checkpoint.checkpointed_frames, 0);
    ASSERT_LT(checkpoint.checkpointed_frames, checkpoint.log_frames);
    const std::string frame = Text(checkpoint.checkpointed_frames);
    const int behind = checkpoint.log_frames - checkpoint.checkpointed_frames;
    EXPECT_EQ(told, (Row{"1", frame, frame, Text(behind), "backfill", Text(behind * kFrameBytes)}));
    EXPECT_EQ(wal,
              (Row{Text(checkpoint.log_frames), round == 0 ? "0" : frame,
                   Text(round == 0 ? checkpoint.log_frames : behind), frame, reader_pid, "NULL"}));
    EXPECT_EQ(Snapshot(*reader), told);
    EXPECT_EQ(Wal(),
              (Row{Text(checkpoint.log_frames), frame, Text(behind), frame, reader_pid, "NULL"}));
  }
  const Row sizes = looker_.One(
      "select page_size, wal_bytes, live_bytes, frames, database_pages from lockscope_wal(?1)",
      {db_});
  EXPECT_EQ(sizes[0], "4096");
  EXPECT_EQ(sizes[1], Text(FileSize(db_ + "-wal")));
  EXPECT_EQ(sizes[2], Text(kWalHeaderBytes + std::stoll(sizes[3]) * kFrameBytes));
  EXPECT_EQ(sizes[2], sizes[1]);  // it was never started over
  EXPECT_EQ(sizes[4], writer_.Exec("c", "pragma page_count")[0]);

  reader->Exec("c", "rollback");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
  EXPECT_FALSE(writer_.Checkpoint("c", "truncate").busy);
  EXPECT_EQ(Wal(), (Row{"0", "0", "0", "NULL", "NULL", "NULL"}));
}

TEST_F(StarvedCheckpointTest, ReaderOfAForgottenStatementIsNamedToo) {
  Transfer();
  Actor reader;
  reader.Open("c", db_);
  reader.Step("c", "select id from t order by id");
  Transfer(5);
  const auto checkpoint = Checkpoint();
  EXPECT_EQ(Snapshot(reader)[2], Text(checkpoint.checkpointed_frames));
  EXPECT_EQ(Wal()[4], Text(reader.pid()));
  reader.Finish("c");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
}

// ---- Kinds of pins -----------------------------------------------------------------------------

TEST_F(PinTest, ReaderAtTheTipKeepsTheWalFromStartingOver) {
  Transfer(3);
  const auto reader = ForgetfulReader();
  for (const bool checkpointed : {false, true}) {
    if (checkpointed) {
      const auto checkpoint = Checkpoint();
      ASSERT_EQ(checkpoint.checkpointed_frames, checkpoint.log_frames);
    }
    const std::string frames = Wal()[0];
    EXPECT_EQ(Snapshot(*reader), (Row{"1", frames, frames, "0", "restart",
                                      Text(kWalHeaderBytes + std::stoll(frames) * kFrameBytes)}));
    EXPECT_EQ(Wal(), (Row{frames, checkpointed ? frames : "0", checkpointed ? "0" : frames, frames,
                          "NULL", Text(reader->pid())}));
  }
  // And so it is: the WAL grows though all of it is in the database file.
  const auto bytes = FileSize(db_ + "-wal");
  EXPECT_TRUE(writer_.Checkpoint("c", "restart").busy);
  Transfer();
  EXPECT_GT(FileSize(db_ + "-wal"), bytes);
  EXPECT_EQ(Snapshot(*reader)[4], "backfill");
}

TEST_F(PinTest, ReaderOnSlotZeroPinsNothingUntilSomebodyCommits) {
  Transfer();
  ASSERT_FALSE(writer_.Checkpoint("c", "truncate").busy);
  const auto reader = ForgetfulReader();
  EXPECT_EQ(Snapshot(*reader), (Row{"0", "NULL", "NULL", "0", "none", "0"}));
  EXPECT_EQ(Wal(), (Row{"0", "0", "0", "NULL", "NULL", "NULL"}));

  Transfer(4);
  const auto checkpoint = Checkpoint();
  EXPECT_EQ(checkpoint.checkpointed_frames, 0);
  const std::string frames = Text(checkpoint.log_frames);
  EXPECT_EQ(Snapshot(*reader), (Row{"0", "NULL", "NULL", frames, "backfill",
                                    Text(checkpoint.log_frames * kFrameBytes)}));
  EXPECT_EQ(Wal(), (Row{frames, "0", frames, "NULL", Text(reader->pid()), "NULL"}));
}

TEST_F(PinTest, ReaderOnSlotZeroOfAWalThatGoesOnPinsFromTheBackfill) {
  Transfer(2);
  const auto at_the_tip = ForgetfulReader();
  const auto before = Checkpoint();
  ASSERT_EQ(before.checkpointed_frames, before.log_frames);
  const auto on_slot_zero = ForgetfulReader();
  Transfer(3);
  const auto after = Checkpoint();
  ASSERT_EQ(after.checkpointed_frames, before.log_frames);
  ASSERT_GT(after.log_frames, before.log_frames);
  const int behind = after.log_frames - before.log_frames;
  const std::string frame = Text(before.log_frames);
  EXPECT_EQ(Snapshot(*on_slot_zero),
            (Row{"0", "NULL", "NULL", Text(behind), "backfill", Text(behind * kFrameBytes)}));
  EXPECT_EQ(Snapshot(*at_the_tip),
            (Row{"1", frame, frame, Text(behind), "backfill", Text(behind * kFrameBytes)}));
  // Slot 0 is the stronger pin: it stops every checkpoint.
  EXPECT_EQ(Wal(), (Row{Text(after.log_frames), frame, Text(behind), frame,
                        Text(on_slot_zero->pid()), "NULL"}));
}

TEST_F(PinTest, OfSeveralReadersTheLowestMarkPins) {
  std::array<std::unique_ptr<Actor>, 3> readers;
  for (auto& reader : readers) {
    Transfer(2);
    reader = ForgetfulReader();
  }
  const auto checkpoint = Checkpoint();
  const Row wal = Wal();
  EXPECT_EQ(wal[3], Text(checkpoint.checkpointed_frames));
  EXPECT_EQ(wal[4], Text(readers[0]->pid()));
  EXPECT_EQ(wal[5], Text(readers[2]->pid()));
  for (std::size_t i = 0; i < readers.size(); ++i) {
    const Row snapshot = Snapshot(*readers.at(i));
    EXPECT_EQ(snapshot[0], Text(static_cast<int>(i) + 1));
    EXPECT_EQ(snapshot[4], i == 2 ? "restart" : "backfill");
    EXPECT_EQ(std::stoi(snapshot[2]) + std::stoi(snapshot[3]), checkpoint.log_frames);
  }
  readers[0]->Exec("c", "rollback");
  EXPECT_EQ(Wal()[4], Text(readers[1]->pid()));
}

TEST_F(PinTest, WriterPinsLikeAnyReader) {
  Transfer();
  writer_.Exec("c", "begin immediate");
  EXPECT_EQ(Snapshot(writer_)[4], "restart");
  EXPECT_EQ(looker_.State(db_, writer_.pid()), "writing");
}

// ---- This process's own ------------------------------------------------------------------------

class OwnPinTest : public PinTest {
 protected:
  OwnPinTest() {
    EXPECT_EQ(lockscope_register(nullptr, nullptr, 0), SQLITE_OK);
    reader_ = std::make_unique<Looker>("file:" + db_ + "?vfs=lockscope");
  }

  Row OwnSnapshot() {
    return looker_.One(
        "select slot, mark, frame, behind_frames, pins, pinned_bytes, autocommit, sql,"
        "       source, age_ms >= 0, since is not null, connection is not null"
        "  from lockscope_snapshots(?1) where pid = ?2 + 0",
        {db_, Text(getpid())});
  }

  std::unique_ptr<Looker> reader_;
};

TEST_F(OwnPinTest, ShowsStatementAndFrameOfAForgottenTransaction) {
  Transfer(2);
  reader_->One("select count(*) from t");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
  reader_->All("begin");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
  reader_->One("select sum(v) from t");
  const int frame = std::stoi(Wal()[0]);
  Transfer(7);
  const auto checkpoint = Checkpoint();
  EXPECT_EQ(checkpoint.checkpointed_frames, frame);
  const int behind = checkpoint.log_frames - frame;
  EXPECT_EQ(OwnSnapshot(),
            (Row{"1", Text(frame), Text(frame), Text(behind), "backfill",
                 Text(behind * kFrameBytes), "0", "select sum(v) from t", "shim", "1", "1", "1"}));
  EXPECT_EQ(Wal()[4], Text(getpid()));
  EXPECT_NE(looker_.One("select oldest_snapshot_age_ms from lockscope_wal(?1)", {db_})[0], "NULL");
  reader_->All("commit");
  EXPECT_EQ(looker_.All("select * from lockscope_snapshots(?1)", {db_}).size(), 0U);
}

// All five marks are taken: later readers share the highest that is not beyond what they see.
TEST_F(OwnPinTest, SharedSlotsMarkMayBeLowerThanTheFrameSeen) {
  std::array<std::unique_ptr<Actor>, 5> readers;
  for (auto& reader : readers) {
    reader = ForgetfulReader();
    Transfer();
  }
  const int mark = std::stoi(Snapshot(*readers[4])[2]);
  reader_->All("begin");
  reader_->One("select sum(v) from t");
  const int frame = std::stoi(Wal()[0]);
  ASSERT_GT(frame, mark);
  Transfer();
  const int frames = std::stoi(Wal()[0]);
  const Row own = OwnSnapshot();
  EXPECT_EQ(own[0], "4");
  EXPECT_EQ(own[1], Text(mark));
  EXPECT_EQ(own[2], Text(frame));
  EXPECT_EQ(own[3], Text(frames - frame));
  EXPECT_EQ(own[4], "backfill");
  EXPECT_EQ(own[5], Text((frames - mark) * kFrameBytes));
}

TEST_F(OwnPinTest, SlotZeroCountsFromTheStartOfTheNewWal) {
  Transfer(3);
  ASSERT_EQ(Checkpoint().checkpointed_frames, std::stoi(Wal()[0]));
  const std::string frame = Wal()[0];
  reader_->All("begin");
  reader_->One("select sum(v) from t");
  EXPECT_EQ(OwnSnapshot()[0], "0");
  EXPECT_EQ(OwnSnapshot()[3], "0");
  EXPECT_EQ(OwnSnapshot()[4], "none");
  Transfer();  // starts the WAL over
  const Row wal = Wal();
  EXPECT_EQ(wal[1], "0");
  const Row own = OwnSnapshot();
  EXPECT_EQ(own[1], "NULL");
  EXPECT_EQ(own[3], wal[0]);
  EXPECT_EQ(own[4], "backfill");
  EXPECT_EQ(own[5], Text(std::stoi(wal[0]) * kFrameBytes));
}

TEST_F(OwnPinTest, OnlyTheConnectionThatAsksKnowsItsOpenStatements) {
  Transfer();
  const auto other = std::make_unique<Looker>("file:" + db_ + "?vfs=lockscope");
  other->All("begin");
  other->One("select count(*) from t");
  reader_->All("begin");
  sqlite3_stmt* open = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(reader_->db(), "select id from t", -1, &open, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_step(open), SQLITE_ROW);
  EXPECT_EQ(reader_->All("select open_statements from lockscope_snapshots('main') order by "
                         "open_statements is null"),
            (std::vector<Row>{{"1"}, {"NULL"}}));
  sqlite3_finalize(open);
  EXPECT_EQ(reader_->All("select open_statements from lockscope_snapshots('main') order by "
                         "open_statements is null"),
            (std::vector<Row>{{"0"}, {"NULL"}}));
}

}  // namespace
}  // namespace lockscope::testing
