// unsafe-filesystem: which types are, and what is said of a database on one.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "hazards_fixture.h"
#include "kernel/file_systems.h"
#include "kernel/mounts.h"

namespace lockscope::testing {
namespace {

using kernel::LockSafety;
using kernel::SafetyOf;

TEST(FileSystemTest, TypesWhoseLocksDoNotReachEverybody) {
  for (const char* type : {"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "vboxsf", "afs",
                           "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.vmhgfs-fuse"}) {
    EXPECT_EQ(SafetyOf(type), LockSafety::kUnsafe) << type;
  }
}

TEST(FileSystemTest, TypesThatDependOnHowTheyAreSetUp) {
  for (const char* type : {"fuse", "fuse.", "fuse.bindfs", "fuse.glusterfs", "fuseblk", "ceph",
                           "lustre", "gfs2", "ocfs2"}) {
    EXPECT_EQ(SafetyOf(type), LockSafety::kDoubtful) << type;
  }
}

TEST(FileSystemTest, TypesOfOneMachine) {
  for (const char* type : {"ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "bcachefs",
                           "vfat", "ntfs3", "nfsd", "9pfs", "fusectl", ""}) {
    EXPECT_EQ(SafetyOf(type), LockSafety::kSafe) << type;
  }
}

TEST(MountTypeTest, StandsBehindTheHyphen) {
  constexpr std::string_view kMountinfo =
      "27 1 254:0 / / rw,relatime shared:1 master:7 - ext4 /dev/root rw\n"
      "28 27 0:40 / /mnt/a\\040-\\040b rw - fuse.sshfs host:/ rw\n"
      "29 27 0:41 / /mnt rw -\n"
      "30 27 0:42 / /mnt rw";
  EXPECT_EQ(kernel::MountType(kMountinfo, 27), "ext4");
  EXPECT_EQ(kernel::MountType(kMountinfo, 28), "fuse.sshfs");
  EXPECT_FALSE(kernel::MountType(kMountinfo, 29));
  EXPECT_FALSE(kernel::MountType(kMountinfo, 30));
  EXPECT_FALSE(kernel::MountType(kMountinfo, 2));
  EXPECT_FALSE(kernel::MountType("", 27));
}

TEST(FileSystemTest, TheRealOneIsTold) {
  EXPECT_EQ(kernel::FileSystemOf("/proc/self/stat"), "proc");
  EXPECT_FALSE(kernel::FileSystemOf("/no such file"));
}

// ---- a real one ----

// A file system in user space of two files: what the folder `backing` has as a.db, and the ready
// file. Read-only; the kernel keeps its locks by itself.
constexpr const char* kFuse = R"(
import ctypes, os, struct, sys
backing, mount, kind, ready = sys.argv[1:5]
libc = ctypes.CDLL(None, use_errno=True)
fuse = os.open('/dev/fuse', os.O_RDWR)
options = 'fd=%d,rootmode=40000,user_id=%d,group_id=%d,allow_other' % (fuse, os.getuid(), os.getgid())
if libc.mount(b'lockscope-test', mount.encode(), kind.encode(), 0, options.encode()) != 0:
    sys.exit('mount: ' + os.strerror(ctypes.get_errno()))
file = os.open(backing + '/a.db', os.O_RDONLY)

def attributes(node):
    facts = os.fstat(file)
    size, mode = (0, 0o40755) if node == 1 else (facts.st_size, 0o100644)
    return struct.pack('<6Q10I', node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

def answer(operation, node, body):
    if operation == 26:  # INIT
        return struct.pack('<IIIIHHIIHHI7I', 7, 31, 65536, 0, 8, 6, 65536, 1, 16, 0, 0, *[0] * 7)
    if operation == 1:  # LOOKUP
        if body.rstrip(b'\0') != b'a.db':
            return 2
        return struct.pack('<4Q2I', 2, 0, 1, 1, 0, 0) + attributes(2)
    if operation == 3:  # GETATTR
        return struct.pack('<QII', 1, 0, 0) + attributes(node)
    if operation == 14:  # OPEN
        return struct.pack('<QII', 1, 0, 0)
    if operation == 15:  # READ
        _, offset, size = struct.unpack_from('<QQI', body)
        return os.pread(file, size, offset)
    if operation in (18, 25):  # RELEASE, FLUSH
        return b''
    return 38

open(ready, 'w').close()
while True:
    request = os.read(fuse, 1 << 20)
    length, operation, unique, node = struct.unpack_from('<IIQQ', request)
    if operation in (2, 36, 42):  # FORGET, INTERRUPT, BATCH_FORGET: nobody waits
        continue
    reply = answer(operation, node, request[40:length])
    error = 0
    if isinstance(reply, int):
        error, reply = -reply, b''
    os.write(fuse, struct.pack('<IiQ', 16 + len(reply), error, unique) + reply)
)";

class FuseTest : public HazardsTest {
 protected:
  FuseTest() { Make("delete"); }
  ~FuseTest() override { Unmount(); }
  void Unmount() { umount2(mount_.c_str(), MNT_DETACH); }

  std::string mount_ = dir_ / "mnt";
};

TEST_F(FuseTest, ADatabaseOnOneIsTold) {
  ASSERT_EQ(mkdir(mount_.c_str(), 0755), 0);
  struct Case {
    const char* type;
    const char* severity;
  };
  for (const Case& on : {Case{"fuse", "warning"}, Case{"fuse.sshfs", "danger"}}) {
    path_ = dir_ / "a.db";
    EXPECT_EQ(All(), Lines{});  // here
    {
      const std::string ready = dir_ / on.type;
      const PythonProcess server(kFuse, {dir_ / "", mount_, on.type, ready}, ready);
      if (!server.Ready(std::chrono::seconds(5))) GTEST_SKIP() << "no FUSE can be mounted here";
      path_ = mount_ + "/a.db";
      EXPECT_EQ(All(), Lines{Row(std::string("unsafe-filesystem ") + on.severity, "NULL")});
      ExpectText(std::string("lies on ") + on.type + ".");
      Unmount();
    }
  }
}

}  // namespace
}  // namespace lockscope::testing
