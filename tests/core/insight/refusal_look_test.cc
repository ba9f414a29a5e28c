// Who is in the way, as a look made for a refused request finds out:
//   held    who held the lock when it was refused
//   later   not who has taken it since
//   commit  whose lock has become another one since
//   both    of several, those who were there
#include "insight/refusal_look.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "core/insight/blockers_fixture.h"
#include "ledger/clock.h"

namespace lockscope::insight {
namespace {

using ledger::Looked;
using testing::Actor;
using testing::Client;
using testing::Db;

class RefusalLookTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode +
              "; create table t(x); insert into t values (1)");
  }

  Looked LookAt(const Event& wanted, ledger::Ticks at) {
    // So long that it is looked into however many were lately.
    constexpr ledger::Ticks kLong = ledger::Ticks{1} << 45;
    return LookAtRefusal(
        {.connection = 0, .path = path_.c_str(), .event = wanted, .at = at, .waited = kLong},
        cause_);
  }

  // A moment that all that follows is later than, by the coarse clock too.
  static ledger::Ticks Refused() {
    const ledger::Ticks now = ledger::Now();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return now;
  }

  testing::TempDir dir_;
  const std::string path_ = dir_ / "a.db";
  ledger::RefusalCause cause_;
};

constexpr Event kWrites{.resource = Resource::kWalWrite, .to = LockMode::kExclusive};
constexpr Event kCommits{.resource = Resource::kDatabase, .to = LockMode::kExclusive};

TEST_F(RefusalLookTest, WhoHeldTheLockWhenItWasRefusedIsNamed) {
  Make("wal");
  Client writer(path_);
  writer.db().Exec("begin immediate");
  ASSERT_EQ(LookAt(kWrites, ledger::Now()), Looked::kFound);
  EXPECT_EQ(cause_.reason, Reason::kWriter);
  EXPECT_EQ(cause_.blocker_pid, getpid());
  EXPECT_EQ(std::to_string(cause_.blocker_connection), writer.number());
}

TEST_F(RefusalLookTest, WhoTookTheLockLaterIsNot) {
  Make("wal");
  const ledger::Ticks refused = Refused();
  Client writer(path_);
  writer.db().Exec("begin immediate");
  EXPECT_EQ(LookAt(kWrites, refused), Looked::kInVain);
  EXPECT_EQ(cause_.reason, Reason::kUnknown);
  EXPECT_FALSE(cause_.blocker_pid);
}

// A commit that waits for a reader has held its lock all the while.
TEST_F(RefusalLookTest, AWriterThatCommitsSinceIsNamedByWhatItHeldThen) {
  Make("delete");
  Client reader(path_);
  reader.db().Exec("begin; select * from t");
  Client writer(path_);
  writer.db().Exec("begin immediate; insert into t values (2)");
  const ledger::Ticks refused = Refused();
  ASSERT_EQ(writer.Refused("commit"), SQLITE_BUSY);
  ASSERT_EQ(LookAt({.resource = Resource::kDatabase, .to = LockMode::kReserved}, refused),
            Looked::kFound);
  EXPECT_EQ(cause_.reason, Reason::kWriter);
  EXPECT_EQ(std::to_string(cause_.blocker_connection), writer.number());
}

// Whom only the kernel sees may have come later as well as who is known to.
TEST_F(RefusalLookTest, NobodyIsNamedWithoutATimeBesideWhoCameLater) {
  Make("delete");
  Actor plain;
  plain.Open("c", path_);
  plain.Exec("c", "begin; select * from t");
  const ledger::Ticks refused = Refused();
  ASSERT_EQ(LookAt(kCommits, refused), Looked::kFound);
  EXPECT_EQ(cause_.blocker_pid, plain.pid());
  cause_ = {};
  Client later(path_);
  later.db().Exec("begin; select * from t");
  EXPECT_EQ(LookAt(kCommits, refused), Looked::kInVain);
  EXPECT_FALSE(cause_.blocker_pid);
}

TEST_F(RefusalLookTest, OfSeveralReadersThoseWhoWereThereAreNamed) {
  Make("delete");
  Client earlier(path_);
  earlier.db().Exec("begin; select * from t");
  const ledger::Ticks refused = Refused();
  Client later(path_);
  later.db().Exec("begin; select * from t");
  ASSERT_EQ(LookAt(kCommits, refused), Looked::kFound);
  EXPECT_EQ(cause_.reason, Reason::kReaders);
  EXPECT_EQ(std::to_string(cause_.blocker_connection), earlier.number());
}

}  // namespace
}  // namespace lockscope::insight
