// lockscope copy: the exact copier.
//
//   1  what it copies
//   2  what is left of an earlier copy
//   3  what it refuses, and leaves as it was
//   4  killed, or with the machine
//   5  manifests from anybody
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "running.h"

namespace lockscope::testing {
namespace {

namespace fs = std::filesystem;

class CopyTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(source_); }

  std::string MakeFile(const std::string& name, const std::string& text) {
    std::ofstream(source_ + "/" + name) << text;
    return source_ + "/" + name;
  }

  static Json Entry(const std::string& path, const std::string& role, std::int64_t bytes) {
    struct stat facts = {};
    EXPECT_EQ(stat(path.c_str(), &facts), 0) << path;
    return {{"database", path},       {"schema", "main"},     {"path", path},
            {"role", role},           {"bytes", bytes},       {"frames", nullptr},
            {"device", facts.st_dev}, {"inode", facts.st_ino}};
  }

  ProgramResult CopyText(const std::string& manifest) {
    return RunProgram({.argv = {LOCKSCOPE_COMMAND, "copy", "-", dest_}, .input = manifest});
  }
  ProgramResult Copy(const std::vector<Json>& files) { return CopyText(Json(files).dump()); }

  // Writes its calls to stderr, and is killed at one of them; 0: at none.
  ProgramResult CopyCounted(const std::vector<Json>& files, int killed_at) {
    return RunProgram({.argv = {LOCKSCOPE_COMMAND, "copy", "-", dest_},
                       .input = Json(files).dump(),
                       .env = {{"LD_PRELOAD", LOCKSCOPE_COUNTED_CALLS},
                               {"KILLED_AT", std::to_string(killed_at)}}});
  }
  static bool HasFilesWithoutAName(const std::string& folder) {
    const int fd = open(folder.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }

  std::set<std::string> NamesInDest() const {
    std::set<std::string> names;
    if (!fs::is_directory(dest_)) return names;
    for (const auto& entry : fs::directory_iterator(dest_)) names.insert(entry.path().filename());
    return names;
  }
  std::string InDest(const std::string& name) const { return TextOf(dest_ + "/" + name); }

  TempDir dir_;
  std::string source_ = dir_ / "source";
  std::string dest_ = dir_ / "dest";
};

// ---- 1 ----

TEST_F(CopyTest, TheBytesListedAndNothingElse) {
  const std::string db = MakeFile("a.db", std::string(3'000'000, 'd'));
  const std::string wal = MakeFile("a.db-wal", "0123456789");
  const ProgramResult result = Copy({Entry(db, "database", 3'000'000), Entry(wal, "wal", 7)});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "lockscope: copied 2 files, 3.0 MB, to " + dest_ + "\n");
  EXPECT_EQ(NamesInDest(), (std::set<std::string>{"a.db", "a.db-wal"}));
  EXPECT_TRUE(InDest("a.db") == std::string(3'000'000, 'd'));
  EXPECT_EQ(InDest("a.db-wal"), "0123456");
}

TEST_F(CopyTest, AnEmptyDatabaseIsAnEmptyFile) {
  const ProgramResult result = Copy({Entry(MakeFile("a.db", ""), "database", 0)});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(FileSize(dest_ + "/a.db"), 0);
}

TEST_F(CopyTest, ModeIsTheSources) {
  const std::string db = MakeFile("a.db", "d");
  ASSERT_EQ(chmod(db.c_str(), 0640), 0);
  EXPECT_EQ(Copy({Entry(db, "database", 1)}).exit_code, 0);
  struct stat facts = {};
  ASSERT_EQ(stat((dest_ + "/a.db").c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 07777U, 0640U);
}

TEST_F(CopyTest, ManifestFromAFile) {
  const Json manifest = Json::array({Entry(MakeFile("a.db", "d"), "database", 1)});
  std::ofstream(dir_ / "manifest") << manifest.dump();
  EXPECT_EQ(Lockscope({"copy", dir_ / "manifest", dest_}).exit_code, 0);
  EXPECT_EQ(InDest("a.db"), "d");
}

// /dev/shm and the folder of the tests are two file systems on most machines.
TEST_F(CopyTest, FromOneFileSystemToAnother) {
  struct stat here = {};
  struct stat there = {};
  if (stat("/dev/shm", &there) != 0 || stat(source_.c_str(), &here) != 0 ||
      here.st_dev == there.st_dev) {
    GTEST_SKIP() << "there is no other file system here";
  }
  std::string folder = "/dev/shm/lockscope-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  dest_ = folder;
  EXPECT_EQ(
      Copy({Entry(MakeFile("a.db", std::string(1'000'000, 'd')), "database", 999'999)}).exit_code,
      0);
  EXPECT_TRUE(InDest("a.db") == std::string(999'999, 'd'));
  fs::remove_all(folder);
}

// ---- 2 ----

TEST_F(CopyTest, FilesOfAnEarlierCopyGoWhereTheyDoNotBelongToThisOne) {
  const std::string db = MakeFile("a.db", "new");
  fs::create_directory(dest_);
  for (const char* name : {"a.db", "a.db-wal", "a.db-shm", "a.db-journal", "b.db-wal"}) {
    std::ofstream(dest_ + "/" + name) << "old";
  }
  const ProgramResult result = Copy({Entry(db, "database", 3)});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(NamesInDest(), (std::set<std::string>{"a.db", "b.db-wal"}));
  EXPECT_EQ(InDest("a.db"), "new");
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    EXPECT_NE(result.err.find("removed " + dest_ + "/a.db" + suffix), std::string::npos) << result;
  }
}

TEST_F(CopyTest, AnEarlierCopyIsReplacedWithItsWal) {
  const std::string db = MakeFile("a.db", "new");
  const std::string wal = MakeFile("a.db-wal", "new wal");
  fs::create_directory(dest_);
  for (const char* name : {"a.db", "a.db-wal", "a.db-shm"}) {
    std::ofstream(dest_ + "/" + name) << "old";
  }
  const ProgramResult result = Copy({Entry(wal, "wal", 7), Entry(db, "database", 3)});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(NamesInDest(), (std::set<std::string>{"a.db", "a.db-wal"}));
  EXPECT_EQ(InDest("a.db"), "new");
  EXPECT_EQ(InDest("a.db-wal"), "new wal");
  EXPECT_EQ(result.err.find("a.db-wal, left"), std::string::npos) << result;
}

// ---- 3 ----

TEST_F(CopyTest, NothingIsPutOntoItself) {
  const std::string db = MakeFile("a.db", "d");
  MakeFile("a.db-wal", "live");
  dest_ = source_;
  const ProgramResult result = Copy({Entry(db, "database", 1)});
  EXPECT_EQ(result.exit_code, 2) << result;
  EXPECT_EQ(NamesInDest(), (std::set<std::string>{"a.db", "a.db-wal"}));
  // By another name of the folder, or of the file.
  fs::create_directory_symlink(source_, dir_ / "link");
  dest_ = dir_ / "link";
  EXPECT_EQ(Copy({Entry(db, "database", 1)}).exit_code, 2);
  dest_ = dir_ / "dest";
  fs::create_directory(dest_);
  fs::create_hard_link(db, dest_ + "/a.db");
  EXPECT_EQ(Copy({Entry(db, "database", 1)}).exit_code, 2);
  EXPECT_EQ(TextOf(db), "d");
}

TEST_F(CopyTest, DestinationMustBeAFolder) {
  const std::vector<Json> manifest = {Entry(MakeFile("a.db", "d"), "database", 1)};
  std::ofstream(dest_) << "a file";
  EXPECT_EQ(Copy(manifest).exit_code, 1);
  EXPECT_EQ(TextOf(dest_), "a file");
  dest_ = dir_ / "missing/deeper";
  EXPECT_EQ(Copy(manifest).exit_code, 1);
}

TEST_F(CopyTest, AShorterOrOtherFileIsAnErrorAndTheFolderIsAsItWas) {
  const std::string first = MakeFile("a.db", "first");
  const std::string second = MakeFile("b.db", "second");
  fs::create_directory(dest_);
  std::ofstream(dest_ + "/a.db") << "old";
  std::ofstream(dest_ + "/a.db-wal") << "old wal";
  Json other_inode = Entry(second, "database", 6);
  other_inode["inode"] = other_inode["inode"].get<std::int64_t>() + 1;
  Json other_device = Entry(second, "database", 6);
  other_device["device"] = other_device["device"].get<std::int64_t>() + 1;
  fs::create_symlink(second, source_ + "/link.db");
  Json missing = Entry(second, "database", 6);
  missing["path"] = source_ + "/missing.db";
  const std::vector<Json> wrong = {Entry(second, "database", 7), other_inode, other_device,
                                   Entry(source_ + "/link.db", "database", 6), missing};
  for (const Json& entry : wrong) {
    const ProgramResult result = Copy({Entry(first, "database", 5), entry});
    EXPECT_EQ(result.exit_code, 1) << entry.dump() << result;
    EXPECT_EQ(NamesInDest(), (std::set<std::string>{"a.db", "a.db-wal"})) << entry.dump();
    EXPECT_EQ(InDest("a.db"), "old");
    EXPECT_EQ(InDest("a.db-wal"), "old wal");
  }
}

TEST_F(CopyTest, TwoFilesOfOneNameAreUsage) {
  const std::string first = MakeFile("a.db", "first");
  fs::create_directory(source_ + "/sub");
  const std::string second = MakeFile("sub/a.db", "second");
  const ProgramResult result = Copy({Entry(first, "database", 5), Entry(second, "database", 6)});
  EXPECT_EQ(result.exit_code, 2) << result;
  EXPECT_TRUE(NamesInDest().empty());
}

// One would be taken for a file of the other, or be removed as a leaving of an earlier copy.
TEST_F(CopyTest, ADatabaseWithTheNameOfAFileOfAnotherIsUsage) {
  const Json first = Entry(MakeFile("a.db", "first"), "database", 5);
  fs::create_directory(source_ + "/sub");
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    const Json second = Entry(MakeFile(std::string("sub/a.db") + suffix, "second"), "database", 6);
    EXPECT_EQ(Copy({first, second}).exit_code, 2) << suffix;
    const ProgramResult result = Copy({second, first});
    EXPECT_EQ(result.exit_code, 2) << result;
    EXPECT_TRUE(NamesInDest().empty());
  }
}

TEST_F(CopyTest, ALineFeedInANameIsUsage) {
  const ProgramResult result = Copy({Entry(MakeFile("a\nb.db", "d"), "database", 1)});
  EXPECT_EQ(result.exit_code, 2) << result;
}

TEST_F(CopyTest, AFullDiskLeavesNothing) {
  const std::string mount = dir_ / "small";
  fs::create_directory(mount);
  if (!RunProgram({.argv = {"mount", "-t", "tmpfs", "-o", "size=64k", "none", mount}}).ok()) {
    GTEST_SKIP() << "cannot mount here";
  }
  dest_ = mount;
  const ProgramResult result =
      Copy({Entry(MakeFile("a.db", std::string(1'000'000, 'd')), "database", 1'000'000)});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_TRUE(NamesInDest().empty());
  EXPECT_TRUE(Eventually([&] { return RunProgram({.argv = {"umount", mount}}).ok(); }));
}

// ---- 4 ----

// Each of its calls that change the folder, or make it last, is its last one once.
TEST_F(CopyTest, KilledAtAnyCallItLeavesNoMixtureAndNoHalfCopy) {
  if (!HasFilesWithoutAName(dir_.path())) GTEST_SKIP() << "there is no O_TMPFILE here";
  const std::vector<Json> both = {Entry(MakeFile("a.db", "new"), "database", 3),
                                  Entry(MakeFile("a.db-wal", "new wal"), "wal", 7)};
  const std::vector<Json> one = {both.front()};
  for (const std::vector<Json>& manifest : {both, one}) {
    const std::set<std::string> good =
        manifest.size() > 1 ? std::set<std::string>{"old with old wal", " with old wal", " with ",
                                                    " with new wal", "new with new wal"}
                            : std::set<std::string>{"old with ", "new with "};
    int calls = 0;
    for (bool killed = true; killed; ++calls) {
      fs::remove_all(dest_);
      fs::create_directory(dest_);
      std::ofstream(dest_ + "/a.db") << "old";
      if (manifest.size() > 1) std::ofstream(dest_ + "/a.db-wal") << "old wal";
      const ProgramResult result = CopyCounted(manifest, calls + 1);
      killed = result.signal == SIGKILL;
      EXPECT_TRUE(killed || result.exit_code == 0) << result;
      const std::string found = InDest("a.db") + " with " + InDest("a.db-wal");
      EXPECT_TRUE(good.contains(found)) << found << result;
      std::set<std::string> others = NamesInDest();
      others.erase("a.db");
      others.erase("a.db-wal");
      // A name can be taken from another file only by way of another name.
      const bool on_the_way = result.err.find("linkat .lockscope-") != std::string::npos;
      EXPECT_TRUE(others.empty() || (killed && on_the_way)) << result;
    }
    EXPECT_GT(calls, manifest.size() > 1 ? 8 : 4);
  }
}

TEST_F(CopyTest, EachStepIsOnTheDiskBeforeTheNext) {
  const std::vector<Json> both = {Entry(MakeFile("a.db", "new"), "database", 3),
                                  Entry(MakeFile("a.db-wal", "new wal"), "wal", 7)};
  std::string calls = CopyCounted(both, 0).err;
  // The folder itself is new: so is its name.
  EXPECT_NE(calls.find("fsync " + fs::path(dir_.path()).filename().string() + "\n"),
            std::string::npos)
      << calls;
  calls = CopyCounted(both, 0).err;
  std::size_t last = 0;
  for (const char* call : {"unlinkat a.db\n", "fsync dest\n", "unlinkat a.db-wal\n",
                           "at a.db-wal\n", "fsync dest\n", "at a.db\n", "fsync dest\n"}) {
    const std::size_t next = calls.find(call, last);
    ASSERT_NE(next, std::string::npos) << call << calls;
    last = next + std::strlen(call);
  }
}

// ---- 5 ----

TEST_F(CopyTest, WhatIsNoManifestIsAnErrorAndNoCrash) {
  const std::string db = MakeFile("a.db", "d");
  const std::string good = Json::array({Entry(db, "database", 1)}).dump();
  std::vector<std::string> texts = {"",
                                    "[",
                                    "[]",
                                    "{}",
                                    "null",
                                    "1",
                                    "\"text\"",
                                    "[1]",
                                    "[null]",
                                    "[[]]",
                                    "[{}]",
                                    "\xff\xfe",
                                    good + good,
                                    good.substr(0, good.size() - 1),
                                    std::string(100'000, '['),
                                    std::string(100'000, '{'),
                                    std::string("[") + std::string(1'000'000, ' ')};
  const std::vector<std::pair<std::string, Json>> changes = {{"path", nullptr},
                                                             {"path", 1},
                                                             {"path", ""},
                                                             {"path", "a.db"},
                                                             {"path", "/"},
                                                             {"path", "/tmp/.."},
                                                             {"path", "/tmp/."},
                                                             {"path", std::string("/a\0b", 4)},
                                                             {"role", nullptr},
                                                             {"role", "shm"},
                                                             {"role", "wal"},
                                                             {"role", 1},
                                                             {"bytes", nullptr},
                                                             {"bytes", -1},
                                                             {"bytes", 1.5},
                                                             {"bytes", "1"},
                                                             {"bytes", 9223372036854775808U},
                                                             {"bytes", true},
                                                             {"device", nullptr},
                                                             {"device", "1"},
                                                             {"inode", 0.5},
                                                             {"inode", Json::array({1})}};
  for (const auto& [name, value] : changes) {
    Json entry = Entry(db, "database", 1);
    entry[name] = value;
    texts.push_back(Json::array({entry}).dump());
    entry.erase(name);
    texts.push_back(Json::array({entry}).dump());
  }
  texts.push_back("[{\"path\":" + std::string(50'000, '[') + std::string(50'000, ']') + "}]");
  for (const std::string& text : texts) {
    const ProgramResult result = CopyText(text);
    EXPECT_EQ(result.exit_code, 1) << text.substr(0, 300) << result;
    EXPECT_EQ(result.err.rfind("lockscope: ", 0), 0U) << result;
    EXPECT_TRUE(NamesInDest().empty());
  }
}

TEST_F(CopyTest, AWalWithoutItsDatabaseIsNoManifest) {
  const std::string wal = MakeFile("a.db-wal", "w");
  EXPECT_EQ(Copy({Entry(wal, "wal", 1)}).exit_code, 1);
  EXPECT_EQ(Copy({Entry(wal, "wal", 1), Entry(MakeFile("b.db", "d"), "database", 1)}).exit_code, 1);
}

TEST_F(CopyTest, EndlessInputIsNotReadToItsEnd) {
  const ProgramResult result = Lockscope({"copy", "/dev/zero", dest_});
  EXPECT_EQ(result.exit_code, 1) << result;
  EXPECT_FALSE(Exists(dest_));
}

TEST_F(CopyTest, UsageIsTwo) {
  EXPECT_EQ(Lockscope({"copy"}).exit_code, 2);
  EXPECT_EQ(Lockscope({"copy", "manifest"}).exit_code, 2);
  EXPECT_EQ(Lockscope({"copy", "manifest", "a", "b"}).exit_code, 2);
}

}  // namespace
}  // namespace lockscope::testing
