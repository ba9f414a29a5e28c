// What the open files of processes tell:
//   split-wal     a -wal, -shm or database that is not the one of its name
//   two-sqlites   two copies of SQLite in one process
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "hazards_fixture.h"
#include "kernel/process_files.h"

namespace lockscope::testing {
namespace {

class SplitWalTest : public HazardsTest {
 protected:
  SplitWalTest() { Make("wal"); }
  // A process that has committed and read.
  void Use(Actor& actor) {
    actor.Open("c", path_);
    actor.Exec("c", "update t set v = v + 1");
  }
  void Remove(const std::string& suffix) { ASSERT_EQ(unlink((path_ + suffix).c_str()), 0); }
};

TEST_F(SplitWalTest, ADeletedWal) {
  Actor user;
  Use(user);
  EXPECT_EQ(All(), Lines{});
  Remove("-wal");
  EXPECT_EQ(All(), Lines{Row("split-wal danger", Pid(user))});
  ExpectText("-wal, which is deleted");
  ExpectText("/proc/" + Pid(user) + "/fd/");
}

TEST_F(SplitWalTest, ADeletedShm) {
  Actor user;
  Use(user);
  Remove("-shm");
  EXPECT_EQ(All(), Lines{Row("split-wal danger", Pid(user))});
  ExpectText("-shm, which is deleted");
}

TEST_F(SplitWalTest, OnlyWhoHasTheOldFilesIsNamed) {
  Actor old;
  Use(old);
  Remove("-wal");
  Remove("-shm");
  Actor fresh;
  fresh.Open("c", path_);
  fresh.Exec("c", "select count(*) from t");
  EXPECT_EQ(All(), Lines{Row("split-wal danger", Pid(old))});
}

TEST_F(SplitWalTest, OurOwnIsNamedToo) {
  Db db(path_);
  db.Exec("update t set v = v + 1");
  EXPECT_EQ(All(), Lines{});
  Remove("-wal");
  EXPECT_EQ(All(), Lines{Row("split-wal danger", Here())});
}

TEST_F(SplitWalTest, ARenamedWal) {
  Actor user;
  Use(user);
  ASSERT_EQ(rename((path_ + "-wal").c_str(), (dir_ / "a.db-wal.old").c_str()), 0);
  // It has another name, by which nobody looks for it; what is missing is that of ours.
  Remove("-shm");
  EXPECT_EQ(Hazards("hazard, pid"), Lines{"split-wal " + Pid(user)});
}

TEST_F(SplitWalTest, AReplacedDatabase) {
  Actor user;
  Use(user);
  const std::string other = dir_ / "other.db";
  CreateDatabase(other);
  ASSERT_EQ(rename(other.c_str(), path_.c_str()), 0);
  EXPECT_EQ(All(), Lines{Row("split-wal danger", Pid(user))});
  ExpectText("for another database file");
}

TEST_F(SplitWalTest, ADatabaseThatWasDeletedAltogetherAndMadeAnew) {
  Actor user;
  Use(user);
  Remove("");
  Remove("-wal");
  Remove("-shm");
  Make("wal");
  EXPECT_EQ(All(), Lines{Row("split-wal danger", Pid(user))});
  ExpectText("what it commits is lost");
}

// Of the same name in another folder.
TEST_F(SplitWalTest, AnotherDatabaseOfTheNameIsNotMeant) {
  Actor user;
  Use(user);
  Remove("-wal");
  const std::string folder = dir_ / "other";
  ASSERT_EQ(mkdir(folder.c_str(), 0755), 0);
  path_ = folder + "/a.db";
  Make("wal");
  Db healthy(path_);
  healthy.Exec("update t set v = v + 1");
  EXPECT_EQ(All(), Lines{});
}

// Looking keeps descriptors of the files, which are deleted when their users have closed them.
TEST_F(SplitWalTest, WhoOnlyLookedIsNotMeant) {
  {
    Actor user;
    Use(user);
    look_.Exec("select * from lockscope_wal(" + Quote(path_) + ")");
    ASSERT_EQ(user.Quit(), 0);
  }
  ASSERT_LT(FileSize(path_ + "-shm"), 0);
  Actor again;
  Use(again);
  EXPECT_EQ(All(), Lines{});
}

// The last one to close unlinks both, and new ones come at once.
TEST_F(SplitWalTest, ClosingAndOpeningAgainIsNone) {
  Actor user;
  for (int i = 0; i < 5; ++i) {
    Use(user);
    EXPECT_EQ(All(), Lines{});
    user.Close("c");
    EXPECT_EQ(All(), Lines{});
  }
}

// ---- two-sqlites ----

// Python has one SQLite; of its library a copy is loaded, which has variables of its own.
constexpr const char* kTwoSqlites = R"(
import ctypes, os, shutil, signal, sqlite3, sys
path, ready, copies = sys.argv[1:4]
first = sqlite3.connect(path)
first.execute('select count(*) from t').fetchall()
another = sqlite3.connect(path)
another.execute('select count(*) from t').fetchall()
if copies != 'one':
    mapped = [line.split()[-1] for line in open('/proc/self/maps') if 'libsqlite3' in line]
    copy = os.path.join(os.path.dirname(ready), 'libsqlite3-copy.so')
    shutil.copy(mapped[0], copy)
    library = ctypes.CDLL(copy, mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
    if copies == 'both':
        db = ctypes.c_void_p()
        assert library.sqlite3_open(path.encode(), ctypes.byref(db)) == 0
        assert library.sqlite3_exec(db, b'select count(*) from t', None, None, None) == 0
open(ready, 'w').close()
signal.pause()
)";

class TwoSqlitesTest : public HazardsTest {
 protected:
  TwoSqlitesTest() { Make("wal"); }
  bool PythonHasALibrary() {
    return RunProgram({.argv = {"python3", "-c",
                                "import sqlite3, sys\n"
                                "sys.exit('libsqlite3' not in open('/proc/self/maps').read())"}})
               .exit_code == 0;
  }
};

TEST_F(TwoSqlitesTest, BothOnOneDatabase) {
  if (!PythonHasALibrary()) GTEST_SKIP() << "python3 has its SQLite linked in";
  const PythonProcess process(kTwoSqlites, {path_, dir_ / "ready", "both"}, dir_ / "ready");
  ASSERT_TRUE(process.Ready());
  EXPECT_EQ(All(), Lines{Row("two-sqlites danger", process.pid())});
  ExpectText("libsqlite3-copy.so");
}

TEST_F(TwoSqlitesTest, OneThatCould) {
  if (!PythonHasALibrary()) GTEST_SKIP() << "python3 has its SQLite linked in";
  const PythonProcess process(kTwoSqlites, {path_, dir_ / "ready", "loaded"}, dir_ / "ready");
  ASSERT_TRUE(process.Ready());
  EXPECT_EQ(All(), Lines{Row("two-sqlites warning", process.pid())});
  ExpectText("libsqlite3-copy.so");
}

TEST_F(TwoSqlitesTest, TwoConnectionsOfOneAreNone) {
  const PythonProcess process(kTwoSqlites, {path_, dir_ / "ready", "one"}, dir_ / "ready");
  ASSERT_TRUE(process.Ready());
  EXPECT_EQ(All(), Lines{});
}

TEST(MappedSqlitesTest, EachFileCountsOnce) {
  EXPECT_EQ(
      kernel::SqlitesIn("7f00-7f10 r--p 00000000 fe:00 11 /usr/lib/libsqlite3.so.0.8.6\n"
                        "7f10-7f20 r-xp 00010000 fe:00 11 /usr/lib/libsqlite3.so.0.8.6\n"
                        "7f20-7f30 r-xp 00000000 fe:00 12 /opt/a b/libsqlite3-5f2e.so (deleted)\n"
                        "7f30-7f40 r-xp 00000000 fe:01 11 /opt/libsqlcipher.so.0\n"
                        "7f40-7f50 r-xp 00000000 fe:00 13 /usr/lib/libc.so.6\n"
                        "7f50-7f60 rw-p 00000000 00:00 0 \n"
                        "7f60-7f70 rw-p 00000000 00:00 0 [heap]\n"
                        "7f70-7f80 rw-s 00000000 fe:00 14 /srv/app.db-shm\n"
                        "\nlibsqlite3\n7f80"),
      (std::vector<std::string>{"/usr/lib/libsqlite3.so.0.8.6",
                                "/opt/a b/libsqlite3-5f2e.so (deleted)",
                                "/opt/libsqlcipher.so.0"}));
  EXPECT_TRUE(kernel::SqlitesIn("").empty());
}

TEST(FilesNamedTest, TellsHowAFileIsOpen) {
  const TempDir dir;
  const std::string path = dir / "some file";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const int other = open((path + "-wal").c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_GE(other, 0);
  ASSERT_EQ(unlink((path + "-wal").c_str()), 0);
  const std::vector<std::string> names = {"some file"};
  const std::vector<std::int64_t> pids = {1'000'000'000, getpid()};
  const auto seen = kernel::FilesNamed(names, pids, std::chrono::seconds(10));
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].pid, getpid());
  EXPECT_TRUE(seen[0].same_mounts);
  ASSERT_EQ(seen[0].files.size(), 2U);
  const kernel::OpenedFile& first = seen[0].files[0];
  const kernel::OpenedFile& second = seen[0].files[1];
  EXPECT_EQ(first.fd, fd);
  EXPECT_EQ(first.path, path);
  EXPECT_TRUE(first.writable);
  EXPECT_FALSE(first.deleted);
  EXPECT_FALSE(first.locked);
  EXPECT_EQ(second.path, path + "-wal");
  EXPECT_FALSE(second.writable);
  EXPECT_TRUE(second.deleted);

  struct flock lock {};
  lock.l_type = F_WRLCK;
  ASSERT_EQ(fcntl(fd, F_SETLK, &lock), 0);
  EXPECT_TRUE(kernel::FilesNamed(names, pids, std::chrono::seconds(10)).at(0).files.at(0).locked);
  // No time: nothing is told.
  EXPECT_TRUE(kernel::FilesNamed(names, pids, std::chrono::milliseconds(0)).empty());
  close(fd);
  close(other);
}

TEST(FilesNamedTest, ADirectoryOrPipeIsNoFile) {
  const TempDir dir;
  const int fd = open(std::string(dir / "").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const std::vector<std::string> names = {""};
  for (const auto& process : kernel::FilesNamed(names, {getpid()}, std::chrono::seconds(10))) {
    for (const auto& file : process.files) EXPECT_NE(file.fd, fd);
  }
  close(fd);
}

}  // namespace
}  // namespace lockscope::testing
