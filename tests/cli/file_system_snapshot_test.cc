// A snapshot of the file system, under `lockscope exec --kind write`. Skipped where the machine
// cannot make a btrfs on a loop device.
#include <gtest/gtest.h>

#include <filesystem>

#include "running.h"
#include "support/actor.h"
#include "writing.h"

namespace lockscope::testing {
namespace {

class FileSystemSnapshotTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string image = dir_ / "image";
    std::filesystem::create_directory(mount_);
    if (!Run({"truncate", "--size=128M", image}) || !Run({"mkfs.btrfs", "--quiet", image}) ||
        !Run({"mount", "-o", "loop", image, mount_})) {
      GTEST_SKIP() << "cannot make a btrfs here";
    }
    mounted_ = true;
    ASSERT_TRUE(Run({"btrfs", "subvolume", "create", mount_ + "/data"}));
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

  TempDir dir_;
  std::string mount_ = dir_ / "mount";
  bool mounted_ = false;
};

TEST_F(FileSystemSnapshotTest, OfBtrfsIsAWholeCopyWhileOthersWrite) {
  for (const char* mode : {"wal", "delete"}) {
    const std::string name = std::string(mode) + ".db";
    const std::string path = mount_ + "/data/" + name;
    CreateDatabase(path, {.journal_mode = mode});
    const Writing writing(path);
    for (int round = 0; round < 5; ++round) {
      const std::string snapshot = mount_ + "/" + mode + std::to_string(round);
      const long before = writing.commits();
      const ProgramResult result =
          Lockscope({"exec", "--kind", "write", "--timeout", "20", "--db", path, "--", "btrfs",
                     "subvolume", "snapshot", "-r", mount_ + "/data", snapshot});
      ASSERT_EQ(result.exit_code, 0) << result;
      EXPECT_TRUE(Eventually([&] { return writing.commits() > before; }));
      // Of a read-only file system SQLite cannot recover anything.
      const std::string copy = dir_ / (mode + std::to_string(round) + ".db");
      for (const char* suffix : {"", "-wal", "-journal"}) {
        const std::string file = snapshot + "/" + name + suffix;
        if (Exists(file)) CopyFile(file, copy + suffix);
      }
      EXPECT_EQ(IntegrityCheck(copy), "ok");
      Actor reader;
      reader.Open("c", copy);
      EXPECT_EQ(reader.Exec("c", "select count(*), sum(v) from t"), (Row{"200", "0"}));
    }
  }
}

// Blocks are shared, not copied, where the file system can.
TEST_F(FileSystemSnapshotTest, TheExactCopierWorksWhereBlocksCanBeShared) {
  const std::string path = mount_ + "/data/a.db";
  CreateDatabase(path);
  Actor user;
  user.Open("c", path);
  user.Exec("c", "update t set v = 0 where id = 1");
  const std::string copy = mount_ + "/copy";
  const ProgramResult result = RunProgram(
      {.argv = {LOCKSCOPE_COMMAND, "exec", "--db", path, "--", "sh", "-c",
                "exec \"$0\" copy \"$LOCKSCOPE_MANIFEST\" \"$1\"", LOCKSCOPE_COMMAND, copy}});
  ASSERT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(FileSize(copy + "/a.db"), FileSize(path));
  EXPECT_EQ(FileSize(copy + "/a.db-wal"), FileSize(path + "-wal"));
  EXPECT_EQ(IntegrityCheck(copy + "/a.db"), "ok");
}

}  // namespace
}  // namespace lockscope::testing
