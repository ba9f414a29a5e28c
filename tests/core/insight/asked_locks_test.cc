// What the kernel tells of other processes' locks when it is asked byte by byte:
//   exclusive  who holds PENDING, RESERVED, EXCLUSIVE, and the wal-index's locks
//   shared     that somebody shares a lock of the wal-index, not who
//   own        not what this process holds
//   readers    that come and go all the while keep nothing from being told
//   look       a look with few pains makes do with it, and knows what it does not know
#include "insight/asked_locks.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "core/session.h"
#include "insight/locks.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::insight {
namespace {

using testing::Actor;
using testing::Db;

class AskedLocksTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    Db make(path_);
    make.Exec("pragma journal_mode=" + journal_mode +
              "; create table t(x); insert into t values (1)");
    other_.Open("c", path_);
  }

  ExclusiveLocks Ask() {
    Database database;
    database.path = path_;
    database.id = IdOf(path_);
    database.shm = IdOf(path_ + "-shm");
    const auto asked = AskForExclusive(database, kernel::OpenFiles::Scan(), getpid());
    EXPECT_TRUE(asked);
    return asked.value_or(ExclusiveLocks{});
  }

  static FileId IdOf(const std::string& path) {
    const auto facts = kernel::StatPath(path);
    return facts ? facts->id : FileId{};
  }

  testing::TempDir dir_;
  const std::string path_ = dir_ / "a.db";
  Db shim_{path_};
  Actor other_;
};

constexpr auto kWriteOffset = static_cast<std::size_t>(ShmOffset(Resource::kWalWrite));

TEST_F(AskedLocksTest, ReservedPendingAndExclusiveAreTheirHolders) {
  Make("delete");
  EXPECT_TRUE(Ask().holders.empty());

  other_.Exec("c", "begin immediate");
  KernelHolder writer{.pid = other_.pid(), .reserved = true};
  EXPECT_EQ(Ask().holders,
            (std::map<std::optional<std::int64_t>, KernelHolder>{{other_.pid(), writer}}));

  shim_.Exec("begin; select * from t");
  other_.Exec("c", "insert into t values (2)");
  EXPECT_EQ(other_.Try("c", "commit").code, SQLITE_BUSY);
  writer.pending = true;
  EXPECT_EQ(Ask().holders.at(other_.pid()), writer);

  shim_.Exec("commit");
  other_.Exec("c", "rollback; begin exclusive");
  writer.shared = writer.exclusive = true;
  EXPECT_EQ(Ask().holders.at(other_.pid()), writer);
}

TEST_F(AskedLocksTest, TheWriteLockIsItsHoldersAndASharedSlotNobodys) {
  Make("wal");
  other_.Exec("c", "begin immediate");
  const ExclusiveLocks locks = Ask();
  KernelHolder writer{.pid = other_.pid()};
  writer.shm.at(kWriteOffset) = LockMode::kExclusive;
  EXPECT_EQ(locks.holders.at(other_.pid()), writer);
  EXPECT_NE(locks.shm_shared >> kShmReadOffset, 0) << "it reads too";
  EXPECT_EQ(locks.shm_shared & 1, 0);
}

TEST_F(AskedLocksTest, WhatThisProcessHoldsIsLeftOut) {
  Make("wal");
  shim_.Exec("begin immediate");
  EXPECT_TRUE(Ask().holders.empty());
}

TEST_F(AskedLocksTest, WithoutADatabaseNothingIsTold) {
  EXPECT_FALSE(AskForExclusive(Database{}, kernel::OpenFiles::Scan(), getpid()));
  EXPECT_FALSE(
      Look::At({dir_ / "none.db"}, Pains::kFew).databases().front().kernel_word.has_value());
}

TEST_F(AskedLocksTest, ReadersThatComeAndGoKeepNothingFromBeingTold) {
  Make("wal");
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::thread reader([&] {
    Db db(path_);
    while (!stop) {
      db.Exec("select * from t");
      ++reads;
    }
  });
  while (reads == 0) std::this_thread::yield();
  for (int i = 0; i < 300; ++i) EXPECT_TRUE(Ask().holders.empty());
  stop = true;
  reader.join();
}

TEST_F(AskedLocksTest, ALookWithFewPainsMakesDoWithIt) {
  Make("wal");
  other_.Exec("c", "begin immediate");
  const Look look = Look::At({path_}, Pains::kFew);
  const Database& database = look.databases().front();
  EXPECT_EQ(database.kernel_word, KernelWord::kAsked);
  int writers = 0;
  for (const LockFacts& lock : CollectLocks(look, database)) {
    if (lock.resource == Resource::kWalWrite && lock.pid == other_.pid()) ++writers;
  }
  EXPECT_EQ(writers, 1);
  EXPECT_EQ(Look::At({path_}, Pains::kOneMoment).databases().front().kernel_word,
            KernelWord::kListed);
}

}  // namespace
}  // namespace lockscope::insight
