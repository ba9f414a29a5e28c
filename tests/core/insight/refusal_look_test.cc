// Who is in the way, as a look made for a refused request finds out:
//   held       who held the lock when it was refused
//   later      not who has taken it since, were it before the refused call came back
//   gone       nor who is letting it go
//   stronger   whose lock has become another one since
//   untimed    of whom only the kernel tells
//   several    those of them who were there
#include "insight/refusal_look.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "core/insight/blockers_fixture.h"
#include "core/shim/fake_vfs.h"
#include "insight/look.h"
#include "ledger/clock.h"
#include "lockscope.h"

namespace lockscope::insight {
namespace {

using ledger::Looked;
using testing::Actor;
using testing::Client;
using testing::Db;
using ::testing::HasSubstr;
using testing::Quote;

class RefusalLookTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode +
              "; create table t(x); insert into t values (1)");
  }

  Looked LookAt(const Event& wanted, ledger::Ticks asked, bool is_told = true) {
    // So long that it is looked into however many were lately.
    constexpr ledger::Ticks kLong = ledger::Ticks{1} << 45;
    return LookAtRefusal({.connection = 0,
                          .path = path_.c_str(),
                          .event = wanted,
                          .asked = asked,
                          .waited = kLong,
                          .is_told = is_told},
                         cause_);
  }

  // Later than all before it and earlier than all that follows, by the coarse clock too.
  static ledger::Ticks Asked() {
    constexpr std::chrono::milliseconds kTick(20);
    std::this_thread::sleep_for(kTick);
    const ledger::Ticks now = ledger::Now();
    std::this_thread::sleep_for(kTick);
    return now;
  }

  // Not by the statement that has made the lock stronger since.
  void ExpectToldByWhatItWas(const Event& wanted, ledger::Ticks asked, Reason reason,
                             const std::string& words) {
    ASSERT_EQ(LookAt(wanted, asked), Looked::kFound);
    EXPECT_EQ(cause_.reason, reason);
    EXPECT_EQ(cause_.blocker_sql, "");
    EXPECT_THAT(cause_.explanation, HasSubstr(words));
  }

  testing::TempDir dir_;
  const std::string path_ = dir_ / "a.db";
  ledger::RefusalCause cause_;
};

constexpr Event kWrites{.resource = Resource::kWalWrite, .to = LockMode::kExclusive};
constexpr Event kReads{.resource = Resource::kDatabase, .to = LockMode::kShared};
constexpr Event kBegins{.resource = Resource::kDatabase, .to = LockMode::kReserved};
constexpr Event kCommits{.resource = Resource::kDatabase, .to = LockMode::kExclusive};

TEST_F(RefusalLookTest, WhoHeldTheLockWhenItWasRefusedIsNamed) {
  Make("wal");
  Client writer(path_);
  writer.db().Exec("begin immediate");
  ASSERT_EQ(LookAt(kWrites, Asked()), Looked::kFound);
  EXPECT_EQ(cause_.reason, Reason::kWriter);
  EXPECT_EQ(cause_.blocker_pid, getpid());
  EXPECT_EQ(std::to_string(cause_.blocker_connection), writer.number());
}

TEST_F(RefusalLookTest, WhoTookTheLockLaterIsNot) {
  Make("wal");
  const ledger::Ticks asked = Asked();
  Client writer(path_);
  writer.db().Exec("begin immediate");
  EXPECT_EQ(LookAt(kWrites, asked), Looked::kInVain);
  EXPECT_EQ(cause_.reason, Reason::kUnknown);
  EXPECT_FALSE(cause_.blocker_pid);
}

TEST_F(RefusalLookTest, ThatNobodyIsThereAnyMoreIsToldOnce) {
  Make("wal");
  const ledger::Ticks asked = Asked();
  EXPECT_EQ(LookAt(kWrites, asked, true), Looked::kInVain);
  EXPECT_EQ(cause_.explanation, "");
  EXPECT_EQ(LookAt(kWrites, asked, false), Looked::kNobody);
  EXPECT_NE(cause_.explanation, "");
}

// Of two things in one tick of a coarse clock either may have been first.
TEST_F(RefusalLookTest, WhoTookTheLockInTheTickOfTheRequestIsNot) {
  Make("wal");
  Client writer(path_);
  writer.db().Exec("begin immediate");
  const Look look = Look::At({path_}, Pains::kFew);
  const auto& own = look.databases().front().own;
  ASSERT_EQ(own.size(), 1U);
  const ledger::Ticks taken = own.front().slot.shm_since.at(ShmOffset(Resource::kWalWrite));
  EXPECT_EQ(LookAt(kWrites, taken), Looked::kInVain);
  EXPECT_EQ(LookAt(kWrites, taken + 1), Looked::kFound);
}

// A thread may be stopped between the answer and all that it does then.
class LateAnswerTest : public RefusalLookTest {
 protected:
  LateAnswerTest() { EXPECT_EQ(lockscope_register(Fake().name(), kVfs, 0), SQLITE_OK); }
  ~LateAnswerTest() override { Fake().after_refusal = Fake().after_release = nullptr; }

  static testing::FakeVfs& Fake() {
    static auto* const fake = new testing::FakeVfs("comes-back-late");  // registered for ever
    return *fake;
  }
  static constexpr char kVfs[] = "late";
};

class LateRefusalTest : public LateAnswerTest, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Journals, LateRefusalTest, ::testing::Values("wal", "delete"));

TEST_P(LateRefusalTest, WhoTookTheLockBeforeTheCallCameBackIsNotNamed) {
  Make(GetParam());
  Client holder(path_);
  Client taker(path_);
  Db refused(path_, kVfs);
  refused.Exec("select * from t");
  const auto tell = [&](bool late) {
    holder.Exec("begin immediate");
    Asked();
    if (late) {
      Fake().after_refusal = [&] {
        holder.Exec("rollback");
        taker.Exec("begin immediate");
      };
    }
    EXPECT_EQ(refused.Try("begin immediate").code, SQLITE_BUSY);
    (late ? taker : holder).Exec("rollback");
    return Db(":memory:")
        .Value("select reason, blocker_pid, explanation from lockscope_waits(" + Quote(path_) +
               ") limit 1");
  };
  for (const bool late : {false, true}) {
    SCOPED_TRACE(late);
    // There may have been too many looks lately.
    ASSERT_TRUE(testing::Eventually([&] {
      const std::string told = tell(late);
      if (told == "unknown NULL NULL") return false;
      EXPECT_TRUE(told.starts_with(late ? "unknown NULL who was in the way cannot be told"
                                        : "writer " + std::to_string(getpid())))
          << told;
      return true;
    }));
  }
}

TEST_F(LateAnswerTest, WhoHasLetTheLockGoWithoutSayingSoYetIsNotNamed) {
  Make("wal");
  Db writer(path_, kVfs);
  writer.Exec("select * from t; begin immediate");
  const ledger::Ticks asked = Asked();
  EXPECT_EQ(LookAt(kWrites, asked), Looked::kFound);
  Looked looked = Looked::kNot;
  Fake().after_release = [&] { looked = LookAt(kWrites, asked); };
  writer.Exec("rollback");
  EXPECT_EQ(looked, Looked::kInVain);
}

// A commit that waits for a reader has held its lock all the while.
TEST_F(RefusalLookTest, AWriterThatCommitsSinceIsNamedByWhatItHeldThen) {
  Make("delete");
  Client reader(path_);
  reader.db().Exec("begin; select * from t");
  Client writer(path_);
  writer.db().Exec("begin immediate; insert into t values (2)");
  const ledger::Ticks asked = Asked();
  ASSERT_EQ(writer.Refused("commit"), SQLITE_BUSY);
  ExpectToldByWhatItWas(kBegins, asked, Reason::kWriter, "has held RESERVED");
  EXPECT_EQ(std::to_string(cause_.blocker_connection), writer.number());
  // Readers were refused by nobody then.
  cause_ = {};
  EXPECT_EQ(LookAt(kReads, asked), Looked::kInVain);
  EXPECT_EQ(cause_.reason, Reason::kUnknown);
}

TEST_F(RefusalLookTest, AWriterThatSpillsSinceIsNamedByWhatItHeldThen) {
  Make("delete");
  Client writer(path_);
  writer.Exec("pragma cache_size=1; begin immediate; insert into t values (2)");
  const ledger::Ticks asked = Asked();
  writer.Exec(
      "with recursive n(i) as (values(1) union all select i + 1 from n where i < 50) "
      "insert into t select randomblob(5000) from n");
  ASSERT_EQ(Db(":memory:").Value("select mode from lockscope_locks(" + Quote(path_) + ")"),
            "EXCLUSIVE");
  ExpectToldByWhatItWas(kBegins, asked, Reason::kWriter, "has held RESERVED");
}

TEST_F(RefusalLookTest, AReaderThatWritesSinceIsNamedByWhatItHeldThen) {
  Make("delete");
  Client reader(path_);
  reader.Exec("begin; select * from t");
  const ledger::Ticks asked = Asked();
  reader.Exec("insert into t values (2)");
  ExpectToldByWhatItWas(kCommits, asked, Reason::kReaders, "has held SHARED");
}

TEST_F(RefusalLookTest, WhatIsLeftOfALockIsNotToldByWhatHadMadeItMore) {
  Make("delete");
  Client reader(path_);
  testing::Statement select(reader.db(), "select * from t, t as u");
  select.Step();
  for (const bool wrote : {false, true}) {
    SCOPED_TRACE(wrote);
    if (wrote) reader.Exec("insert into t values (2)");
    cause_ = {};
    ASSERT_EQ(LookAt(kCommits, Asked()), Looked::kFound);
    EXPECT_EQ(cause_.reason, Reason::kReaders);
    EXPECT_EQ(cause_.blocker_sql, wrote ? "" : "select * from t, t as u");
  }
}

// Whom only the kernel sees may have come later as well as who is known to.
TEST_F(RefusalLookTest, NobodyIsNamedWithoutATimeBesideWhoCameLater) {
  Make("delete");
  Actor plain;
  plain.Open("c", path_);
  plain.Exec("c", "begin; select * from t");
  const ledger::Ticks asked = Asked();
  ASSERT_EQ(LookAt(kCommits, asked), Looked::kFound);
  EXPECT_EQ(cause_.blocker_pid, plain.pid());
  cause_ = {};
  Client later(path_);
  later.db().Exec("begin; select * from t");
  EXPECT_EQ(LookAt(kCommits, asked), Looked::kInVain);
  EXPECT_FALSE(cause_.blocker_pid);
}

TEST_F(RefusalLookTest, OfSeveralReadersThoseWhoWereThereAreNamed) {
  Make("delete");
  Client earlier(path_);
  earlier.db().Exec("begin; select * from t");
  const ledger::Ticks asked = Asked();
  Client later(path_);
  later.db().Exec("begin; select * from t");
  ASSERT_EQ(LookAt(kCommits, asked), Looked::kFound);
  EXPECT_EQ(cause_.reason, Reason::kReaders);
  EXPECT_EQ(std::to_string(cause_.blocker_connection), earlier.number());
  EXPECT_EQ(cause_.blocker_sql, "select * from t");
  EXPECT_THAT(cause_.explanation, HasSubstr(". Perhaps others were in the way too"));
}

}  // namespace
}  // namespace lockscope::insight
