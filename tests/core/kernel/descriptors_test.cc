// Reading a database's files inside a process that may be using them:
//   StatPath            files, links, what is not there
//   OpenFiles           which descriptors of which file, deleted ones too; no sockets, no
//   directories ReadableDescriptor  borrowed, kept, opened anew; what it refuses; that it never
//   drops a lock ReadAt              whole, short, and through a number that has become another
//   file ProbeLock           conflicts with others, ourselves, and open-file-description locks

#include "kernel/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <thread>

#include "kernel/proc_locks.h"

namespace lockscope::kernel {
namespace {

bool SetLock(int fd, int command, short type, off_t first, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_start = first;
  lock.l_len = length;
  return fcntl(fd, command, &lock) == 0;
}

std::size_t OwnLockCount(int fd) {
  return ReadOwnLocks(fd).value_or(std::vector<PosixLock>{}).size();
}

// A directory of its own, emptied at the end.
class DescriptorsTest : public testing::Test {
 protected:
  DescriptorsTest() {
    std::string pattern = testing::TempDir() + "descriptors_XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~DescriptorsTest() override { std::filesystem::remove_all(directory_); }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }

  std::string MakeFile(const std::string& name, std::string_view content) const {
    std::FILE* const file = std::fopen(Path(name).c_str(), "we");
    EXPECT_NE(file, nullptr);
    std::fwrite(content.data(), 1, content.size(), file);
    std::fclose(file);
    return Path(name);
  }
  static FileId IdOf(const std::string& path) {
    const auto status = StatPath(path);
    EXPECT_TRUE(status) << path;
    return status ? status->id : FileId{};
  }
  static int Open(const std::string& path, int flags) {
    const int fd = open(path.c_str(), flags | O_CLOEXEC);
    EXPECT_GE(fd, 0) << path;
    return fd;
  }
  // What ReadableDescriptor() gives, -1 for a failure.
  static int Readable(const std::string& path, const FileId& id) {
    const auto result = ReadableDescriptor(path, id, OpenFiles::Scan());
    return result.ok() ? result.value() : -1;
  }
  static std::string Read(int fd, const FileId& id, std::uint64_t offset, std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    const auto count = ReadAt(fd, id, offset, bytes);
    if (!count) return "error";
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(*count)};
  }

  std::string directory_;
};

using StatPathTest = DescriptorsTest;
using OpenFilesTest = DescriptorsTest;
using ReadableDescriptorTest = DescriptorsTest;
using ReadAtTest = DescriptorsTest;
using ProbeLockTest = DescriptorsTest;

TEST_F(StatPathTest, TellsSizeKindAndLinks) {
  const std::string path = MakeFile("a", "12345");
  std::filesystem::create_hard_link(path, Path("b"));
  const auto status = StatPath(path);
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->id.known());
  EXPECT_EQ(status->bytes, 5U);
  EXPECT_TRUE(S_ISREG(status->mode));
  EXPECT_EQ(status->links, 2U);
  EXPECT_EQ(IdOf(Path("b")), status->id);
}

TEST_F(StatPathTest, FollowsLinks) {
  const std::string path = MakeFile("a", "");
  std::filesystem::create_symlink(path, Path("link"));
  EXPECT_EQ(IdOf(Path("link")), IdOf(path));
}

TEST_F(StatPathTest, SetsErrnoWhereThereIsNothing) {
  EXPECT_FALSE(StatPath(Path("none")));
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(OpenFilesTest, FindsEveryDescriptorLowestFirst) {
  const std::string path = MakeFile("a", "");
  const int one = Open(path, O_RDONLY);
  const int two = Open(path, O_WRONLY);
  const OpenFiles files = OpenFiles::Scan();
  const auto found = files.Find(IdOf(path));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0], std::min(one, two));
  EXPECT_EQ(found[1], std::max(one, two));
  close(one);
  close(two);
}

TEST_F(OpenFilesTest, FindsADeletedFile) {
  const std::string path = MakeFile("a", "");
  const FileId id = IdOf(path);
  const int fd = Open(path, O_RDONLY);
  unlink(path.c_str());
  EXPECT_EQ(OpenFiles::Scan().Find(id).size(), 1U);
  close(fd);
}

TEST_F(OpenFilesTest, FindsNothingOfAFileThatIsNotOpen) {
  EXPECT_TRUE(OpenFiles::Scan().Find(IdOf(MakeFile("a", ""))).empty());
  EXPECT_TRUE(OpenFiles{}.Find({1, 1}).empty());
}

TEST_F(OpenFilesTest, LeavesOutWhatIsNoRegularFile) {
  const int directory = Open(directory_, O_RDONLY | O_DIRECTORY);
  EXPECT_TRUE(OpenFiles::Scan().Find(IdOf(directory_)).empty());
  close(directory);
}

TEST_F(OpenFilesTest, LeavesNoDescriptorBehind) {
  const int before = Open(directory_, O_RDONLY);
  close(before);
  const OpenFiles files = OpenFiles::Scan();
  const int after = Open(directory_, O_RDONLY);
  close(after);
  EXPECT_EQ(before, after);
}

TEST_F(ReadableDescriptorTest, BorrowsOneThatTheProcessHas) {
  const std::string path = MakeFile("a", "");
  const int reading = Open(path, O_RDWR);
  EXPECT_EQ(Readable(path, IdOf(path)), reading);
  close(reading);
}

TEST_F(ReadableDescriptorTest, BorrowsNoneThatCannotBeRead) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int writing = Open(path, O_WRONLY);
  const int nothing = Open(path, O_PATH);
  const int fd = Readable(path, id);
  EXPECT_NE(fd, writing);
  EXPECT_NE(fd, nothing);
  EXPECT_EQ(Read(fd, id, 0, 10), "abc");
  close(writing);
  close(nothing);
}

TEST_F(ReadableDescriptorTest, BorrowsTheReadableOneOfSeveral) {
  const std::string path = MakeFile("a", "");
  const int writing = Open(path, O_WRONLY);
  const int reading = Open(path, O_RDONLY);
  EXPECT_EQ(Readable(path, IdOf(path)), reading);
  close(writing);
  close(reading);
}

TEST_F(ReadableDescriptorTest, DistrustsAScanThatIsOutOfDate) {
  const std::string path = MakeFile("a", "abc");
  const std::string other = MakeFile("b", "xyz");
  const FileId id = IdOf(path);
  const int borrowed = Open(path, O_RDONLY);
  const OpenFiles files = OpenFiles::Scan();
  close(borrowed);
  const int reused = Open(other, O_RDONLY);
  ASSERT_EQ(reused, borrowed);
  const auto result = ReadableDescriptor(path, id, files);
  ASSERT_TRUE(result.ok());
  EXPECT_NE(result.value(), reused);
  EXPECT_EQ(Read(result.value(), id, 0, 10), "abc");
  close(reused);
}

TEST_F(ReadableDescriptorTest, OpensOnceAndKeeps) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const auto first = ReadableDescriptor(path, id, OpenFiles{});
  const auto second = ReadableDescriptor(path, id, OpenFiles{});
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first.value(), second.value());
  EXPECT_EQ(fcntl(first.value(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(Read(first.value(), id, 0, 10), "abc");
}

TEST_F(ReadableDescriptorTest, KeepsOneEvenIfTheFileIsRenamed) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int kept = Readable(path, id);
  std::filesystem::rename(path, Path("b"));
  EXPECT_EQ(Readable(path, id), kept);
}

// A database in a rollback mode leaves a deleted journal a transaction.
TEST_F(ReadableDescriptorTest, ClosesAKeptOneOnceItsFileIsDeleted) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int kept = Readable(path, id);
  std::filesystem::remove(path);
  const std::string other = MakeFile("b", "xyz");
  ASSERT_GE(Readable(other, IdOf(other)), 0);
  EXPECT_TRUE(OpenFiles::Scan().Find(id).empty()) << kept;
}

// Somebody closed the kept one and got its number for a descriptor of the same file.
TEST_F(ReadableDescriptorTest, ClosesNobodyElsesDescriptorOfADeletedFile) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int kept = Readable(path, id);
  close(kept);
  const int theirs = Open(path, O_RDWR);
  ASSERT_EQ(theirs, kept);
  std::filesystem::remove(path);
  const std::string other = MakeFile("b", "xyz");
  ASSERT_GE(Readable(other, IdOf(other)), 0);
  EXPECT_TRUE(IsFile(theirs, id));
  close(theirs);
}

TEST_F(ReadableDescriptorTest, KeepsOneOfADeletedFileThatTheProcessHasOpenBesides) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int kept = Readable(path, id);
  const int locker = Open(path, O_RDWR);
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(locker, F_SETLK, &lock), 0);
  std::filesystem::remove(path);
  const std::string other = MakeFile("b", "xyz");
  ASSERT_GE(Readable(other, IdOf(other)), 0);
  EXPECT_EQ(OpenFiles::Scan().Find(id).size(), 2U);
  EXPECT_TRUE(IsFile(kept, id));
  const auto locks = ReadOwnLocks(locker);
  ASSERT_TRUE(locks);
  EXPECT_EQ(locks->size(), 1U);
  close(locker);
}

TEST_F(ReadableDescriptorTest, OpensAnewWhereSomebodyClosedTheKeptOne) {
  const std::string path = MakeFile("a", "abc");
  const std::string other = MakeFile("b", "xyz");
  const FileId id = IdOf(path);
  const int kept = Readable(path, id);
  close(kept);
  const int reused = Open(other, O_RDONLY);
  ASSERT_EQ(reused, kept);
  const int again = Readable(path, id);
  EXPECT_NE(again, reused);
  EXPECT_EQ(Read(again, id, 0, 10), "abc");
  EXPECT_EQ(Read(reused, IdOf(other), 0, 10), "xyz");
  close(reused);
}

TEST_F(ReadableDescriptorTest, DropsNoLockOfThisProcess) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int locking = Open(path, O_WRONLY);
  ASSERT_TRUE(SetLock(locking, F_SETLK, F_WRLCK, 0, 1));
  const int fd = Readable(path, id);
  ASSERT_GE(fd, 0);
  ASSERT_NE(fd, locking);
  EXPECT_EQ(Read(fd, id, 0, 10), "abc");
  EXPECT_EQ(OwnLockCount(locking), 1U);
  close(locking);
}

TEST_F(ReadableDescriptorTest, RefusesAPathThatLeadsElsewhere) {
  const std::string path = MakeFile("a", "");
  const std::string other = MakeFile("b", "");
  const int locking = Open(other, O_WRONLY);
  ASSERT_TRUE(SetLock(locking, F_SETLK, F_WRLCK, 0, 1));
  const auto result = ReadableDescriptor(other, IdOf(path), OpenFiles::Scan());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code, SQLITE_CANTOPEN);
  EXPECT_NE(result.status().message.find("another file"), std::string::npos);
  EXPECT_EQ(OwnLockCount(locking), 1U);
  close(locking);
}

TEST_F(ReadableDescriptorTest, SaysWhyAFileCannotBeOpened) {
  const auto result = ReadableDescriptor(Path("none"), {1, 1}, OpenFiles::Scan());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code, SQLITE_CANTOPEN);
  EXPECT_NE(result.status().message.find(Path("none")), std::string::npos);
  EXPECT_NE(result.status().message.find("No such file"), std::string::npos);
}

TEST_F(ReadableDescriptorTest, NeverOpensAFifoOrADirectory) {
  const std::string fifo = Path("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  // A reader of the FIFO would let this opening for writing succeed.
  const auto result = ReadableDescriptor(fifo, IdOf(fifo), OpenFiles::Scan());
  EXPECT_EQ(open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.status().message.find("not a regular file"), std::string::npos);
  EXPECT_EQ(Readable(directory_, IdOf(directory_)), -1);
}

// The path is exchanged for another file between the check and the opening: whatever comes of it, a
// descriptor that is given is the right file's, and the locks on both files stay.
TEST_F(ReadableDescriptorTest, SurvivesAPathThatChangesAllTheTime) {
  const std::string path = MakeFile("a", "abc");
  const std::string other = MakeFile("b", "xyz");
  const FileId other_id = IdOf(other);
  const int lock_other = Open(other, O_WRONLY);
  ASSERT_TRUE(SetLock(lock_other, F_SETLK, F_WRLCK, 0, 1));
  std::atomic<bool> stop = false;
  std::thread exchanger([&] {
    while (!stop) renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, other.c_str(), RENAME_EXCHANGE);
  });
  for (int i = 0; i < 300; ++i) {
    const auto status = StatPath(path);
    ASSERT_TRUE(status);
    const auto result = ReadableDescriptor(path, status->id, OpenFiles{});
    if (result.ok()) {
      ASSERT_EQ(Read(result.value(), status->id, 0, 3), status->id == other_id ? "xyz" : "abc");
      // The first file has no locks: closing it is harmless, and the next round opens it again.
      if (status->id != other_id) close(result.value());
    } else {
      ASSERT_EQ(result.status().code, SQLITE_CANTOPEN);
    }
    ASSERT_EQ(OwnLockCount(lock_other), 1U);
  }
  stop = true;
  exchanger.join();
  close(lock_other);
}

TEST_F(ReadableDescriptorTest, GivesManyThreadsOneDescriptor) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  std::array<int, 8> descriptors = {};
  std::vector<std::thread> threads;
  threads.reserve(descriptors.size());
  for (int& fd : descriptors) {
    threads.emplace_back([&, out = &fd] {
      const auto result = ReadableDescriptor(path, id, OpenFiles{});
      *out = result.ok() ? result.value() : -1;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(descriptors[0], 0);
  EXPECT_EQ(std::count(descriptors.begin(), descriptors.end(), descriptors[0]), 8);
}

TEST_F(ReadableDescriptorTest, WorksInAForkedChild) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  std::atomic<bool> stop = false;
  std::thread looker([&] {
    while (!stop) static_cast<void>(ReadableDescriptor(path, id, OpenFiles{}));
  });
  int failed = 0;
  for (int i = 0; i < 20; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(10);  // a mutex left locked would be waited for
      _exit(ReadableDescriptor(path, id, OpenFiles{}).ok() ? 0 : 1);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0) ++failed;
  }
  stop = true;
  looker.join();
  EXPECT_EQ(failed, 0);
}

TEST_F(ReadAtTest, ReadsWholeAndShort) {
  const std::string path = MakeFile("a", "0123456789");
  const FileId id = IdOf(path);
  const int fd = Readable(path, id);
  EXPECT_EQ(Read(fd, id, 0, 10), "0123456789");
  EXPECT_EQ(Read(fd, id, 8, 10), "89");
  EXPECT_EQ(Read(fd, id, 10, 10), "");
  EXPECT_EQ(Read(fd, id, 1000, 10), "");
  EXPECT_EQ(Read(fd, id, 0, 0), "");
}

TEST_F(ReadAtTest, LeavesThePositionOfTheDescriptor) {
  const std::string path = MakeFile("a", "0123456789");
  const int fd = Open(path, O_RDONLY);
  EXPECT_EQ(Read(fd, IdOf(path), 3, 4), "3456");
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0);
  close(fd);
}

TEST_F(ReadAtTest, RefusesADescriptorThatIsAnotherFile) {
  const std::string path = MakeFile("a", "abc");
  const std::string other = MakeFile("b", "xyz");
  const int fd = Open(other, O_RDONLY);
  EXPECT_EQ(Read(fd, IdOf(path), 0, 3), "error");
  close(fd);
  EXPECT_EQ(Read(fd, IdOf(other), 0, 3), "error");
  EXPECT_EQ(Read(-1, IdOf(other), 0, 3), "error");
}

TEST_F(ReadAtTest, RefusesOffsetsBeyondAnyFile) {
  const std::string path = MakeFile("a", "abc");
  const FileId id = IdOf(path);
  const int fd = Readable(path, id);
  EXPECT_EQ(Read(fd, id, UINT64_MAX, 3), "error");
  EXPECT_EQ(Read(fd, id, INT64_MAX, 3), "error");
}

// A child that holds a POSIX lock on `path` until it goes out of scope.
class LockingChild {
 public:
  LockingChild(const std::string& path, short type, off_t first, off_t length) {
    int ready[2] = {};
    EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
      if (!SetLock(fd, F_SETLK, type, first, length) || write(ready[1], "l", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ready[1]);
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
  }
  ~LockingChild() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  LockingChild(const LockingChild&) = delete;
  LockingChild& operator=(const LockingChild&) = delete;

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

TEST_F(ProbeLockTest, FindsNothingWhereNothingIs) {
  const std::string path = MakeFile("a", "");
  EXPECT_FALSE(ProbeLock(Readable(path, IdOf(path)), true, 0, 1000));
}

TEST_F(ProbeLockTest, FindsAReadLockOnlyWhenAskedForWrite) {
  const std::string path = MakeFile("a", "");
  const int fd = Readable(path, IdOf(path));
  const LockingChild child(path, F_RDLCK, 123, 2);
  EXPECT_FALSE(ProbeLock(fd, false, 123, 123));
  const auto conflict = ProbeLock(fd, true, 123, 123);
  ASSERT_TRUE(conflict);
  EXPECT_FALSE(conflict->write);
  EXPECT_EQ(conflict->pid, child.pid());
  EXPECT_EQ(conflict->first, 123U);
  EXPECT_EQ(conflict->last, 124U);
  EXPECT_FALSE(ProbeLock(fd, true, 125, 128));
}

TEST_F(ProbeLockTest, FindsAWriteLockThroughAReadOnlyDescriptor) {
  const std::string path = MakeFile("a", "");
  const int fd = Readable(path, IdOf(path));
  const LockingChild child(path, F_WRLCK, 120, 0);
  const auto conflict = ProbeLock(fd, false, 0, UINT64_MAX);
  ASSERT_TRUE(conflict);
  EXPECT_TRUE(conflict->write);
  EXPECT_EQ(conflict->first, 120U);
  EXPECT_EQ(conflict->last, UINT64_MAX);
}

TEST_F(ProbeLockTest, CountsThisProcesssLocksAsSomebodys) {
  const std::string path = MakeFile("a", "");
  const int fd = Open(path, O_RDWR);
  ASSERT_TRUE(SetLock(fd, F_SETLK, F_WRLCK, 5, 1));
  const auto conflict = ProbeLock(fd, true, 0, 10);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->pid, getpid());
  close(fd);
}

TEST_F(ProbeLockTest, NamesNobodyForAnOpenFileDescriptionLock) {
  const std::string path = MakeFile("a", "");
  const int holder = Open(path, O_RDWR);
  const int asking = Open(path, O_RDONLY);
  ASSERT_TRUE(SetLock(holder, F_OFD_SETLK, F_WRLCK, 5, 1));
  const auto conflict = ProbeLock(asking, false, 5, 5);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->pid, -1);
  close(holder);
  close(asking);
}

TEST_F(ProbeLockTest, TakesNoLock) {
  const std::string path = MakeFile("a", "");
  const int fd = Open(path, O_RDWR);
  EXPECT_FALSE(ProbeLock(fd, true, 0, 10));
  EXPECT_EQ(OwnLockCount(fd), 0U);
  close(fd);
}

TEST_F(ProbeLockTest, IsNullWhereItCannotBeAsked) {
  const std::string path = MakeFile("a", "");
  const int fd = Readable(path, IdOf(path));
  const LockingChild child(path, F_WRLCK, 0, 0);
  EXPECT_TRUE(ProbeLock(fd, true, 0, 0));
  EXPECT_TRUE(ProbeLock(fd, true, 0, INT64_MAX));
  EXPECT_FALSE(ProbeLock(fd, true, 10, 9));
  EXPECT_FALSE(ProbeLock(fd, true, UINT64_MAX, UINT64_MAX));
  EXPECT_FALSE(ProbeLock(-1, true, 0, 0));
}

}  // namespace
}  // namespace lockscope::kernel
