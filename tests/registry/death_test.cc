// Processes that die, stop, become another program, or fork, with databases open through the shim.
// What they published must be gone when they are, at once, and be theirs alone. Groups:
//   death     SIGKILL, alone and with children that live on; those that inherit the descriptor
//   stopped   SIGSTOP, exec
//   fork      parent and child, and who dies first
//   files     descriptors 0, 1, 2
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "barrier/hosted.h"
#include "core/session.h"
#include "ledger/registry.h"
#include "registry/forked.h"
#include "registry/seen.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Blocks = std::vector<std::uint32_t>;

class RegistryDeathTest : public ::testing::Test {
 protected:
  RegistryDeathTest() {
    CreateDatabase(db_);
    RegisterShim();
  }

  // A connection that reads, in a transaction.
  static constexpr const char* kRead = "begin;select count(*) from t";

  Json See(const char* table = "connections") const { return SeenHere(table, db_); }
  Json ShimRows(pid_t pid) const { return FromShim(OfPid(See(), pid)); }

  void ExpectNothingOf(pid_t pid) const {
    for (const char* table : {"connections", "locks", "snapshots", "events", "stats", "blockers"}) {
      const char* column = std::string(table) == "blockers" ? "blocker_pid" : "pid";
      const Json rows = Where(See(table), column, pid);
      EXPECT_EQ(rows.size(), 0U) << table << rows.dump(2);
    }
#ifdef LOCKSCOPE_COMMAND
    const ProgramResult seen =
        RunProgram({.argv = {LOCKSCOPE_COMMAND, "connections", "--json", db_}});
    EXPECT_EQ(OfPid(Json::parse(seen.out), pid).size(), 0U) << seen;
#endif
  }

  // Its one connection reads, and the kernel agrees on every lock, or has none of them.
  void ExpectReads(pid_t pid, int verified = 1) const {
    const Json rows = OfPid(See(), pid);
    ASSERT_EQ(rows.size(), 1U) << rows.dump(2);
    EXPECT_EQ(rows.at(0).at("source"), "shim");
    EXPECT_EQ(rows.at(0).at("state"), "reading");
    EXPECT_EQ(rows.at(0).at("sql"), "select count(*) from t");
    const Json locks = OfPid(See("locks"), pid);
    EXPECT_EQ(Values(locks, "source"), std::vector<Json>{"shim"}) << locks.dump(2);
    EXPECT_EQ(Values(locks, "verified"), std::vector<Json>{verified}) << locks.dump(2);
    EXPECT_EQ(LocksOf(db_, pid).empty(), verified == 0);
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
};

// ---- death ----

TEST_F(RegistryDeathTest, KilledReaderIsGoneAtOnce) {
  for (int i = 0; i < 5; ++i) {
    HostProcess host;
    host.Open("c", db_);
    host.Exec("c", kRead);
    ExpectReads(host.pid());
    host.Kill();
    ExpectNothingOf(host.pid());
    // What it left is the next one's.
    HostProcess next;
    next.Open("c", db_);
    EXPECT_EQ(BlocksHeld(db_), Blocks{0});
    next.Kill();
    EXPECT_EQ(BlocksHeld(db_), Blocks{});
  }
  // Nobody has closed it in order: it waits for the next, who removes it.
  EXPECT_GT(FileSize(Sidecar(db_)), 0);
  HostProcess last;
  last.Open("c", db_);
  last.Quit();
  EXPECT_EQ(FileSize(Sidecar(db_)), -1);
}

TEST_F(RegistryDeathTest, KilledWriterIsGoneAtOnceAndTheOthersStay) {
  HostProcess reader;
  HostProcess writer;
  HostProcess third;
  for (HostProcess* host : {&reader, &writer, &third}) host->Open("c", db_);
  reader.Exec("c", kRead);
  third.Exec("c", kRead);
  writer.Exec("c", "begin immediate");
  writer.Exec("c", "update t set v = v + 1");
  ASSERT_EQ(OfPid(See(), writer.pid()).at(0).at("state"), "writing");
  writer.Kill();
  ExpectNothingOf(writer.pid());
  ExpectReads(reader.pid());
  ExpectReads(third.pid());
}

TEST_F(RegistryDeathTest, KilledReaderIsGoneThoughItsForkedChildLives) {
  HostProcess host;
  host.Open("c", db_);
  host.Exec("c", kRead);
  const pid_t child = host.ForkChild();
  ExpectReads(host.pid());
  EXPECT_EQ(OfPid(See(), child).size(), 0U);
  host.Kill();
  EXPECT_FALSE(IsDead(child));
  ExpectNothingOf(host.pid());
  EXPECT_EQ(OfPid(See(), child).size(), 0U);
  EXPECT_EQ(BlocksHeld(db_), Blocks{});
}

// Not through fork(): no handler runs, the child has the descriptor and so the lock.
class CloneTest : public RegistryDeathTest {
 protected:
  static void ReadAndClone(const std::string& db, Forked::Turns& turns) {
    Db own(db);
    own.Exec(kRead);
    const auto child =
        static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, 0));
    if (child == 0) turns.LiveOn();
    turns.Tell(std::to_string(child));
    turns.Wait();
  }
};

TEST_F(CloneTest, KilledReaderIsGoneThoughAnotherHoldsItsDescriptor) {
  Forked host([&](Forked::Turns& turns) { ReadAndClone(db_, turns); });
  const pid_t child = std::stoi(host.Said());
  ExpectReads(host.pid());
  host.Kill();
  EXPECT_FALSE(IsDead(child));
  EXPECT_EQ(BlocksHeld(db_), Blocks{0});  // or this test shows nothing
  ExpectNothingOf(host.pid());
  kill(child, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return BlocksHeld(db_).empty(); }));
}

TEST_F(CloneTest, KilledReaderIsGoneThoughItsParentHasNotWaitedForIt) {
  Forked host([&](Forked::Turns& turns) { ReadAndClone(db_, turns); });
  const pid_t child = std::stoi(host.Said());
  host.KillAndLeaveUnreaped();
  EXPECT_TRUE(IsDead(host.pid()));
  EXPECT_EQ(BlocksHeld(db_), Blocks{0});
  ExpectNothingOf(host.pid());
  kill(child, SIGKILL);
}

TEST_F(CloneTest, WhoClosesInOrderLeavesNothingToTheChild) {
  pid_t child = -1;
  {
    Forked host([&](Forked::Turns& turns) { ReadAndClone(db_, turns); });
    child = std::stoi(host.Said());
    host.Go();
    EXPECT_EQ(host.ExitCode(), 0);
    ExpectNothingOf(host.pid());
  }
  EXPECT_FALSE(IsDead(child));
  EXPECT_EQ(BlocksHeld(db_), Blocks{});
  EXPECT_EQ(FileSize(Sidecar(db_)), -1);
  kill(child, SIGKILL);
}

// ---- stopped ----

TEST_F(RegistryDeathTest, StoppedProcessIsStillShown) {
  HostProcess host;
  host.Open("c", db_);
  host.Exec("c", kRead);
  kill(host.pid(), SIGSTOP);
  int status = 0;
  ASSERT_EQ(waitpid(host.pid(), &status, WUNTRACED), host.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  ExpectReads(host.pid());
  // Others come and go beside it.
  HostProcess other;
  other.Open("c", db_);
  other.Exec("c", kRead);
  ExpectReads(other.pid());
  ExpectReads(host.pid());
  other.Quit();
  ExpectReads(host.pid());
  kill(host.pid(), SIGCONT);
  host.Exec("c", "commit");
  EXPECT_EQ(OfPid(See(), host.pid()).at(0).at("state"), "idle");
}

// Its number and its start stay the same: the lock alone tells.
TEST_F(RegistryDeathTest, ExecEndsWhatTheProcessPublished) {
  HostProcess other;
  Forked host([&](Forked::Turns& turns) {
    Db own(db_);
    own.Exec(kRead);
    turns.Tell("reads");
    turns.Wait();
    execlp("sleep", "sleep", "1000", nullptr);
  });
  ASSERT_EQ(host.Said(), "reads");
  ExpectReads(host.pid());
  other.Open("c", db_);
  host.Go();
  const std::string link = "/proc/" + std::to_string(host.pid()) + "/cmdline";
  ASSERT_TRUE(Eventually([&] { return ReadBytes(link, 0, 5) == "sleep"; }));
  ExpectNothingOf(host.pid());
  EXPECT_EQ(BlocksHeld(db_), Blocks{1});
}

// ---- fork ----

// Each case: a process that reads has forked; both live, and take turns with the test.
//
// A connection that such a child opens has no locks: its SQLite has inherited the belief that this
// process holds them, and does not ask for them again. That is what `verified` 0 then tells.
class RegistryForkTest : public RegistryDeathTest {
 protected:
  using Child = std::function<void(Db& inherited, const Forked::Turns& turns)>;

  // The parent tells its child's number. The child has `child` done; the parent waits for Go(), or
  // its death.
  void Start(const Child& child) {
    parent_ = std::make_unique<Forked>([this, child](Forked::Turns& turns) {
      Db own(db_);
      own.Exec(kRead);
      const pid_t pid = fork();
      if (pid == 0) {
        child(own, turns);
        turns.LiveOn();
      }
      turns.Tell("child " + std::to_string(pid));
      turns.LiveOn();
    });
    // Either may be the first to speak.
    for (int lines = 0; lines < 2; ++lines) {
      const std::string said = parent_->Said();
      if (said.starts_with("child ")) {
        child_ = std::stoi(said.substr(6));
      } else {
        EXPECT_EQ(said, "ready");
      }
    }
  }
  void TearDown() override {
    if (child_ > 0) kill(child_, SIGKILL);
  }

  std::unique_ptr<Forked> parent_;
  pid_t child_ = -1;
};

TEST_F(RegistryForkTest, ChildThatDoesNothingPublishesNothing) {
  Start([](Db&, const Forked::Turns& turns) { turns.Tell("ready"); });
  ExpectReads(parent_->pid());
  EXPECT_EQ(OfPid(See(), child_).size(), 0U);
  EXPECT_EQ(BlocksHeld(db_), Blocks{0});
  parent_->Kill();
  EXPECT_FALSE(IsDead(child_));
  ExpectNothingOf(parent_->pid());
  EXPECT_EQ(BlocksHeld(db_), Blocks{});
}

// Forbidden, and done all the same.
TEST_F(RegistryForkTest, ChildThatUsesTheInheritedConnectionHarmsNoRowOfItsParent) {
  Start([](Db& inherited, const Forked::Turns& turns) {
    turns.Tell("ready");
    turns.Wait();
    inherited.Try("select sum(v) from t -- by the child");
    inherited.Try("commit");
    inherited.Try("begin immediate");
    turns.Tell("done");
  });
  const std::size_t events = OfPid(See("events"), parent_->pid()).size();
  const Json stats = OfPid(See("stats"), parent_->pid());
  parent_->Go();
  ASSERT_EQ(parent_->Said(), "done");
  ExpectReads(parent_->pid());
  EXPECT_EQ(FromShim(OfPid(See(), child_)).size(), 0U);
  EXPECT_EQ(OfPid(See("events"), child_).size(), 0U);
  // What the child did is in no record of the parent's.
  EXPECT_EQ(OfPid(See("events"), parent_->pid()).size(), events);
  const Json stats_now = OfPid(See("stats"), parent_->pid());
  ASSERT_EQ(stats_now.size(), stats.size());
  for (std::size_t i = 0; i < stats.size(); ++i) {
    for (const char* count : {"acquired", "released", "refused"}) {
      EXPECT_EQ(stats_now.at(i).at(count), stats.at(i).at(count)) << count;
    }
  }
  EXPECT_EQ(BlocksHeld(db_), Blocks{0});
  parent_->Kill();
  ExpectNothingOf(parent_->pid());
  EXPECT_EQ(FromShim(See()).size(), 0U);
}

TEST_F(RegistryForkTest, ChildThatClosesTheInheritedConnectionHarmsNoRowOfItsParent) {
  Start([](Db& inherited, const Forked::Turns& turns) {
    inherited.Close();
    turns.Tell("ready");
  });
  ExpectReads(parent_->pid());
  EXPECT_EQ(BlocksHeld(db_), Blocks{0});
  EXPECT_GT(FileSize(Sidecar(db_)), 0);
}

TEST_F(RegistryForkTest, ChildsOwnConnectionIsItsOwnAndOutlivesTheParent) {
  Start([this](Db&, const Forked::Turns& turns) {
    static Db* mine = nullptr;
    mine = new Db(db_);
    mine->Exec(kRead);
    turns.Tell("ready");
  });
  ExpectReads(parent_->pid());
  ExpectReads(child_, 0);
  EXPECT_EQ(BlocksHeld(db_), (Blocks{0, 1}));
  EXPECT_EQ(FromKernel(See("locks")).size(), 0U);
  parent_->Kill();
  ExpectNothingOf(parent_->pid());
  ExpectReads(child_, 0);
  EXPECT_EQ(BlocksHeld(db_), Blocks{1});
  const pid_t gone = child_;
  kill(child_, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return IsDead(gone); }));
  ExpectNothingOf(gone);
  child_ = -1;
}

// Of a parent that holds no lock, a child inherits no such belief.
TEST_F(RegistryDeathTest, ChildOfAnIdleParentHasLocksOfItsOwn) {
  const std::string db = dir_ / "rollback.db";
  CreateDatabase(db, {.journal_mode = "delete"});
  Db own(db);
  own.Exec("select count(*) from t");
  Forked child([&](Forked::Turns& turns) {
    Db mine(db);
    mine.Exec(kRead);
    turns.Tell("reads");
    turns.Wait();
  });
  ASSERT_EQ(child.Said(), "reads");
  const Json rows = FromShim(SeenHere("connections", db));
  EXPECT_EQ(Values(rows, "pid").size(), 2U) << rows.dump(2);
  const Json locks = SeenHere("locks", db);
  ASSERT_EQ(locks.size(), 1U) << locks.dump(2);
  EXPECT_EQ(locks.at(0).at("pid"), child.pid());
  EXPECT_EQ(locks.at(0).at("source"), "shim");
  EXPECT_EQ(locks.at(0).at("verified"), 1);
  EXPECT_EQ(BlocksHeld(db), (Blocks{0, 1}));
  child.Kill();
  EXPECT_EQ(SeenHere("locks", db).size(), 0U);
  EXPECT_EQ(BlocksHeld(db), Blocks{0});
}

TEST_F(RegistryForkTest, GrandchildPublishesAsItself) {
  Start([this](Db&, const Forked::Turns& turns) {
    static Db* mine = nullptr;
    mine = new Db(db_);
    mine->Exec(kRead);
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      static Db* its = nullptr;
      its = new Db(db_);
      its->Exec(kRead);
      turns.Tell("ready");
      turns.LiveOn();
    }
  });
  std::vector<Json> pids = Values(See(), "pid");
  ASSERT_EQ(pids.size(), 3U);
  std::erase_if(pids, [this](const Json& pid) { return pid == child_ || pid == parent_->pid(); });
  ASSERT_EQ(pids.size(), 1U);
  const pid_t grandchild = pids.front();
  ExpectReads(parent_->pid());
  ExpectReads(child_, 0);
  ExpectReads(grandchild, 0);
  EXPECT_EQ(BlocksHeld(db_), (Blocks{0, 1, 2}));
  kill(child_, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return IsDead(child_); }));
  ExpectNothingOf(child_);
  ExpectReads(parent_->pid());
  ExpectReads(grandchild, 0);
  kill(grandchild, SIGKILL);
}

// ---- files ----

class DescriptorTest : public RegistryDeathTest {
 protected:
  // The sidecar's descriptors in a process that has closed these before.
  std::vector<int> DescriptorsWithout(const std::vector<int>& closed,
                                      const std::function<void()>& open) const {
    Forked host([&](Forked::Turns& turns) {
      for (const int fd : closed) close(fd);
      open();
      std::string list;
      for (const int fd : SidecarDescriptors(db_)) list += std::to_string(fd) + " ";
      turns.Tell(list);
    });
    std::vector<int> found;
    const std::string list = host.Said();
    for (std::size_t at = 0; at < list.size();) {
      std::size_t used = 0;
      found.push_back(std::stoi(list.substr(at), &used));
      at += used + 1;
    }
    return found;
  }
};

TEST_F(DescriptorTest, SidecarIsNeverStandardInputOutputOrError) {
  for (const std::vector<int>& closed :
       {std::vector<int>{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}}) {
    const auto by_sqlite = DescriptorsWithout(closed, [&] { new Db(db_); });
    ASSERT_EQ(by_sqlite.size(), 1U);
    EXPECT_GT(by_sqlite.front(), 2);
    // SQLite fills the gaps when it opens the database. Who closes them after that:
    const auto by_itself = DescriptorsWithout(closed, [&] {
      struct stat facts = {};
      stat(db_.c_str(), &facts);
      ledger::Registry::Process().Enter(db_, {.device = facts.st_dev, .inode = facts.st_ino});
    });
    ASSERT_EQ(by_itself.size(), 1U);
    EXPECT_GT(by_itself.front(), 2);
  }
}

// What the application writes to its closed standard output must not reach the sidecar.
TEST_F(DescriptorTest, WhatIsPrintedReachesNoSidecar) {
  Forked host([&](Forked::Turns& turns) {
    Db own(db_);
    close(1);
    close(2);
    Db other(db_);
    other.Exec(kRead);
    const std::string noise(100'000, 'x');
    (void)!write(1, noise.data(), noise.size());
    (void)!write(2, noise.data(), noise.size());
    turns.Tell("written");
    turns.Wait();
  });
  ASSERT_EQ(host.Said(), "written");
  const Json rows = FromShim(OfPid(See(), host.pid()));
  EXPECT_EQ(rows.size(), 2U);
  EXPECT_EQ(Where(rows, "state", "reading").size(), 1U);
  host.Go();
  EXPECT_EQ(host.ExitCode(), 0);
  EXPECT_EQ(FileSize(Sidecar(db_)), -1);
}

}  // namespace
}  // namespace lockscope::testing
