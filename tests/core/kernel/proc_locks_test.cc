// POSIX locks as the kernel lists them:
//   lines      of /proc/locks, granted and waiting; other kinds; everything that may be wrong
//   texts      of /proc/locks and of fdinfo
//   the kernel locks that this process and a child really hold, merge, and wait for
//   confirming a pid: has it the file open, does it hold a lock on it
//   garbage    random lines from a printed seed

#include "kernel/proc_locks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <random>
#include <thread>

#include "kernel/mounts.h"

namespace lockscope::kernel {
namespace {

TEST(ParseLockLineTest, ReadsAGrantedLock) {
  const auto lock =
      ParseLockLine("1: POSIX  ADVISORY  READ 1234 fe:00:12345 1073741826 1073742335");
  ASSERT_TRUE(lock);
  EXPECT_FALSE(lock->write);
  EXPECT_FALSE(lock->waiting);
  EXPECT_EQ(lock->pid, 1234);
  EXPECT_EQ(lock->device, makedev(0xfe, 0));
  EXPECT_EQ(lock->inode, 12345U);
  EXPECT_EQ(lock->bytes, kSharedRange);
}

TEST(ParseLockLineTest, ReadsAWaiter) {
  const auto lock = ParseLockLine("1: -> POSIX  ADVISORY  WRITE 77 fe:00:12345 120 120");
  ASSERT_TRUE(lock);
  EXPECT_TRUE(lock->waiting);
  EXPECT_TRUE(lock->write);
  EXPECT_EQ(lock->pid, 77);
}

TEST(ParseLockLineTest, ReadsAWaiterBehindAWaiter) {
  const auto lock = ParseLockLine("1:    -> POSIX  ADVISORY  WRITE 77 fe:00:12345 120 120");
  ASSERT_TRUE(lock);
  EXPECT_TRUE(lock->waiting);
}

TEST(ParseLockLineTest, ReadsEofAsTheLastByteThereCanBe) {
  const auto lock = ParseLockLine("12: POSIX  ADVISORY  WRITE 5 00:1f:7 0 EOF");
  ASSERT_TRUE(lock);
  EXPECT_EQ(lock->bytes, (ByteRange{0, UINT64_MAX}));
}

TEST(ParseLockLineTest, ReadsDevicesAsHexAndInodesAsDecimal) {
  const auto lock = ParseLockLine("1: POSIX  ADVISORY  READ 5 103:abc:18446744073709551615 1 2");
  ASSERT_TRUE(lock);
  EXPECT_EQ(lock->device, makedev(0x103, 0xabc));
  EXPECT_EQ(lock->inode, UINT64_MAX);
}

TEST(ParseLockLineTest, ReadsMandatoryLocksOfOlderKernels) {
  EXPECT_TRUE(ParseLockLine("1: POSIX  MANDATORY READ 5 fe:00:1 1 2"));
}

TEST(ParseLockLineTest, IgnoresFieldsOfAKernelToCome) {
  EXPECT_TRUE(ParseLockLine("1: POSIX  ADVISORY  READ 5 fe:00:1 1 2 and more\n"));
}

TEST(ParseLockLineTest, RefusesLocksThatAreNotSqlites) {
  for (const char* line : {
           "1: OFDLCK ADVISORY  READ  -1 fe:00:12345 120 120",
           "1: FLOCK  ADVISORY  WRITE 1234 fe:00:12345 0 EOF",
           "1: LEASE  ACTIVE    READ  1234 fe:00:12345 0 EOF",
           "1: DELEG  ACTIVE    READ  1234 fe:00:12345 0 EOF",
           "1: ACCESS ADVISORY  READ  1234 fe:00:12345 0 EOF",
       }) {
    EXPECT_FALSE(ParseLockLine(line)) << line;
  }
}

TEST(ParseLockLineTest, RefusesOwnersThatAreNobody) {
  EXPECT_FALSE(ParseLockLine("1: POSIX  ADVISORY  READ 0 fe:00:1 1 2"));
  EXPECT_FALSE(ParseLockLine("1: POSIX  ADVISORY  READ -1 fe:00:1 1 2"));
  EXPECT_FALSE(ParseLockLine("1: POSIX  ADVISORY  READ 99999999999999999999 fe:00:1 1 2"));
}

TEST(ParseLockLineTest, RefusesWhatDoesNotParse) {
  for (const char* line : {
           "",
           " ",
           "1:",
           "1: ->",
           "1: POSIX",
           "POSIX  ADVISORY  READ 5 fe:00:1 1 2",
           "1 POSIX  ADVISORY  READ 5 fe:00:1 1 2",
           "x: POSIX  ADVISORY  READ 5 fe:00:1 1 2",
           ": POSIX  ADVISORY  READ 5 fe:00:1 1 2",
           "1: POSIX  ADVISORY  UNLCK 5 fe:00:1 1 2",
           "1: POSIX  *NOINODE* READ 5 <none>:0 1 2",
           "1: POSIX  ADVISORY  READ 5 fe:00 1 2",
           "1: POSIX  ADVISORY  READ 5 fe 1 2",
           "1: POSIX  ADVISORY  READ 5 :: 1 2",
           "1: POSIX  ADVISORY  READ 5 fe:00:1:1 1 2",
           "1: POSIX  ADVISORY  READ 5 fg:00:1 1 2",
           "1: POSIX  ADVISORY  READ 5 100000000:00:1 1 2",
           "1: POSIX  ADVISORY  READ 5 fe:00:18446744073709551616 1 2",
           "1: POSIX  ADVISORY  READ 5 fe:00:1 1",
           "1: POSIX  ADVISORY  READ 5 fe:00:1 2 1",
           "1: POSIX  ADVISORY  READ 5 fe:00:1 -1 1",
           "1: POSIX  ADVISORY  READ 5 fe:00:1 EOF EOF",
           "1: POSIX  ADVISORY  READ 5 fe:00:1 1 eof",
       }) {
    EXPECT_FALSE(ParseLockLine(line)) << line;
  }
}

TEST(ParseProcLocksTest, SkipsWhatItCannotRead) {
  const auto locks = ParseProcLocks(
      "1: POSIX  ADVISORY  WRITE 10 fe:00:7 120 120\n"
      "1: -> POSIX  ADVISORY  WRITE 11 fe:00:7 120 120\n"
      "garbage\n\n"
      "2: FLOCK  ADVISORY  WRITE 12 fe:00:7 0 EOF\n"
      "3: POSIX  ADVISORY  READ 13 fe:00:7 128 128");
  ASSERT_EQ(locks.size(), 3U);
  EXPECT_EQ(locks[0].pid, 10);
  EXPECT_EQ(locks[1].pid, 11);
  EXPECT_EQ(locks[2].pid, 13);
}

TEST(ParseFdinfoLocksTest, ReadsOnlyTheLockLines) {
  const auto locks = ParseFdinfoLocks(
      "pos:\t0\nflags:\t0100002\nmnt_id:\t27\nino:\t7\n"
      "lock:\t1: POSIX  ADVISORY  READ 10 fe:00:7 123 124\n"
      "lock:\t2: OFDLCK ADVISORY  READ -1 fe:00:7 1 1\n"
      "1: POSIX  ADVISORY  READ 10 fe:00:7 1 1\n"
      "lock:\n");
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0].bytes, (ByteRange{123, 124}));
}

TEST(ParseProcLocksTest, NeverCrashesOnWhatItReads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  constexpr std::string_view kLine = "lock:\t1: -> POSIX  ADVISORY  WRITE 77 fe:00:12345 120 EOF\n";
  for (int round = 0; round < 20000; ++round) {
    std::string text(kLine);
    for (auto change = random() % 6; change > 0; --change) {
      text[random() % text.size()] = static_cast<char>(random());
    }
    text.resize(random() % (text.size() + 1));
    for (const PosixLock& lock : ParseProcLocks(text)) ASSERT_LE(lock.bytes.first, lock.bytes.last);
    for (const PosixLock& lock : ParseFdinfoLocks(text)) ASSERT_GT(lock.pid, 0);
  }
}

// A file to be locked, and what the kernel lists for it.
class KernelLocksTest : public testing::Test {
 protected:
  KernelLocksTest() : fd_(mkstemp(path_.data())) {
    EXPECT_GE(fd_, 0);
    EXPECT_EQ(fstat(fd_, &status_), 0);
    device_ = FindLockDevice(path_, status_.st_dev).device;
  }
  ~KernelLocksTest() override {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    close(fd_);
    unlink(path_.c_str());
  }

  static bool SetLock(int fd, int command, short type, off_t first, off_t length) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_start = first;
    lock.l_len = length;
    return fcntl(fd, command, &lock) == 0;
  }
  bool Lock(short type, off_t first, off_t length) const {
    return SetLock(fd_, F_SETLK, type, first, length);
  }

  // Forks a child that opens the file, runs `body(fd)`, says so, and waits to be killed.
  template <class Body>
  void StartChild(const Body& body) {
    int ready[2] = {};
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    child_ = fork();
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
      if (write(ready[1], "r", 1) != 1) _exit(1);
      body(fd);
      if (write(ready[1], "d", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ready[1]);
    ready_ = ready[0];
    WaitForChild();
  }
  void WaitForChild() const {
    char byte = 0;
    ASSERT_EQ(read(ready_, &byte, 1), 1);
  }

  // The file's locks in /proc/locks.
  std::vector<PosixLock> Listed() const {
    std::vector<PosixLock> ours;
    for (const PosixLock& lock : ReadProcLocks().value_or(std::vector<PosixLock>{})) {
      if (lock.device == device_ && lock.inode == status_.st_ino) ours.push_back(lock);
    }
    return ours;
  }

  std::string path_ = testing::TempDir() + "proc_locks_XXXXXX";
  int fd_ = -1;
  struct stat status_ = {};
  std::uint64_t device_ = 0;
  pid_t child_ = -1;
  int ready_ = -1;
};

TEST_F(KernelLocksTest, ListsTheLocksOfThisProcess) {
  ASSERT_TRUE(Lock(F_WRLCK, 120, 1));
  const auto locks = Listed();
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_TRUE(locks[0].write);
  EXPECT_FALSE(locks[0].waiting);
  EXPECT_EQ(locks[0].pid, getpid());
  EXPECT_EQ(locks[0].bytes, (ByteRange{120, 120}));
}

TEST_F(KernelLocksTest, ShowsNeighboursMerged) {
  ASSERT_TRUE(Lock(F_RDLCK, 126, 1));
  ASSERT_TRUE(Lock(F_RDLCK, 128, 1));
  ASSERT_TRUE(Lock(F_RDLCK, 127, 1));
  const auto locks = Listed();
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0].bytes, (ByteRange{126, 128}));
}

TEST_F(KernelLocksTest, LeavesOutOpenFileDescriptionLocks) {
  ASSERT_TRUE(SetLock(fd_, F_OFD_SETLK, F_WRLCK, 1, 1));
  EXPECT_TRUE(Listed().empty());
}

TEST_F(KernelLocksTest, ListsALockToTheEndOfTheFile) {
  ASSERT_TRUE(Lock(F_WRLCK, 10, 0));
  const auto locks = Listed();
  ASSERT_EQ(locks.size(), 1U);
  EXPECT_EQ(locks[0].bytes, (ByteRange{10, UINT64_MAX}));
}

TEST_F(KernelLocksTest, OwnLocksAreThoseOfTheDescriptorsFile) {
  ASSERT_TRUE(Lock(F_RDLCK, 123, 2));
  const auto locks = ReadOwnLocks(fd_);
  ASSERT_TRUE(locks);
  ASSERT_EQ(locks->size(), 1U);
  EXPECT_EQ(locks->front().bytes, (ByteRange{123, 124}));
  EXPECT_EQ(locks->front().pid, getpid());
}

TEST_F(KernelLocksTest, OwnLocksLeaveOutThoseOfOthers) {
  StartChild([](int fd) { SetLock(fd, F_SETLK, F_RDLCK, 123, 1); });
  WaitForChild();
  EXPECT_EQ(Listed().size(), 1U);
  const auto locks = ReadOwnLocks(fd_);
  ASSERT_TRUE(locks);
  EXPECT_TRUE(locks->empty());
}

TEST_F(KernelLocksTest, OwnLocksAreNullWithoutADescriptor) { EXPECT_FALSE(ReadOwnLocks(-1)); }

TEST_F(KernelLocksTest, ShowsWhoWaits) {
  ASSERT_TRUE(Lock(F_WRLCK, 120, 1));
  StartChild([](int fd) { SetLock(fd, F_SETLKW, F_WRLCK, 120, 1); });
  std::vector<PosixLock> locks;
  for (int i = 0; i < 1000 && locks.size() < 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    locks = Listed();
  }
  ASSERT_EQ(locks.size(), 2U);
  EXPECT_EQ(locks[0].pid, getpid());
  EXPECT_FALSE(locks[0].waiting);
  EXPECT_EQ(locks[1].pid, child_);
  EXPECT_TRUE(locks[1].waiting);
  EXPECT_EQ(ProcessHasOpen(child_, status_.st_dev, status_.st_ino), true);
  EXPECT_EQ(ProcessHoldsLock(child_, status_.st_dev, status_.st_ino), false);
}

TEST_F(KernelLocksTest, ConfirmsAChildThatHoldsALock) {
  StartChild([](int fd) { SetLock(fd, F_SETLK, F_RDLCK, 123, 1); });
  WaitForChild();
  EXPECT_EQ(ProcessHasOpen(child_, status_.st_dev, status_.st_ino), true);
  EXPECT_EQ(ProcessHoldsLock(child_, status_.st_dev, status_.st_ino), true);
}

TEST_F(KernelLocksTest, DeniesAnotherFile) {
  ASSERT_TRUE(Lock(F_WRLCK, 0, 1));
  EXPECT_EQ(ProcessHoldsLock(getpid(), status_.st_dev, status_.st_ino), true);
  EXPECT_EQ(ProcessHasOpen(getpid(), status_.st_dev + 1, status_.st_ino), false);
  EXPECT_EQ(ProcessHasOpen(getpid(), status_.st_dev, UINT64_MAX), false);
  EXPECT_EQ(ProcessHoldsLock(getpid(), status_.st_dev, UINT64_MAX), false);
}

TEST_F(KernelLocksTest, ConfirmsAFileThatWasDeleted) {
  ASSERT_TRUE(Lock(F_WRLCK, 0, 1));
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_EQ(ProcessHoldsLock(getpid(), status_.st_dev, status_.st_ino), true);
}

TEST_F(KernelLocksTest, CannotTellOfNobody) {
  EXPECT_FALSE(ProcessHasOpen(0, status_.st_dev, status_.st_ino).has_value());
  EXPECT_FALSE(ProcessHasOpen(INT64_MAX, status_.st_dev, status_.st_ino).has_value());
  EXPECT_FALSE(ProcessHoldsLock(-1, status_.st_dev, status_.st_ino).has_value());
}

TEST_F(KernelLocksTest, LookingDropsNoLock) {
  ASSERT_TRUE(Lock(F_WRLCK, 120, 1));
  ASSERT_TRUE(ReadProcLocks());
  ASSERT_TRUE(ReadOwnLocks(fd_));
  ASSERT_EQ(ProcessHoldsLock(getpid(), status_.st_dev, status_.st_ino), true);
  EXPECT_EQ(Listed().size(), 1U);
}

TEST_F(KernelLocksTest, ReadsALongListWhole) {
  constexpr off_t kLocks = 1000;
  for (off_t i = 0; i < kLocks; ++i) ASSERT_TRUE(Lock(F_RDLCK, 2 * i, 1));
  EXPECT_EQ(Listed().size(), static_cast<std::size_t>(kLocks));
}

}  // namespace
}  // namespace lockscope::kernel
