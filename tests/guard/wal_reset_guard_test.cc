// The WAL-reset race, and the guard that closes it.
//
// The race: a checkpointer has read the wal-index header of a WAL that is wholly checkpointed;
// before it looks at nBackfill, a writer restarts the WAL and commits. The checkpointer then marks
// as many frames as the old WAL had. What is committed into those frames afterwards is never
// checkpointed, and goes with the WAL. Here the writer is another process, which runs from inside
// the checkpointer's VFS calls: every run has the same interleaving.
//
//   1. Race         stock SQLite loses rows (where it has the bug); guarded, nothing is lost
//   2. Settings     who decides whether the guard is on
//   3. OtherModes   FULL, RESTART, TRUNCATE and automatic checkpoints
//   4. Waiting      checkpoints that wait for a writer get their turn, and are not refused
//   afterwards
//   5. Harmless     recovery, a header caught half written, a read-only wal-index, exclusive mode
//   6. Loaded       the same through lockscope.so, in a process of its own
#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "guard/interposing_vfs.h"
#include "lockscope.h"
#include "shim/sqlite_api.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

constexpr char kGuardedVfs[] = "guarded";  // the shim on top of kInterposingVfs
constexpr int kRows = 2000;                // their update fills more frames than all that follows
constexpr int kLaterRows = 5;
constexpr char kInsert[] = "insert into t(v, pad) values(0, zeroblob(300))";

constexpr int kWriteSlot = 0;
constexpr int kCkptSlot = 1;
// In the second copy of the wal-index header: its first salt.
constexpr int kSecondSalt = 48 + 32;

bool HasBug() { return HasWalResetBug(sqlite3_libversion_number()); }

struct Closer {
  void operator()(sqlite3* db) const { EXPECT_EQ(sqlite3_close(db), SQLITE_OK); }
};
using Database = std::unique_ptr<sqlite3, Closer>;

Database OpenUri(const std::string& uri) {
  sqlite3* db = nullptr;
  const int code = sqlite3_open_v2(
      uri.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, nullptr);
  EXPECT_EQ(code, SQLITE_OK) << uri << ": " << sqlite3_errmsg(db);
  return Database(db);
}

// The first column of the last row, or SQLite's error.
std::string Ask(const Database& db, const std::string& sql) {
  std::string answer;
  char* error = nullptr;
  const auto take = [](void* text, int, char** values, char**) {
    *static_cast<std::string*>(text) = values[0] != nullptr ? values[0] : "NULL";
    return 0;
  };
  if (sqlite3_exec(db.get(), sql.c_str(), take, &answer, &error) != SQLITE_OK) answer = error;
  sqlite3_free(error);
  return answer;
}

struct Checkpointed {
  int code = SQLITE_OK;
  int frames = -1;
  int backfilled = -1;
};
Checkpointed Checkpoint(const Database& db, int mode) {
  Checkpointed result;
  result.code =
      sqlite3_wal_checkpoint_v2(db.get(), nullptr, mode, &result.frames, &result.backfilled);
  return result;
}

// How a connection gets to a VFS call between its reading of the header and its look at nBackfill.
enum class Route {
  kChangedHeader,  // somebody has committed since it last read: SQLite calls xUnfetch
  kSecondReading,  // the header was half written: SQLite reads it under the write lock, and unlocks
};

void PrintTo(Route route, std::ostream* stream) {
  *stream << (route == Route::kChangedHeader ? "after unfetch" : "after second reading");
}

// What another process does in the middle of a checkpoint of this one.
class DuringCheckpoint {
 public:
  struct Steps {
    std::function<void()> before_lock = {};  // the checkpoint lock is about to be asked for
    std::function<void()> after_header;      // the header was read
  };
  DuringCheckpoint(Route route, Steps steps) : route_(route), steps_(std::move(steps)) {
    Interpose([this](const Moment& moment) { On(moment); });
  }
  ~DuringCheckpoint() {
    Interpose(nullptr);
    EXPECT_EQ(state_, State::kDone) << "the checkpoint never came to the point";
  }
  DuringCheckpoint(const DuringCheckpoint&) = delete;
  DuringCheckpoint& operator=(const DuringCheckpoint&) = delete;

 private:
  enum class State { kBefore, kLocking, kTorn, kMended, kDone };
  using Kind = Moment::Kind;

  void On(const Moment& moment) {
    switch (state_) {
      case State::kBefore:
        if (!moment.Is(Kind::kShmLock, kCkptSlot)) return;
        state_ = State::kLocking;
        if (steps_.before_lock) steps_.before_lock();
        return;
      case State::kLocking:
        if (route_ == Route::kChangedHeader) {
          if (moment.kind == Kind::kUnfetch) Act();
        } else if (moment.kind == Kind::kShmBarrier) {
          Flip(moment, State::kTorn);
        }
        return;
      case State::kTorn:
        if (moment.Is(Kind::kShmLock, kWriteSlot)) Flip(moment, State::kMended);
        return;
      case State::kMended:
        if (moment.Is(Kind::kShmUnlocked, kWriteSlot)) Act();
        return;
      case State::kDone:
        return;
    }
  }
  void Flip(const Moment& moment, State next) {
    moment.wal_index[kSecondSalt] = static_cast<std::uint8_t>(~moment.wal_index[kSecondSalt]);
    state_ = next;
  }
  void Act() {
    state_ = State::kDone;
    steps_.after_header();
  }

  Route route_;
  Steps steps_;
  State state_ = State::kBefore;
};

class GuardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(RegisterInterposingVfs(), SQLITE_OK);
    ASSERT_EQ(lockscope_register(kInterposingVfs, kGuardedVfs, 0), SQLITE_OK);
    look_ = OpenUri(":memory:");
    ASSERT_EQ(lockscope_init(look_.get()), SQLITE_OK);
    SetGuard("default");
    CreateDatabase(path_, {.rows = kRows});
    refusals_before_ = AllRefusals();
    writer_.Open("w", path_);
    writer_.Exec("w", "pragma wal_autocheckpoint = 0");
    writer_.Exec("w", "pragma synchronous = off");
  }
  void TearDown() override {
    Interpose(nullptr);
    SetGuard("default");
  }

  void SetGuard(const std::string& value) {
    const std::string now = Ask(look_, "select lockscope_set('wal_reset_guard', '" + value + "')");
    ASSERT_TRUE(now == "on" || now == "off") << now;
  }

  // A connection that has the WAL open and knows an old header.
  Database OpenCheckpointer(const std::string& vfs, const std::string& parameters = "") {
    Database db = OpenUri("file:" + path_ + "?vfs=" + vfs + parameters);
    EXPECT_EQ(Ask(db, "pragma wal_autocheckpoint = 0"), "0");
    EXPECT_EQ(Ask(db, "select count(*) from t"), std::to_string(expected_));
    return db;
  }

  void Insert() {
    writer_.Exec("w", kInsert);
    ++expected_;
  }

  // All of it checkpointed: the next writer restarts it.
  void FillWal() {
    writer_.Exec("w", "update t set v = v + 1");
    const auto result = writer_.Checkpoint("w", "passive");
    ASSERT_GT(result.log_frames, 100);
    ASSERT_EQ(result.checkpointed_frames, result.log_frames);
  }

  // The story of the bug, up to the commits that it would lose.
  Checkpointed RaceWith(const Database& checkpointer, Route route = Route::kChangedHeader,
                        int mode = SQLITE_CHECKPOINT_PASSIVE) {
    FillWal();
    Checkpointed result;
    {
      const DuringCheckpoint step(route, {.after_header = [this] { Insert(); }});
      result = Checkpoint(checkpointer, mode);
    }
    for (int i = 0; i < kLaterRows; ++i) Insert();
    return result;
  }

  // Everybody has closed in an orderly way.
  int RowsLost(Database checkpointer) {
    checkpointer.reset();
    EXPECT_EQ(writer_.Quit(), 0);
    Actor reader;
    reader.Open("r", path_);
    return expected_ - std::stoi(reader.Exec("r", "select count(*) from t").at(0));
  }

  // How often a checkpoint was told that read slot 0 is busy; nobody here but the guard says so.
  int Refusals() { return AllRefusals() - refusals_before_; }

  // With those of earlier tests, where the file system has given their inode to this database.
  int AllRefusals() {
    return std::stoi(Ask(look_, "select count(*) from lockscope_events('" + path_ +
                                    "') where resource = 'wal-read-0' and operation = 'shm-lock'"
                                    " and to_mode = 'EXCLUSIVE' and result = 'SQLITE_BUSY'"));
  }

  TempDir dir_;
  std::string path_ = dir_ / "guard.db";
  int expected_ = kRows;
  int refusals_before_ = 0;
  Database look_;
  Actor writer_;
};

// ---- 1. Race ----

class Race : public GuardTest, public ::testing::WithParamInterface<Route> {};

TEST_P(Race, StockSqliteLosesCommittedRows) {
  if (!HasBug()) GTEST_SKIP() << "SQLite " SQLITE_VERSION " has no WAL-reset bug";
  Database checkpointer = OpenCheckpointer(kInterposingVfs);
  EXPECT_EQ(RaceWith(checkpointer, GetParam()).code, SQLITE_OK) << "and SQLite says nothing";
  EXPECT_EQ(RowsLost(std::move(checkpointer)), kLaterRows);
}

TEST_P(Race, TheShimWithoutItsGuardChangesNothing) {
  if (!HasBug()) GTEST_SKIP() << "SQLite " SQLITE_VERSION " has no WAL-reset bug";
  SetGuard("off");
  Database checkpointer = OpenCheckpointer(kGuardedVfs);
  EXPECT_EQ(RaceWith(checkpointer, GetParam()).code, SQLITE_OK);
  EXPECT_EQ(Refusals(), 0);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), kLaterRows);
}

TEST_P(Race, GuardedNothingIsLost) {
  SetGuard("on");
  Database checkpointer = OpenCheckpointer(kGuardedVfs);
  const Checkpointed result = RaceWith(checkpointer, GetParam());
  EXPECT_EQ(result.code, SQLITE_OK) << "a checkpoint with nothing to do";
  EXPECT_EQ(result.backfilled, 0);
  EXPECT_EQ(Refusals(), 1);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), 0);
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

TEST_P(Race, BySettingsDefaultNothingIsLost) {
  Database checkpointer = OpenCheckpointer(kGuardedVfs);
  EXPECT_EQ(RaceWith(checkpointer, GetParam()).code, SQLITE_OK);
  EXPECT_EQ(Refusals(), HasBug() ? 1 : 0);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), 0);
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

TEST_P(Race, TheNextCheckpointIsNotAffected) {
  SetGuard("on");
  const Database checkpointer = OpenCheckpointer(kGuardedVfs);
  RaceWith(checkpointer, GetParam());
  const Checkpointed next = Checkpoint(checkpointer, SQLITE_CHECKPOINT_PASSIVE);
  EXPECT_EQ(next.code, SQLITE_OK);
  EXPECT_GT(next.frames, 0);
  EXPECT_EQ(next.backfilled, next.frames);
  EXPECT_EQ(Refusals(), 1);
}

TEST_P(Race, ARefusedCheckpointLeavesNoLockBehind) {
  SetGuard("on");
  const Database checkpointer = OpenCheckpointer(kGuardedVfs);
  const auto before = LocksOf(path_ + "-shm", getpid());
  RaceWith(checkpointer, GetParam());
  ASSERT_EQ(Refusals(), 1);
  EXPECT_EQ(LocksOf(path_ + "-shm", getpid()), before);
  // Without a busy timeout: whatever had stayed behind would be in the way.
  const auto truncate = writer_.Checkpoint("w", "truncate");
  EXPECT_FALSE(truncate.busy);
  EXPECT_EQ(FileSize(path_ + "-wal"), 0);
}

INSTANTIATE_TEST_SUITE_P(Guard, Race,
                         ::testing::Values(Route::kChangedHeader, Route::kSecondReading),
                         [](const auto& route) -> std::string {
                           return route.param == Route::kChangedHeader ? "AfterUnfetch"
                                                                       : "AfterSecondReading";
                         });

// ---- 2. Settings ----

using Settings = GuardTest;

TEST_F(Settings, TheGuardIsOnWhereSqliteHasTheBug) {
  EXPECT_EQ(Ask(look_, "select lockscope_get('wal_reset_guard')"), HasBug() ? "on" : "off");
}

TEST_F(Settings, UriParameterTurnsItOffForOneDatabase) {
  Database checkpointer = OpenCheckpointer(kGuardedVfs, "&lockscope_wal_reset_guard=off");
  RaceWith(checkpointer);
  EXPECT_EQ(Refusals(), 0);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), HasBug() ? kLaterRows : 0);
}

TEST_F(Settings, UriParameterTurnsItOnForOneDatabase) {
  Database checkpointer = OpenCheckpointer(kGuardedVfs, "&lockscope_wal_reset_guard=on");
  RaceWith(checkpointer);
  EXPECT_EQ(Refusals(), 1);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), 0);
}

TEST_F(Settings, TheProcessOverridesTheUri) {
  SetGuard("on");
  Database checkpointer = OpenCheckpointer(kGuardedVfs, "&lockscope_wal_reset_guard=off");
  RaceWith(checkpointer);
  EXPECT_EQ(Refusals(), 1);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), 0);
}

TEST_F(Settings, TurnedOnInTheMiddleItGuardsFromTheNextCheckpointOn) {
  SetGuard("off");
  const Database checkpointer = OpenCheckpointer(kGuardedVfs);
  EXPECT_EQ(Checkpoint(checkpointer, SQLITE_CHECKPOINT_PASSIVE).code, SQLITE_OK);
  SetGuard("on");
  RaceWith(checkpointer);
  EXPECT_EQ(Refusals(), 1);
}

TEST_F(Settings, ABadUriParameterRefusesTheOpen) {
  sqlite3* db = nullptr;
  const std::string uri =
      "file:" + path_ + "?vfs=" + kGuardedVfs + "&lockscope_wal_reset_guard=perhaps";
  EXPECT_EQ(sqlite3_open_v2(uri.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, nullptr),
            SQLITE_CANTOPEN);
  sqlite3_close(db);
}

// ---- 3. Other modes ----

class OtherModes : public GuardTest, public ::testing::WithParamInterface<int> {
 protected:
  void SetUp() override {
    GuardTest::SetUp();
    SetGuard("on");
  }
};

TEST_P(OtherModes, HoldingTheWriteLockLeavesNoRoomForTheRace) {
  const Database checkpointer = OpenCheckpointer(kGuardedVfs);
  FillWal();
  Checkpointed result;
  {
    const DuringCheckpoint step(Route::kChangedHeader, {.after_header = [this] {
                                  EXPECT_EQ(writer_.Try("w", kInsert).code, SQLITE_BUSY);
                                }});
    result = Checkpoint(checkpointer, GetParam());
  }
  EXPECT_EQ(result.code, SQLITE_OK);
  EXPECT_EQ(result.backfilled, result.frames);
  EXPECT_EQ(Refusals(), 0);
}

// The write lock is taken and there is no busy timeout: SQLite goes on as PASSIVE.
TEST_P(OtherModes, GoneBackToPassiveItIsGuarded) {
  Database checkpointer = OpenCheckpointer(kGuardedVfs);
  FillWal();
  writer_.Exec("w", "begin immediate");
  {
    const DuringCheckpoint step(Route::kChangedHeader, {.after_header = [this] {
                                  Insert();
                                  writer_.Exec("w", "commit");
                                }});
    EXPECT_EQ(Checkpoint(checkpointer, GetParam()).code, SQLITE_BUSY);
  }
  EXPECT_EQ(Refusals(), 1);
  for (int i = 0; i < kLaterRows; ++i) Insert();
  EXPECT_EQ(RowsLost(std::move(checkpointer)), 0);
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

std::string ModeName(const ::testing::TestParamInfo<int>& mode) {
  switch (mode.param) {
    case SQLITE_CHECKPOINT_FULL:
      return "Full";
    case SQLITE_CHECKPOINT_RESTART:
      return "Restart";
    default:
      return "Truncate";
  }
}

INSTANTIATE_TEST_SUITE_P(Guard, OtherModes,
                         ::testing::Values(SQLITE_CHECKPOINT_FULL, SQLITE_CHECKPOINT_RESTART,
                                           SQLITE_CHECKPOINT_TRUNCATE),
                         ModeName);

// A connection's own commit begins a checkpoint. Another process is quicker with one of its own, so
// that the WAL is wholly checkpointed when the header is read.
class Automatic : public GuardTest {
 protected:
  void CommitOn(const Database& committer) {
    FillWal();
    EXPECT_EQ(Ask(committer, "pragma wal_autocheckpoint = 1"), "1");
    {
      // The connection wrote the header that it reads, so it calls no xUnfetch.
      const DuringCheckpoint step(
          Route::kSecondReading,
          {.before_lock = [this] { EXPECT_FALSE(writer_.Checkpoint("w", "passive").busy); },
           .after_header = [this] { Insert(); }});
      EXPECT_EQ(Ask(committer, "update t set v = v - 1"), "") << "the commit itself is well";
    }
    EXPECT_EQ(Ask(committer, "pragma wal_autocheckpoint = 0"), "0");
    for (int i = 0; i < kLaterRows; ++i) Insert();
  }
};

TEST_F(Automatic, StockSqliteLosesRowsAfterACommit) {
  if (!HasBug()) GTEST_SKIP() << "SQLite " SQLITE_VERSION " has no WAL-reset bug";
  Database committer = OpenCheckpointer(kInterposingVfs);
  CommitOn(committer);
  EXPECT_EQ(RowsLost(std::move(committer)), kLaterRows);
}

TEST_F(Automatic, GuardedNothingIsLost) {
  SetGuard("on");
  Database committer = OpenCheckpointer(kGuardedVfs);
  CommitOn(committer);
  EXPECT_EQ(Refusals(), 1);
  EXPECT_EQ(RowsLost(std::move(committer)), 0);
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

// ---- 4. Waiting ----

// What the WAL is like when the writer is about to write into it.
enum class Wal { kFresh, kTruncated, kCheckpointed };

struct Wait {
  const char* mode;
  Wal wal;
};

std::string NameOf(const Wait& wait) {
  const char* state = wait.wal == Wal::kFresh       ? "FreshWal"
                      : wait.wal == Wal::kTruncated ? "TruncatedWal"
                                                    : "CheckpointedWal";
  return std::string(wait.mode) + "On" + state;
}
void PrintTo(const Wait& wait, std::ostream* stream) { *stream << NameOf(wait); }

// A checkpoint with a busy timeout of 3 s begins while another process holds the write lock and is
// about to write into an empty or wholly checkpointed WAL, which gives the WAL new salts. The salts
// that count are those after the waiting.
class Waiting : public ::testing::TestWithParam<Wait> {
 protected:
  void SetUp() override {
    CreateDatabase(path_, {.rows = kRows});
    checkpointer_.Load("look", LOCKSCOPE_LOADABLE_FILE);
    checkpointer_.Open("c", path_);
    checkpointer_.BusyTimeout("c", 3000);
    writer_.Open("w", path_);
    writer_.Exec("w", "pragma wal_autocheckpoint = 0");
    if (GetParam().wal != Wal::kFresh) {
      writer_.Exec("w", "update t set v = v + 1");
      const bool truncate = GetParam().wal == Wal::kTruncated;
      ASSERT_FALSE(writer_.Checkpoint("w", truncate ? "truncate" : "passive").busy);
    }
    checkpointer_.Exec("c", "select count(*) from t");
  }

  Row Refusals() {
    return checkpointer_.Exec(
        "look", "select count(*) from lockscope_events('" + path_ +
                    "') where resource like 'wal-read%' and operation = 'shm-lock' and"
                    " to_mode = 'EXCLUSIVE' and result = 'SQLITE_BUSY'");
  }

  TempDir dir_;
  std::string path_ = dir_ / "waiting.db";
  Actor checkpointer_{{.env = {{"LOCKSCOPE_WAL_RESET_GUARD", "on"}}}};
  Actor writer_;
};

TEST_P(Waiting, TheCheckpointSucceedsAndTheWriterCommittedBefore) {
  writer_.PauseAt("after shm-lock write exclusive by=w");
  Answer insert = writer_.Start("w", kInsert);
  writer_.AwaitPoint();
  checkpointer_.TellAt("before sleep nth=3 by=c");
  Answer checkpoint =
      checkpointer_.Start("c", std::string("pragma wal_checkpoint(") + GetParam().mode + ")");
  checkpointer_.AwaitPoint();  // it has tried three times
  writer_.Continue();

  const Reply result = checkpoint.Wait();
  // What the checkpoint left behind tells that the commit came first: the other way round there
  // would be frames in the WAL that it knows nothing of.
  const std::int64_t wal_bytes = FileSize(path_ + "-wal");
  ASSERT_TRUE(result.ok()) << result;
  ASSERT_EQ(result.rows.size(), 1U);
  const Row& row = result.rows.front();
  EXPECT_EQ(row.at(0), "0") << "busy";
  EXPECT_EQ(row.at(1), row.at(2)) << "frames in the WAL, frames checkpointed";
  if (std::string(GetParam().mode) == "truncate") {
    EXPECT_EQ(wal_bytes, 0);
  } else {
    EXPECT_GT(std::stoi(row.at(1)), 0);
    EXPECT_LT(std::stoi(row.at(1)), 100) << "the frames of the old WAL";
  }
  EXPECT_EQ(checkpointer_.Exec("c", "select count(*) from t"), Row{std::to_string(kRows + 1)});
  EXPECT_TRUE(insert.Wait().ok());
  EXPECT_EQ(Refusals(), Row{"0"});
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

INSTANTIATE_TEST_SUITE_P(
    Guard, Waiting, ::testing::ValuesIn([] {
      std::vector<Wait> all;
      for (const char* mode : {"full", "restart", "truncate"}) {
        for (const Wal wal : {Wal::kFresh, Wal::kTruncated, Wal::kCheckpointed}) {
          all.push_back({mode, wal});
        }
      }
      return all;
    }()),
    [](const auto& wait) { return NameOf(wait.param); });

// ---- 5. Harmless ----

class Harmless : public GuardTest {
 protected:
  void SetUp() override {
    GuardTest::SetUp();
    SetGuard("on");
  }
};

// SQLite sees that the two copies differ, and reads again: there is nothing to refuse.
TEST_F(Harmless, AWriterThatRestartsTheWalWhileTheHeaderIsReadIsNoticedBySqlite) {
  Database checkpointer = OpenCheckpointer(kGuardedVfs);
  FillWal();
  bool done = false;
  Interpose([&](const Moment& moment) {
    if (moment.kind != Moment::Kind::kShmBarrier || done) return;
    done = true;
    Insert();
  });
  const Checkpointed result = Checkpoint(checkpointer, SQLITE_CHECKPOINT_PASSIVE);
  Interpose(nullptr);
  ASSERT_TRUE(done);
  EXPECT_EQ(result.code, SQLITE_OK);
  EXPECT_LT(result.frames, 100);
  EXPECT_EQ(result.backfilled, result.frames);
  EXPECT_EQ(Refusals(), 0);
  EXPECT_EQ(RowsLost(std::move(checkpointer)), 0);
}

// The recover lock is taken while the checkpoint lock is held, and the header is written anew.
TEST_F(Harmless, ARecoveryInsideACheckpoint) {
  const Database checkpointer = OpenCheckpointer(kGuardedVfs);
  writer_.Exec("w", "update t set v = v + 1");
  bool torn = false;
  bool recovered = false;
  Interpose([&](const Moment& moment) {
    if (moment.kind == Moment::Kind::kShmBarrier && !torn) {
      moment.wal_index[kSecondSalt] = static_cast<std::uint8_t>(~moment.wal_index[kSecondSalt]);
      torn = true;
    }
    if (moment.kind == Moment::Kind::kShmLock && moment.offset == 2 && moment.count == 1) {
      recovered = true;
    }
  });
  const Checkpointed result = Checkpoint(checkpointer, SQLITE_CHECKPOINT_PASSIVE);
  Interpose(nullptr);
  ASSERT_TRUE(recovered);
  EXPECT_EQ(result.code, SQLITE_OK);
  EXPECT_GT(result.frames, 100);
  EXPECT_EQ(result.backfilled, result.frames);
  EXPECT_EQ(Refusals(), 0);
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

// Here checkpoint and recover lock are one request, and the checkpoint comes later.
TEST_F(Harmless, ARecoveryBeforeACheckpoint) {
  ASSERT_EQ(writer_.Quit(), 0);
  LeaveWalToRecover(path_);
  const Database checkpointer = OpenUri("file:" + path_ + "?vfs=" + kGuardedVfs);
  bool recovered = false;
  Interpose([&](const Moment& moment) {
    if (moment.kind == Moment::Kind::kShmLock && moment.offset == 1 && moment.count == 2) {
      recovered = true;
    }
  });
  ASSERT_NE(Ask(checkpointer, "select count(*) from t"), "");
  Interpose(nullptr);
  ASSERT_TRUE(recovered);
  const Checkpointed result = Checkpoint(checkpointer, SQLITE_CHECKPOINT_PASSIVE);
  EXPECT_EQ(result.code, SQLITE_OK);
  EXPECT_GT(result.frames, 0);
  EXPECT_EQ(result.backfilled, result.frames);
  EXPECT_EQ(Refusals(), 0);
  EXPECT_EQ(Ask(checkpointer, "pragma integrity_check"), "ok");
}

TEST_F(Harmless, AReadOnlyWalIndexIsReadAndNotCheckpointed) {
  FillWal();
  Insert();
  Database reader = OpenUri("file:" + path_ + "?vfs=" + kGuardedVfs + "&readonly_shm=1");
  EXPECT_EQ(Ask(reader, "select count(*) from t"), std::to_string(expected_));
  EXPECT_EQ(Checkpoint(reader, SQLITE_CHECKPOINT_PASSIVE).code, SQLITE_READONLY);
  Insert();
  EXPECT_EQ(Ask(reader, "select count(*) from t"), std::to_string(expected_));
  EXPECT_EQ(RowsLost(std::move(reader)), 0);
}

TEST_F(Harmless, ExclusiveModeHasNoWalIndexToGuard) {
  ASSERT_EQ(writer_.Quit(), 0);
  {
    const Database alone = OpenUri("file:" + path_ + "?vfs=" + kGuardedVfs);
    EXPECT_EQ(Ask(alone, "pragma locking_mode = exclusive"), "exclusive");
    EXPECT_EQ(Ask(alone, "update t set v = v + 1"), "");
    const Checkpointed result = Checkpoint(alone, SQLITE_CHECKPOINT_TRUNCATE);
    EXPECT_EQ(result.code, SQLITE_OK);
    EXPECT_EQ(result.frames, 0);
  }
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

TEST_F(Harmless, TheLastToCloseStillCheckpoints) {
  Database last = OpenCheckpointer(kGuardedVfs);
  Insert();
  ASSERT_EQ(writer_.Quit(), 0);
  last.reset();
  EXPECT_EQ(FileSize(path_ + "-wal"), -1);
  Actor reader;
  reader.Open("r", path_);
  EXPECT_EQ(reader.Exec("r", "select count(*) from t"), Row{std::to_string(expected_)});
}

// ---- 6. Loaded ----

// As Race.AfterSecondReading: the header is damaged and mended from outside while the checkpointer
// waits.
class Loaded : public ::testing::Test {
 protected:
  int RowsLost(Actor& checkpointer) {
    CreateDatabase(path_, {.rows = kRows});
    checkpointer.Open("c", path_);
    Actor writer;
    writer.Open("w", path_);
    writer.Exec("w", "pragma wal_autocheckpoint = 0");
    writer.Exec("w", "update t set v = v + 1");
    checkpointer.Exec("c", "select count(*) from t");
    EXPECT_FALSE(writer.Checkpoint("w", "passive").busy);

    const std::string shm = path_ + "-shm";
    const std::string salt = ReadBytes(shm, kSecondSalt, 1);
    checkpointer.PauseAt("after shm-barrier by=c");
    Answer checkpoint = checkpointer.Start("c", "pragma wal_checkpoint(passive)");
    checkpointer.AwaitPoint();
    WriteBytes(shm, kSecondSalt, std::string(1, static_cast<char>(~salt.at(0))));
    checkpointer.PauseAt("before shm-lock write exclusive by=c");
    checkpointer.Continue();
    checkpointer.AwaitPoint();
    WriteBytes(shm, kSecondSalt, salt);
    checkpointer.PauseAt("after shm-unlock write exclusive by=c");
    checkpointer.Continue();
    checkpointer.AwaitPoint();
    writer.Exec("w", kInsert);
    checkpointer.Continue();
    EXPECT_TRUE(checkpoint.Wait().ok());
    for (int i = 0; i < kLaterRows; ++i) writer.Exec("w", kInsert);
    checkpointer.Close("c");
    EXPECT_EQ(writer.Quit(), 0);
    Actor reader;
    reader.Open("r", path_);
    return kRows + 1 + kLaterRows - std::stoi(reader.Exec("r", "select count(*) from t").at(0));
  }

  TempDir dir_;
  std::string path_ = dir_ / "loaded.db";
};

TEST_F(Loaded, APlainProcessLosesCommittedRows) {
  if (!HasBug()) GTEST_SKIP() << "SQLite " SQLITE_VERSION " has no WAL-reset bug";
  Actor plain;
  EXPECT_EQ(RowsLost(plain), kLaterRows);
}

TEST_F(Loaded, AProcessThatHasLoadedLockscopeLosesNone) {
  Actor loaded;
  loaded.Load("look", LOCKSCOPE_LOADABLE_FILE);
  EXPECT_EQ(RowsLost(loaded), 0);
  EXPECT_EQ(IntegrityCheck(path_), "ok");
}

TEST_F(Loaded, TheEnvironmentTurnsItOff) {
  Actor loaded({.env = {{"LOCKSCOPE_WAL_RESET_GUARD", "off"}}});
  loaded.Load("look", LOCKSCOPE_LOADABLE_FILE);
  EXPECT_EQ(loaded.Exec("look", "select lockscope_get('wal_reset_guard')"), Row{"off"});
  EXPECT_EQ(RowsLost(loaded), HasBug() ? kLaterRows : 0);
}

}  // namespace
}  // namespace lockscope::testing
