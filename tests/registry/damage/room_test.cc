// Where there is no room for a sidecar, or no right to make one. The program fares as with plain
// SQLite. Groups:
//   FolderTest       a folder in which nothing may be made
//   FileSystemTest   full ones; one that copies on write. Mounts: root only, skipped by name
//   LimitTest        limits of the process: size of files, number of descriptors
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>

#include "scene.h"
#include "sidecar.h"

namespace lockscope::testing {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

Lines Private(const std::string& why) {
  return {"private: a.db-lockscope " + why, "private: a.db-lockscope " + why};
}

// The connections of one host beyond those that fit into one block.
Lines RegistryOfNine(Host& host, const std::string& db) {
  for (int i = 0; i < 9; ++i) {
    const std::string name = "n" + std::to_string(i);
    host.Open(name, db);
    host.Exec(name, "insert into t(v) values (0)");
  }
  return host.Registry(db);
}
Lines EightAndOneWithout(const std::string& why) {
  Lines lines(8, "shared");
  lines.insert(lines.begin(), "private: a.db-lockscope " + why);
  return lines;
}

// ---- folders -----------------------------------------------------------------------------------

class FolderTest : public ::testing::TestWithParam<const char*> {
 protected:
  const Scene scene_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Journals, FolderTest, ::testing::Values("wal", "delete"));

TEST_P(FolderTest, WhoMayNotWriteThereIsPrivate) {
  if (geteuid() != 0) GTEST_SKIP() << "only root becomes somebody else";
  for (const TempDir* folder : {&scene_.folder(), &scene_.stock_folder()}) {
    fs::permissions(folder->path(), fs::perms(0755));
  }
  scene_.Prepare([](const std::string& db) { fs::permissions(db, fs::perms(0666)); });
  Host with(true);
  Host without(false);
  for (Host* host : {&with, &without}) host->Become(kNobody, kNobody);
  const Seen seen = scene_.Use(with, without);
  EXPECT_EQ(seen.registry, Private("cannot be made: Permission denied"));
  EXPECT_FALSE(Exists(scene_.sidecar()));
}

TEST_P(FolderTest, AReadOnlyMountIsPrivate) {
  // What plain SQLite leaves behind in a file system where it cannot write is nothing.
  const std::string here = scene_.folder().path();
  if (!Succeeds({"mount", "--bind", here, here})) GTEST_SKIP() << "cannot mount";
  EXPECT_TRUE(Succeeds({"mount", "-o", "remount,bind,ro", here}));
  {
    Host host(true);
    EXPECT_EQ(host.Say("openro c " + scene_.db()), "0 ");
    const std::string answer = host.Say("query c select count(*) from t");
    Host stock(false);
    stock.OpenReadOnly("c", scene_.db());
    EXPECT_EQ(answer, stock.Say("query c select count(*) from t"));
    EXPECT_EQ(host.Registry(scene_.db()),
              Lines{"private: a.db-lockscope cannot be made: Read-only file system"});
  }
  EXPECT_TRUE(Eventually([&] { return Succeeds({"umount", here}); }));
}

// Of others' sidecars it may read.
TEST_P(FolderTest, WhoMayNotWriteThereSeesThoseWhoMay) {
  if (geteuid() != 0) GTEST_SKIP() << "only root becomes somebody else";
  fs::permissions(scene_.folder().path(), fs::perms(0755));
  Host owner(true);
  owner.Open("c", scene_.db());
  owner.Exec("c", "begin immediate");
  Host other(true);
  other.Become(kNobody, kNobody);
  EXPECT_EQ(other.Query("m", "select pid, registry, state from lockscope_connections('" +
                                 scene_.db() + "')"),
            (std::vector<Row>{{std::to_string(owner.pid()), "shared", "writing"}}));
  other.OpenReadOnly("c", scene_.db());
  EXPECT_EQ(other.Registry(scene_.db()),
            Lines{"private: a.db-lockscope cannot be opened: Permission denied"});
}

// ---- file systems ------------------------------------------------------------------------------

class FileSystemTest : public ::testing::Test {
 protected:
  void TearDown() override {
    if (mounted_) {
      EXPECT_TRUE(Eventually([&] { return Succeeds({"umount", mount_}); }));
    }
  }

  bool MountImage(const std::string& maker, const std::string& size) {
    const std::string image = dir_ / "image";
    fs::create_directory(mount_);
    const bool made = Succeeds({"truncate", "--size=" + size, image}) &&
                      Succeeds({maker, "-q", image}) &&
                      Succeeds({"mount", "-o", "loop", image, mount_});
    mounted_ = made;
    return made;
  }
  bool MountTmpfs() {
    fs::create_directory(mount_);
    mounted_ = Succeeds({"mount", "-t", "tmpfs", "-o", "size=4m", "none", mount_});
    return mounted_;
  }
  // Leaves so many bytes.
  void Fill(std::size_t left) const {
    const auto write = [&](const std::string& name, const std::string& count) {
      return Succeeds({"dd", "if=/dev/zero", "of=" + mount_ + "/" + name, "bs=4096", count});
    };
    EXPECT_TRUE(write("spare", "count=" + std::to_string(left / 4096)));
    EXPECT_FALSE(write("rest", "count=1000000"));
    fs::remove(mount_ + "/spare");
  }

  // Both without room for a sidecar.
  void ExpectPrivateWhereFull() const {
    const std::string stock = mount_ + "/stock.db";
    const std::string db = mount_ + "/a.db";
    for (const std::string& name : {stock, db}) CreateDatabase(name);
    Fill(250'000);
    Host without(false);
    Host with(true);
    Lines answers = UseDatabase(without, stock);
    Seen seen;
    EXPECT_EQ(UseDatabase(with, db, &seen), answers);
    EXPECT_EQ(answers[4], "0 ") << "plain SQLite has no room either";
    EXPECT_EQ(seen.registry, Private("cannot be given room: No space left on device"));
    EXPECT_FALSE(Exists(SidecarOf(db)));
    EXPECT_EQ(IntegrityCheck(db), "ok");
  }

  // Room for some records, beyond what is left to SQLite, and not for nine.
  void ExpectTheLastPrivate() const {
    const std::string db = mount_ + "/a.db";
    CreateDatabase(db);
    Fill((1 << 20) + 250'000);
    Host host(true);
    const Lines lines = RegistryOfNine(host, db);
    const auto shared = std::count(lines.begin(), lines.end(), "shared");
    const auto refused =
        std::count(lines.begin(), lines.end(),
                   "private: a.db-lockscope cannot be given room: No space left on device");
    EXPECT_GE(shared, 1);
    EXPECT_GE(refused, 1);
    EXPECT_EQ(shared + refused, 9);
    EXPECT_EQ(host.Query("n8", "select count(*) from t"), (std::vector<Row>{{"209"}}));
    EXPECT_EQ(host.Quit(), 0);
    EXPECT_FALSE(Exists(SidecarOf(db)));
  }

  TempDir dir_;
  const std::string mount_ = dir_ / "mount";
  bool mounted_ = false;
};

TEST_F(FileSystemTest, AFullExt4IsPrivate) {
  if (!MountImage("mkfs.ext4", "8M")) GTEST_SKIP() << "cannot make an ext4 here";
  ExpectPrivateWhereFull();
}
TEST_F(FileSystemTest, AFullTmpfsIsPrivate) {
  if (!MountTmpfs()) GTEST_SKIP() << "cannot mount a tmpfs";
  ExpectPrivateWhereFull();
}
TEST_F(FileSystemTest, AnExt4WithLittleRoomKeepsTheLastForSqlite) {
  if (!MountImage("mkfs.ext4", "8M")) GTEST_SKIP() << "cannot make an ext4 here";
  ExpectTheLastPrivate();
}
TEST_F(FileSystemTest, ATmpfsWithLittleRoomKeepsTheLastForSqlite) {
  if (!MountTmpfs()) GTEST_SKIP() << "cannot mount a tmpfs";
  ExpectTheLastPrivate();
}

// A page that is written anew each time may find no room, and the writer would be killed.
TEST_F(FileSystemTest, OnBtrfsTheSidecarIsWrittenInPlace) {
  if (!MountImage("mkfs.btrfs", "128M")) GTEST_SKIP() << "cannot make a btrfs here";
  const std::string db = mount_ + "/a.db";
  CreateDatabase(db);
  Host host(true);
  EXPECT_EQ(RegistryOfNine(host, db), Lines(9, "shared"));
  {
    const UniqueFd fd(open(SidecarOf(db).c_str(), O_RDONLY | O_CLOEXEC));
    int flags = 0;
    ASSERT_EQ(ioctl(fd.get(), FS_IOC_GETFLAGS, &flags), 0);
    EXPECT_NE(flags & FS_NOCOW_FL, 0);
  }
  EXPECT_EQ(RegistryFromOutside(db), Lines(9, "shim shared"));
  EXPECT_EQ(host.Quit(), 0);
}

// ---- limits ------------------------------------------------------------------------------------

void Limit(const Host& host, __rlimit_resource resource, rlim_t value) {
  rlimit limit{};
  ASSERT_EQ(prlimit(host.pid(), resource, nullptr, &limit), 0);
  limit.rlim_cur = value;
  ASSERT_EQ(prlimit(host.pid(), resource, &limit, nullptr), 0);
}

// The signal that the kernel sends would end the program.
TEST(LimitTest, FilesThatMayNotBeSoLarge) {
  for (const char* mode : {"wal", "delete"}) {
    const Scene scene(mode);
    Host with(true);
    Host without(false);
    for (const Host* host : {&with, &without}) Limit(*host, RLIMIT_FSIZE, 300'000);
    EXPECT_EQ(scene.Use(with, without).registry, Private("would be larger than files may be here"));
    EXPECT_FALSE(Exists(scene.sidecar()));
  }
}

TEST(LimitTest, FilesThatMayBeAsLargeAsOneBlock) {
  const Scene scene("wal");
  Host host(true);
  Limit(host, RLIMIT_FSIZE, 500'000);
  EXPECT_EQ(RegistryOfNine(host, scene.db()),
            EightAndOneWithout("would be larger than files may be here"));
  EXPECT_EQ(host.Query("n8", "select count(*) from t"), (std::vector<Row>{{"209"}}));
  EXPECT_EQ(host.Quit(), 0);
}

std::size_t DescriptorsOf(const Host& host) {
  const fs::directory_iterator all("/proc/" + std::to_string(host.pid()) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// However many descriptors there are left: none is taken that plain SQLite would have had.
TEST(LimitTest, FewDescriptorsAreLeftToSqlite) {
  for (const char* mode : {"wal", "delete"}) {
    for (rlim_t left = 0; left <= 8; ++left) {
      SCOPED_TRACE(std::string(mode) + ", " + std::to_string(left) + " descriptors");
      const Scene scene(mode);
      Host with(true);
      Host without(false);
      Lines answers[2];
      for (Host* host : {&with, &without}) {
        const std::string db = host->shim() ? scene.db() : scene.stock_folder() / "a.db";
        Limit(*host, RLIMIT_NOFILE, DescriptorsOf(*host) + left);
        answers[host->shim()] = UseDatabase(*host, db);
      }
      EXPECT_EQ(answers[1], answers[0]);
    }
  }
}

TEST(LimitTest, NoDescriptorForTheSidecarIsPrivate) {
  const Scene scene("wal");
  Host host(true);
  const std::size_t before = DescriptorsOf(host);
  Limit(host, RLIMIT_NOFILE, before + 5);
  host.Open("c", scene.db());
  host.Exec("c", "insert into t(v) values (0)");
  Limit(host, RLIMIT_NOFILE, before + 100);
  EXPECT_EQ(host.Registry(scene.db()).size(), 1U);
  EXPECT_EQ(host.Registry(scene.db())[0].rfind("private: a.db-lockscope needs", 0), 0U);
  host.Open("d", scene.db());
  EXPECT_EQ(host.Registry(scene.db()).back(), "shared");
}

}  // namespace
}  // namespace lockscope::testing
