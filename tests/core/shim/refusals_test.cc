// Which refusals are a BUSY to the application: the table in refusals.h, row by row.
#include "shim/refusals.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <string>

namespace lockscope::shim {
namespace {

using ledger::HeldBits;

constexpr std::uint8_t Bit(Resource resource) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(ShmOffset(resource)));
}

constexpr std::uint8_t kSlot1 = Bit(Resource::kWalRead1);
constexpr std::uint8_t kWrite = Bit(Resource::kWalWrite);
constexpr std::uint8_t kCheckpoint = Bit(Resource::kWalCheckpoint);

Event Refused(Resource resource, LockMode mode, int count = 1, int result = SQLITE_BUSY) {
  return {.operation = resource == Resource::kDatabase ? Operation::kLock : Operation::kShmLock,
          .resource = resource,
          .count = static_cast<std::uint8_t>(count),
          .to = mode,
          .result = static_cast<std::uint16_t>(result)};
}

// A connection of which there is something to ask.
class RefusalsTest : public ::testing::Test {
 protected:
  RefusalsTest() { sqlite3_open(":memory:", &db_); }
  ~RefusalsTest() override {
    sqlite3_finalize(statement_);
    sqlite3_close(db_);
  }
  void Prepare(const std::string& sql) {
    sqlite3_finalize(statement_);
    sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement_, nullptr);
  }
  void Step(const std::string& sql) {
    Prepare(sql);
    EXPECT_EQ(sqlite3_step(statement_), SQLITE_ROW);
  }
  Asking Db() const { return {.db = db_}; }

  sqlite3* db_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
};

TEST_F(RefusalsTest, TheTableRowByRow) {
  struct Row {
    const char* request;
    Event refused;
    HeldBits held;
    bool busy;
  };
  const HeldBits none;
  const HeldBits reads{.shm_shared = kSlot1};
  const HeldBits writes{.shm_shared = kSlot1, .shm_exclusive = kWrite};
  const HeldBits checkpoints{.shm_exclusive = kCheckpoint};
  const HeldBits restarts{.shm_exclusive = kWrite | kCheckpoint};
  constexpr auto kShared = LockMode::kShared;
  constexpr auto kExclusive = LockMode::kExclusive;
  const Row rows[] = {
      {"SHARED", Refused(Resource::kDatabase, kShared), none, true},
      {"RESERVED", Refused(Resource::kDatabase, LockMode::kReserved), none, true},
      {"EXCLUSIVE to commit", Refused(Resource::kDatabase, kExclusive), none, true},
      {"a read slot", Refused(Resource::kWalRead1, kShared), none, false},
      {"a reader's read slot", Refused(Resource::kWalRead1, kExclusive), none, false},
      {"a writer's slots", Refused(Resource::kWalRead1, kExclusive, 4), writes, false},
      {"PASSIVE's slots", Refused(Resource::kWalRead0, kExclusive), checkpoints, false},
      {"RESTART's slots", Refused(Resource::kWalRead1, kExclusive, 4), restarts, true},
      {"write, reading", Refused(Resource::kWalWrite, kExclusive), reads, true},
      {"write, of a checkpoint", Refused(Resource::kWalWrite, kExclusive), checkpoints, true},
      {"write, to recover", Refused(Resource::kWalWrite, kExclusive), none, false},
      {"ckpt and recover", Refused(Resource::kWalCheckpoint, kExclusive, 2), none, false},
      {"recover, shared", Refused(Resource::kWalRecover, kShared), none, true},
      {"recover", Refused(Resource::kWalRecover, kExclusive), none, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.request);
    EXPECT_EQ(IsBusy(row.refused, row.held, Db()), row.busy);
    EXPECT_EQ(IsBusy(row.refused, row.held, Asking{}), row.busy);
  }
}

TEST_F(RefusalsTest, AnErrorIsNoBusy) {
  EXPECT_FALSE(
      IsBusy(Refused(Resource::kDatabase, LockMode::kShared, 1, SQLITE_IOERR_LOCK), {}, Db()));
  EXPECT_TRUE(
      IsBusy(Refused(Resource::kDatabase, LockMode::kShared, 1, SQLITE_BUSY_RECOVERY), {}, Db()));
}

TEST_F(RefusalsTest, TheCheckpointLockIsABusyWhereTheCheckpointWasAskedFor) {
  const Event refused = Refused(Resource::kWalCheckpoint, LockMode::kExclusive);
  EXPECT_TRUE(IsBusy(refused, {}, {.db = db_, .is_heard = true}));
  EXPECT_FALSE(IsBusy(refused, {}, {.db = db_, .is_heard = true, .wrote = true}));
  // Not heard: by whether anything runs, which what stands at a row does not.
  Prepare("select 1");
  EXPECT_FALSE(IsBusy(refused, {}, Db()));
  Step("select 1");
  EXPECT_FALSE(IsBusy(refused, {}, Db()));
  bool busy_meanwhile = false;
  const auto ask = [](sqlite3_context* context, int, sqlite3_value**) {
    sqlite3* const db = sqlite3_context_db_handle(context);
    *static_cast<bool*>(sqlite3_user_data(context)) =
        IsBusy(Refused(Resource::kWalCheckpoint, LockMode::kExclusive), {}, {.db = db});
  };
  ASSERT_EQ(
      sqlite3_create_function(db_, "ask", 0, SQLITE_UTF8, &busy_meanwhile, ask, nullptr, nullptr),
      SQLITE_OK);
  Step("select ask()");
  EXPECT_TRUE(busy_meanwhile);
}

TEST_F(RefusalsTest, ExclusiveOfAWalConnectionIsSwallowedWhereItLeaves) {
  const Event refused = Refused(Resource::kDatabase, LockMode::kExclusive);
  const HeldBits wal{.database = LockMode::kShared, .wal_open = true};
  EXPECT_FALSE(IsBusy(refused, wal, Db()));
  Prepare("select 1");
  EXPECT_TRUE(IsBusy(refused, wal, Db()));
  // What runs need not detach anything to be taken for it here.
  sqlite3_exec(db_, "attach ':memory:' as a", nullptr, nullptr, nullptr);
  for (const char* detach : {"/* detach */ select 'detach a'", "-- detach\n select 1"}) {
    Step(detach);
    EXPECT_TRUE(IsBusy(refused, wal, Db())) << detach;
  }
}

// What may have been swallowed is told of by nobody.
TEST_F(RefusalsTest, OfAnUnknownConnectionWhatMayBeSwallowedIs) {
  const Asking unknown;
  EXPECT_FALSE(IsBusy(Refused(Resource::kWalCheckpoint, LockMode::kExclusive), {}, unknown));
  EXPECT_FALSE(
      IsBusy(Refused(Resource::kDatabase, LockMode::kExclusive), {.wal_open = true}, unknown));
}

}  // namespace
}  // namespace lockscope::shim
