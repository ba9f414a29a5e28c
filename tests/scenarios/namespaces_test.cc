// Where device, inode and pid are not what they seem. Groups:
//   PidNamespaceTest   processes inside and outside the pid namespace of the one that looks
//   BtrfsTest          a file system whose st_dev is not what /proc/locks prints
//   KernelWaiterTest   requests that wait in the kernel
// What the machine does not let us make is skipped by name: unshare and mount need root.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "looker.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Lines = std::vector<std::string>;

// ---- pid namespaces ----------------------------------------------------------------------------

const std::vector<std::string> kNewPidNamespace = {"unshare", "--pid", "--fork", "--kill-child",
                                                   "--mount-proc"};

// An actor by hand, in a pid namespace of its own.
std::vector<std::string> ActorInNewNamespace() {
  std::vector<std::string> argv = kNewPidNamespace;
  argv.emplace_back(LOCKSCOPE_ACTOR);
  return argv;
}

class PidNamespaceTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    std::vector<std::string> argv = kNewPidNamespace;
    argv.emplace_back("true");
    if (!RunProgram({.argv = argv}).ok()) GTEST_SKIP() << "cannot make a pid namespace";
    CreateDatabase(db_, {.journal_mode = GetParam()});
  }

  // What a process in another pid namespace answers to one query.
  std::string AnswerFromInside(const std::string& sql) {
    const ProgramResult r =
        RunProgram({.argv = ActorInNewNamespace(),
                    .input = std::string("1 load m ") + LOCKSCOPE_LOADABLE_FILE + "\n2 query m " +
                             sql + "\n3 quit\n"});
    EXPECT_TRUE(r.ok()) << r;
    const auto answer = r.out.find("\n2 ");
    if (answer == std::string::npos) return "no answer: " + r.out;
    const auto end = r.out.find('\n', answer + 1);
    return r.out.substr(answer + 3, end - answer - 3);
  }

  TempDir dir_;
  const std::string db_ = dir_ / "a.db";
};

INSTANTIATE_TEST_SUITE_P(Journals, PidNamespaceTest, ::testing::Values("wal", "delete"));

TEST_P(PidNamespaceTest, LockFromOutsideHasNoPid) {
  Actor writer;
  writer.Open("c", db_);
  writer.Exec("c", "begin immediate");
  const bool wal = GetParam() == std::string("wal");
  const std::string rows =
      wal ? "database SHARED;wal-open SHARED;wal-read-0 SHARED;wal-write EXCLUSIVE"
          : "database RESERVED";
  EXPECT_EQ(AnswerFromInside("select group_concat(resource || ' ' || mode, ';')"
                             "  from (select * from lockscope_locks('" +
                             db_ +
                             "') where pid is null and process = 'outside this pid namespace'"
                             "   and source = 'kernel' and verified is null order by 1, resource)"),
            "ok " + rows);
  EXPECT_EQ(AnswerFromInside("select count(*), sum(pid is null), group_concat(state)"
                             "  from lockscope_connections('" +
                             db_ + "')"),
            "ok 1\t1\twriting");
  EXPECT_EQ(
      AnswerFromInside("select count(*) from lockscope_locks('" + db_ + "') where pid is not null"),
      "ok 0");
}

TEST_P(PidNamespaceTest, LookingFromInsideChangesNothingOutside) {
  Actor writer;
  writer.Open("c", db_);
  writer.Exec("c", "begin immediate; update t set v = v + 1");
  const Lines locks = ReadLocksOf(db_);
  const Lines shm_locks = ReadLocksOf(db_ + "-shm");
  AnswerFromInside("select count(*) from lockscope_locks('" + db_ + "')");
  EXPECT_EQ(ReadLocksOf(db_), locks);
  EXPECT_EQ(ReadLocksOf(db_ + "-shm"), shm_locks);
  writer.Exec("c", "commit");
}

TEST_P(PidNamespaceTest, ProcessInAChildNamespaceHasItsPidHere) {
  Pipe input = MakePipe();
  Pipe output = MakePipe();
  const pid_t unshare =
      Spawn(ActorInNewNamespace(), {.in = input.read.get(), .out = output.write.get()});
  const std::string commands = "1 open c " + db_ + "\n2 exec c begin immediate\n";
  ASSERT_EQ(write(input.write.get(), commands.data(), commands.size()),
            static_cast<ssize_t>(commands.size()));
  const Looker looker;
  EXPECT_TRUE(Eventually([&] {
    return !looker.All("select 1 from lockscope_connections(?1) where state = 'writing'", {db_})
                .empty();
  }));
  const Row row = looker.One("select pid, process from lockscope_connections(?1)", {db_});
  // It is 1 in its own namespace; here it is the child of unshare.
  const std::string children =
      "/proc/" + std::to_string(unshare) + "/task/" + std::to_string(unshare) + "/children";
  const ProgramResult child = RunProgram({.argv = {"cat", children}});
  EXPECT_EQ(row[0] + " ", child.out) << child;
  EXPECT_EQ(row[1], LOCKSCOPE_ACTOR);
  kill(unshare, SIGKILL);
  waitpid(unshare, nullptr, 0);
}

// ---- btrfs -------------------------------------------------------------------------------------

class BtrfsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string image = dir_ / "image";
    mount_ = dir_ / "mount";
    std::filesystem::create_directory(mount_);
    if (!Run({"truncate", "--size=128M", image}) || !Run({"mkfs.btrfs", "--quiet", image}) ||
        !Run({"mount", "-o", "loop", image, mount_})) {
      GTEST_SKIP() << "cannot make a btrfs here";
    }
    mounted_ = true;
    for (const char* name : {"a", "b"}) {
      ASSERT_TRUE(Run({"btrfs", "subvolume", "create", mount_ + "/" + name}));
    }
  }
  void TearDown() override {
    if (mounted_) {
      EXPECT_TRUE(Eventually([&] { return Run({"umount", mount_}); }));
    }
  }

  // False where the program is missing, too.
  static bool Run(const std::vector<std::string>& argv) {
    try {
      return RunProgram({.argv = argv}).ok();
    } catch (const std::exception&) {
      return false;
    }
  }

  static std::uint64_t Inode(const std::string& path) {
    struct stat file = {};
    return stat(path.c_str(), &file) == 0 ? file.st_ino : 0;
  }

  TempDir dir_;
  std::string mount_;
  bool mounted_ = false;
};

// Each look in a process that ends: what a looker has opened stays open and the mount busy.
std::vector<Row> LookInAnActor(const std::string& sql) {
  Actor actor;
  actor.Load("m", LOCKSCOPE_LOADABLE_FILE);
  return actor.Query("m", sql);
}

TEST_F(BtrfsTest, PidIsRightThoughTheDeviceNumberDiffers) {
  for (const char* mode : {"wal", "delete"}) {
    const std::string db = mount_ + "/a/" + mode + ".db";
    CreateDatabase(db, {.journal_mode = mode});
    Actor writer;
    writer.Open("c", db);
    writer.Exec("c", "begin immediate");
    EXPECT_EQ(LookInAnActor("select pid, state from lockscope_connections('" + db + "')"),
              (std::vector<Row>{{std::to_string(writer.pid()), "writing"}}))
        << mode;
    EXPECT_EQ(
        LookInAnActor("select count(distinct pid), count(*) from lockscope_locks('" + db + "')"),
        (std::vector<Row>{{"1", mode == std::string("wal") ? "4" : "1"}}));
  }
}

TEST_F(BtrfsTest, EqualInodesInTwoSubvolumesAreNotMixed) {
  const std::string a = mount_ + "/a/x.db";
  const std::string b = mount_ + "/b/x.db";
  CreateDatabase(a, {.journal_mode = "delete"});
  CreateDatabase(b, {.journal_mode = "delete"});
  ASSERT_EQ(Inode(a), Inode(b));
  Actor writer;
  writer.Open("c", a);
  writer.Exec("c", "begin immediate");
  Actor reader;
  reader.Open("c", b);
  const std::string of_b = "select pid, mode from lockscope_locks('" + b + "')";
  EXPECT_EQ(LookInAnActor(of_b), std::vector<Row>());
  reader.Exec("c", "begin; select count(*) from t");
  EXPECT_EQ(LookInAnActor(of_b), (std::vector<Row>{{std::to_string(reader.pid()), "SHARED"}}));
  EXPECT_EQ(LookInAnActor("select pid, mode from lockscope_locks('" + a + "')"),
            (std::vector<Row>{{std::to_string(writer.pid()), "RESERVED"}}));
}

// Both held by one process: only the inode of the descriptor tells them apart.
TEST_F(BtrfsTest, EqualInodesHeldByOneProcessAreNotMixed) {
  const std::string a = mount_ + "/a/x.db";
  const std::string b = mount_ + "/b/x.db";
  CreateDatabase(a, {.journal_mode = "delete"});
  CreateDatabase(b, {.journal_mode = "delete"});
  ASSERT_EQ(Inode(a), Inode(b));
  Actor both;
  both.Open("a", a);
  both.Open("b", b);
  both.Exec("a", "begin immediate");
  both.Exec("b", "begin; select count(*) from t");
  const std::string pid = std::to_string(both.pid());
  EXPECT_EQ(LookInAnActor("select pid, mode from lockscope_locks('" + a + "')"),
            (std::vector<Row>{{pid, "RESERVED"}}));
  EXPECT_EQ(LookInAnActor("select pid, mode from lockscope_locks('" + b + "')"),
            (std::vector<Row>{{pid, "SHARED"}}));
}

TEST_F(BtrfsTest, OwnLocksAreVerified) {
  const std::string db = mount_ + "/a/x.db";
  CreateDatabase(db);
  Actor own;
  own.Load("m", LOCKSCOPE_LOADABLE_FILE);
  own.Open("c", db);
  own.Exec("c", "begin immediate");
  const std::string sql =
      "select count(*), sum(verified), sum(source = 'shim')"
      "  from lockscope_locks('" +
      db + "')";
  EXPECT_EQ(own.Query("m", sql), (std::vector<Row>{{"4", "4", "4"}}));
  own.StrayClose(db + "-shm");
  EXPECT_EQ(own.Query("m", sql), (std::vector<Row>{{"4", "1", "4"}}));
}

// ---- waiting in the kernel ---------------------------------------------------------------------

// Waits for a POSIX write lock on one byte, as no stock SQLite does, till it is killed.
pid_t WaitForByte(const std::string& path, std::uint64_t byte) {
  const std::string code = "import fcntl, os; fd = os.open(r'" + path +
                           "', os.O_RDWR); fcntl.lockf(fd, fcntl.LOCK_EX, "
                           "1, " +
                           std::to_string(byte) + ")";
  return Spawn({"/usr/bin/python3", "-c", code}, {});
}

TEST(KernelWaiterTest, RequestThatWaitsIsNotGranted) {
  TempDir dir;
  const std::string db = dir / "a.db";
  CreateDatabase(db);
  Actor writer;
  writer.Open("c", db);
  writer.Exec("c", "begin immediate");
  pid_t waiter = -1;
  try {
    waiter = WaitForByte(db + "-shm", kWalWriteByte);
  } catch (const std::exception&) {
    GTEST_SKIP() << "no python3 to wait for a lock";
  }
  const Looker looker;
  EXPECT_TRUE(Eventually([&] { return !looker.Locks(db, waiter).empty(); }));
  EXPECT_EQ(looker.Locks(db, waiter), (Lines{"wal-write EXCLUSIVE 120-120 waits"}));
  EXPECT_EQ(looker.State(db, waiter), "waiting");
  EXPECT_EQ(looker.State(db, writer.pid()), "writing");
  kill(waiter, SIGKILL);
  waitpid(waiter, nullptr, 0);
  EXPECT_EQ(looker.Locks(db, waiter), Lines());
}

}  // namespace
}  // namespace lockscope::testing
