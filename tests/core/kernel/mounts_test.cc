// Which device /proc/locks prints:
//   MountDevice     a text like mountinfo, with everything that may be wrong in it
//   FindLockDevice  real files, and the fallback to st_dev

#include "kernel/mounts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>

#include "kernel/proc_locks.h"

namespace lockscope::kernel {
namespace {

constexpr std::string_view kMountinfo =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "27 1 254:0 / / rw,relatime shared:1 master:7 - ext4 /dev/root rw\n"
    "122 27 0:300 /sub /data\\040two rw - btrfs /dev/vdb rw,subvol=/sub\n";

TEST(MountDeviceTest, FindsTheMountByItsFirstField) {
  EXPECT_EQ(MountDevice(kMountinfo, 22), makedev(0, 21));
  EXPECT_EQ(MountDevice(kMountinfo, 27), makedev(254, 0));
}

TEST(MountDeviceTest, ReadsMinorsAbove255AsDecimal) {
  EXPECT_EQ(MountDevice(kMountinfo, 122), makedev(0, 300));
}

TEST(MountDeviceTest, IsNullForAnUnknownMount) {
  EXPECT_FALSE(MountDevice(kMountinfo, 1));
  EXPECT_FALSE(MountDevice(kMountinfo, 2));  // no prefix of 22 or 27
  EXPECT_FALSE(MountDevice("", 22));
}

TEST(MountDeviceTest, ReadsALastLineWithoutLineFeed) {
  EXPECT_EQ(MountDevice("5 1 8:1", 5), makedev(8, 1));
}

TEST(MountDeviceTest, IsNullForALineThatCannotBe) {
  for (const char* line : {"5", "5 1", "5 1 8", "5 1 :", "5 1 8:", "5 1 :1", "5 1 a:b", "5 1 8:1:2",
                           "5 1 99999999999:1", "5 1 -8:1"}) {
    EXPECT_FALSE(MountDevice(line, 5)) << line;
  }
}

TEST(MountDeviceTest, SkipsGarbageBeforeTheLine) {
  EXPECT_EQ(MountDevice("\n\n x y z\n18446744073709551616 1 1:1\n\xff\n5 1 8:1 /\n", 5),
            makedev(8, 1));
}

TEST(FindLockDeviceTest, TakesABlockDevicesNumberAsItIs) {
  const LockDevice device = FindLockDevice("/no/such/path", makedev(8, 1));
  EXPECT_EQ(device.device, makedev(8, 1));
  EXPECT_FALSE(device.shared);
}

TEST(FindLockDeviceTest, FallsBackToStDev) {
  const LockDevice device = FindLockDevice("/no/such/path", makedev(0, 77));
  EXPECT_EQ(device.device, makedev(0, 77));
  EXPECT_FALSE(device.shared);
}

TEST(FindLockDeviceTest, AgreesWithStDevOnProc) {
  struct stat status = {};
  ASSERT_EQ(stat("/proc/self/status", &status), 0);
  ASSERT_EQ(major(status.st_dev), 0U);
  const LockDevice device = FindLockDevice("/proc/self/status", status.st_dev);
  EXPECT_EQ(device.device, status.st_dev);
  EXPECT_FALSE(device.shared);
}

TEST(FindLockDeviceTest, SeesADeviceThatIsNotStDev) {
  // As on btrfs: an anonymous st_dev of its own, and a mount that says otherwise.
  struct stat status = {};
  ASSERT_EQ(stat("/proc/self/status", &status), 0);
  const LockDevice device = FindLockDevice("/proc/self/status", makedev(0, 0xfffff));
  EXPECT_EQ(device.device, status.st_dev);
  EXPECT_TRUE(device.shared);
}

TEST(FindLockDeviceTest, IsTheDeviceThatTheKernelPrints) {
  std::string path = testing::TempDir() + "mounts_XXXXXX";
  const int fd = mkstemp(path.data());
  ASSERT_GE(fd, 0);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(fd, F_SETLK, &lock), 0);
  struct stat status = {};
  ASSERT_EQ(fstat(fd, &status), 0);
  const auto locks = ReadOwnLocks(fd);
  ASSERT_TRUE(locks);
  ASSERT_EQ(locks->size(), 1U);
  EXPECT_EQ(FindLockDevice(path, status.st_dev).device, locks->front().device);
  unlink(path.c_str());
  close(fd);
}

}  // namespace
}  // namespace lockscope::kernel
