// What stands where the sidecar should be. Whatever it is: the program fares as with plain SQLite,
// the column `registry` says why nothing is published, and nothing of somebody else's is changed or
// removed. Groups:
//   FoundTest        files that are no sidecar, links, folders, pipes, sockets, other users' files
//   HeaderTest       sidecars of another version or database, with and without a live owner
//   ReplacedTest     the database or the sidecar is replaced while it is used
//   MutexTest        a process stops in the middle of entering
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "scene.h"
#include "sidecar.h"

namespace lockscope::testing {
namespace {

namespace fs = std::filesystem;
using ledger::kBlockByte;
using ledger::kMutexByte;
using ledger::kRegistryPage;

const Lines kShared = {"shared", "shared"};

Lines Private(const std::string& why) {
  return {"private: a.db-lockscope " + why, "private: a.db-lockscope " + why};
}
// All that the kernel knows is one process.
Lines Unavailable(const std::string& why) { return {"kernel unavailable: a.db-lockscope " + why}; }

class InModes : public ::testing::TestWithParam<const char*> {
 protected:
  const Scene scene_{GetParam()};

  // The program is private, for this reason, and so is told outside; the sidecar stays as it is.
  void ExpectLeftAlone(const std::string& why, const std::string& outside) {
    const Thing before = Thing::At(scene_.sidecar());
    const Seen seen = scene_.Use();
    EXPECT_EQ(seen.registry, Private(why));
    EXPECT_EQ(seen.from_outside, Unavailable(outside));
    EXPECT_EQ(Thing::At(scene_.sidecar()), before);
  }
  void ExpectLeftAlone(const std::string& why) { ExpectLeftAlone(why, why); }

  // As if there had been nothing.
  void ExpectTaken() {
    const Seen seen = scene_.Use();
    EXPECT_EQ(seen.registry, kShared);
    EXPECT_EQ(seen.from_outside, (Lines{"shim shared", "shim shared"}));
    EXPECT_FALSE(Exists(scene_.sidecar()));
  }
};

class FoundTest : public InModes {};
class HeaderTest : public InModes {};
class ReplacedTest : public InModes {};
class MutexTest : public InModes {};
INSTANTIATE_TEST_SUITE_P(Journals, FoundTest, ::testing::Values("wal", "delete"));
INSTANTIATE_TEST_SUITE_P(Journals, HeaderTest, ::testing::Values("wal", "delete"));
INSTANTIATE_TEST_SUITE_P(Journals, ReplacedTest, ::testing::Values("wal", "delete"));
INSTANTIATE_TEST_SUITE_P(Journals, MutexTest, ::testing::Values("wal"));

// ---- what is found -----------------------------------------------------------------------------

TEST_P(FoundTest, Nothing) { ExpectTaken(); }

// What its maker left that died right then.
TEST_P(FoundTest, AnEmptyFileIsTaken) {
  scene_.Prepare([](const std::string& db) { Sidecar{db}; });
  ExpectTaken();
}

TEST_P(FoundTest, AnAllZeroHeaderIsTaken) {
  scene_.Prepare([](const std::string& db) { Sidecar(db).Resize(kRegistryPage); });
  ExpectTaken();
}

TEST_P(FoundTest, AFewZerosAreTaken) {
  scene_.Prepare([](const std::string& db) { Sidecar(db).Resize(100); });
  ExpectTaken();
}

TEST_P(FoundTest, RandomBytesAreLeftAlone) {
  for (const std::size_t bytes : {1, 100, 4095, 4096, 5000, 1'000'000}) {
    SCOPED_TRACE(bytes);
    scene_.Prepare([&](const std::string& db) {
      fs::remove(SidecarOf(db));
      WriteNoise(SidecarOf(db), 0, bytes, 7);
    });
    ExpectLeftAlone("is no registry of lockscope, or damaged");
  }
}

TEST_P(FoundTest, AHeaderThatIsCutShortIsLeftAlone) {
  scene_.Prepare([](const std::string& db) {
    const Sidecar sidecar(db);
    sidecar.WriteHeader(HeaderOf(db));
    sidecar.Resize(kRegistryPage - 1);
  });
  ExpectLeftAlone("is no registry of lockscope, or damaged");
}

TEST_P(FoundTest, ASymbolicLinkIsNotFollowed) {
  const std::string target = scene_.folder() / "precious";
  std::ofstream(target) << "text";
  const Thing before = Thing::At(target);
  scene_.Prepare([&](const std::string& db) { fs::create_symlink(target, SidecarOf(db)); });
  ExpectLeftAlone("is a symbolic link");
  EXPECT_EQ(Thing::At(target), before);
}

TEST_P(FoundTest, ADanglingSymbolicLinkIsNotFollowed) {
  scene_.Prepare([](const std::string& db) { fs::create_symlink("nowhere", SidecarOf(db)); });
  ExpectLeftAlone("is a symbolic link");
  EXPECT_FALSE(Exists(scene_.folder() / "nowhere"));
}

TEST_P(FoundTest, ASymbolicLinkToTheDatabaseItselfIsNotFollowed) {
  scene_.Prepare([](const std::string& db) { fs::create_symlink("a.db", SidecarOf(db)); });
  ExpectLeftAlone("is a symbolic link");
}

TEST_P(FoundTest, AHardLinkIsLeftAlone) {
  const auto target = [](const std::string& db) { return fs::path(db).parent_path() / "precious"; };
  scene_.Prepare([&](const std::string& db) {
    std::ofstream(target(db)) << "text";
    fs::create_hard_link(target(db), SidecarOf(db));
  });
  const Thing before = Thing::At(target(scene_.db()));
  ExpectLeftAlone("has other names (hard links)");
  EXPECT_EQ(Thing::At(target(scene_.db())), before);
}

// Opening it and closing it again would drop the process's locks on the database.
TEST_P(FoundTest, AHardLinkToTheDatabaseItselfIsNotOpened) {
  scene_.Prepare([](const std::string& db) { fs::create_hard_link(db, SidecarOf(db)); });
  const Seen seen = scene_.Use();
  EXPECT_EQ(seen.registry, Private("has other names (hard links)"));
  EXPECT_EQ(seen.from_outside, Unavailable("has other names (hard links)"));
  EXPECT_EQ(IdOf(scene_.sidecar()), IdOf(scene_.db()));
}

// The same, where that database is one in its own right.
TEST_P(FoundTest, ADatabaseOfThatNameKeepsItsLocks) {
  scene_.Prepare(
      [](const std::string& db) { CreateDatabase(SidecarOf(db), {.journal_mode = GetParam()}); });
  Host host(true);
  host.Open("other", scene_.sidecar());
  host.Exec("other", "begin immediate");
  const Lines locks = LocksOf(scene_.sidecar(), host.pid());
  for (const char* name : {"c", "d"}) {
    host.Open(name, scene_.db());
    host.Exec(name, "select count(*) from t");
  }
  EXPECT_EQ(host.Registry(scene_.db()), Private("is no registry of lockscope, or damaged"));
  EXPECT_EQ(LocksOf(scene_.sidecar(), host.pid()), locks);
  host.Exec("other", "commit");
  EXPECT_EQ(IntegrityCheck(scene_.sidecar()), "ok");
}

// Nor does it get a lock of ours for as long as it takes to see that it is no registry: the mutex
// byte is PENDING there.
TEST_P(FoundTest, ADatabaseOfThatNameIsNotLocked) {
  scene_.Prepare(
      [](const std::string& db) { CreateDatabase(SidecarOf(db), {.journal_mode = "delete"}); });
  Host host(true);
  Actor reader;
  reader.Open("r", scene_.sidecar());
  reader.Exec("r", "begin; select count(*) from t");
  const Thing before = Thing::At(scene_.sidecar());
  const Sidecar pending(scene_.db());
  pending.Hold(kMutexByte);  // whoever asks for it is told that it is busy
  host.Open("c", scene_.db());
  EXPECT_EQ(host.Registry(scene_.db()),
            Lines{"private: a.db-lockscope is no registry of lockscope, or damaged"});
  EXPECT_EQ(Thing::At(scene_.sidecar()), before);
}

TEST_P(FoundTest, AFolderIsLeftAlone) {
  scene_.Prepare([](const std::string& db) { fs::create_directory(SidecarOf(db)); });
  ExpectLeftAlone("is a directory");
}

TEST_P(FoundTest, APipeIsLeftAlone) {
  scene_.Prepare([](const std::string& db) { ASSERT_EQ(mkfifo(SidecarOf(db).c_str(), 0644), 0); });
  ExpectLeftAlone("is no regular file");
}

TEST_P(FoundTest, ASocketIsLeftAlone) {
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(address.sun_path, scene_.sidecar().c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ExpectLeftAlone("is no regular file");
}

TEST_P(FoundTest, AnotherUsersFileIsLeftAlone) {
  if (geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  scene_.Prepare([](const std::string& db) {
    Sidecar(db).WriteHeader(HeaderOf(db));
    ASSERT_EQ(chown(SidecarOf(db).c_str(), 12345, 12345), 0);
  });
  ExpectLeftAlone("belongs to another user (12345)");
}

// Whoever can cut it short could kill the program.
TEST_P(FoundTest, AFileThatMoreMayWriteThanTheDatabaseIsLeftAlone) {
  scene_.Prepare([](const std::string& db) {
    Sidecar(db).WriteHeader(HeaderOf(db));
    fs::permissions(SidecarOf(db), fs::perms(0666));
  });
  ExpectLeftAlone("can be written by more users than the database");
}

// ---- headers -----------------------------------------------------------------------------------

constexpr const char* kOtherVersion = "is laid out by another version of lockscope";
constexpr const char* kOtherDatabase = "is of another database, which had this name before";

using Change = std::function<void(ledger::RegistryHeader&)>;
const std::vector<Change> kOtherVersions = {
    [](ledger::RegistryHeader& header) { header.version += 1; },
    [](ledger::RegistryHeader& header) { header.version = ~0U; },
    [](ledger::RegistryHeader& header) { header.byte_order = 0x04030201; },
    [](ledger::RegistryHeader& header) { header.block_bytes = 0; },
    [](ledger::RegistryHeader& header) { header.record_bytes += 8; }};
const std::vector<Change> kOtherDatabases = {
    [](ledger::RegistryHeader& header) { header.database_inode += 1; },
    [](ledger::RegistryHeader& header) { header.database_device = ~std::uint64_t{0}; }};

std::function<void(const std::string&)> WithHeader(const Change& change) {
  return [change](const std::string& db) {
    ledger::RegistryHeader header = HeaderOf(db);
    change(header);
    Sidecar(db).WriteHeader(header);
  };
}

TEST_P(HeaderTest, AnotherVersionsIsReplacedWhereNobodyUsesIt) {
  for (const Change& change : kOtherVersions) {
    scene_.Prepare(WithHeader(change));
    ExpectTaken();
  }
}

TEST_P(HeaderTest, AnotherVersionsIsLeftAloneWhileSomebodyUsesIt) {
  scene_.Prepare(WithHeader(kOtherVersions[0]));
  const Sidecar theirs(scene_.db());
  theirs.Hold(kBlockByte + 5);
  ExpectLeftAlone(std::string(kOtherVersion) + ", and in use there", kOtherVersion);
  theirs.LetGo(kBlockByte + 5);
  ExpectTaken();
}

TEST_P(HeaderTest, AnotherDatabasesIsReplacedWhereNobodyUsesIt) {
  for (const Change& change : kOtherDatabases) {
    scene_.Prepare(WithHeader(change));
    ExpectTaken();
  }
}

TEST_P(HeaderTest, AnotherDatabasesIsLeftAloneWhileSomebodyUsesIt) {
  scene_.Prepare(WithHeader(kOtherDatabases[0]));
  const Sidecar theirs(scene_.db());
  theirs.Hold(kBlockByte);
  ExpectLeftAlone(std::string(kOtherDatabase) + ", and in use there", kOtherDatabase);
  theirs.LetGo(kBlockByte);
  ExpectTaken();
}

TEST_P(HeaderTest, WhatTheDeadLeftIsUsedAgain) {
  scene_.Prepare([](const std::string& db) {
    const Sidecar sidecar(db);
    sidecar.WriteHeader(HeaderOf(db));
    WriteNoise(SidecarOf(db), kRegistryPage, 3 * ledger::kBlockBytes + 1000, 3);
  });
  ExpectTaken();
}

// ---- replaced ----------------------------------------------------------------------------------

// A restore by mv, while a program has the old file open.
TEST_P(ReplacedTest, ARestoredDatabaseHasNoRegistryUntilTheOldOnesUserIsGone) {
  const std::string& db = scene_.db();
  CreateDatabase(scene_.folder() / "backup", {.journal_mode = GetParam()});
  Host old(true);
  old.Open("c", db);
  old.Exec("c", "insert into t(v) values (0)");
  // As a careful admin does it, but for the program that still runs.
  for (const char* suffix : {"-wal", "-shm"}) fs::remove(db + suffix);
  fs::rename(scene_.folder() / "backup", db);

  Host fresh(true);
  fresh.Open("c", db);
  fresh.Exec("c", "insert into t(v) values (0)");
  EXPECT_EQ(fresh.Registry(db),
            Lines{std::string("private: a.db-lockscope ") + kOtherDatabase + ", and in use there"});
  EXPECT_EQ(old.Query("c", "select count(*) from t"), (std::vector<Row>{{"201"}}));
  EXPECT_TRUE(Exists(scene_.sidecar()));
  old.Close("c");
  EXPECT_FALSE(Exists(scene_.sidecar()));
  fresh.Open("d", db);
  EXPECT_EQ(fresh.Registry(db).back(), "shared");
  fresh.Exec("d", "insert into t(v) values (0)");
  fresh.Close("d");
  fresh.Close("c");
  EXPECT_FALSE(Exists(scene_.sidecar()));
  EXPECT_EQ(IntegrityCheck(db), "ok");
}

// A restore by cp keeps the file, and with it the sidecar.
TEST_P(ReplacedTest, ADatabaseWrittenOverByCpKeepsItsRegistry) {
  CopyFile(scene_.db(), scene_.folder() / "backup");
  {
    Host dying(true);
    dying.Open("c", scene_.db());
    dying.Exec("c", "insert into t(v) values (0)");
    dying.Kill();
  }
  EXPECT_TRUE(Exists(scene_.sidecar()));
  for (const char* suffix : {"-wal", "-shm", "-journal"}) fs::remove(scene_.db() + suffix);
  ASSERT_TRUE(Succeeds({"cp", scene_.folder() / "backup", scene_.db()}));
  ExpectTaken();
}

TEST_P(ReplacedTest, ARenamedDatabaseIsPublishedUnderItsNewName) {
  const std::string& db = scene_.db();
  const std::string moved = scene_.folder() / "b.db";
  Host host(true);
  host.Open("c", db);
  host.Exec("c", "begin immediate");
  host.Exec("c", "commit");
  host.Close("c");
  fs::rename(db, moved);
  host.Open("c", moved);
  EXPECT_EQ(host.Registry(moved), Lines{"shared"});
  EXPECT_TRUE(Exists(SidecarOf(moved)));
  CreateDatabase(db, {.journal_mode = GetParam()});
  host.Open("d", db);
  EXPECT_EQ(host.Registry(db), Lines{"shared"});
  host.Close("c");
  host.Close("d");
  EXPECT_FALSE(Exists(SidecarOf(moved)));
  EXPECT_FALSE(Exists(SidecarOf(db)));
}

TEST_P(ReplacedTest, TheNextConnectionMakesAnotherWhereTheSidecarWasRemoved) {
  const std::string& db = scene_.db();
  Host host(true);
  host.Open("c", db);
  host.Exec("c", "begin immediate; insert into t(v) values (0)");
  fs::remove(scene_.sidecar());
  host.Exec("c", "commit; insert into t(v) values (0)");
  EXPECT_FALSE(Exists(scene_.sidecar()));
  host.Open("d", db);
  const Thing second = Thing::At(scene_.sidecar());
  EXPECT_TRUE(S_ISREG(second.mode));
  Host other(true);
  other.Open("e", db);
  other.Exec("e", "insert into t(v) values (0)");
  EXPECT_EQ(other.Registry(db), Lines{"shared"});
  EXPECT_EQ(
      other.Query("m", "select count(*) from lockscope_connections('" + db +
                           "') where source = 'shim' and pid = " + std::to_string(host.pid())),
      (std::vector<Row>{{"1"}}));
  // The first one's going leaves the second alone.
  host.Close("c");
  EXPECT_EQ(Thing::At(scene_.sidecar()).inode, second.inode);
  host.Close("d");
  EXPECT_EQ(Thing::At(scene_.sidecar()).inode, second.inode);
  other.Close("e");
  EXPECT_FALSE(Exists(scene_.sidecar()));
}

TEST_P(ReplacedTest, WhatReplacedTheSidecarIsLeftAlone) {
  const std::string& db = scene_.db();
  Host host(true);
  host.Open("c", db);
  host.Exec("c", "begin immediate; insert into t(v) values (0)");
  WriteNoise(scene_.folder() / "noise", 0, 5000, 1);
  fs::rename(scene_.folder() / "noise", scene_.sidecar());
  const Thing noise = Thing::At(scene_.sidecar());
  host.Exec("c", "commit; insert into t(v) values (0)");
  host.Open("d", db);
  EXPECT_EQ(host.Registry(db), (Lines{"private: a.db-lockscope is no registry of lockscope, or "
                                      "damaged",
                                      "shared"}));
  EXPECT_EQ(host.Query("d", "select count(*) from t"), (std::vector<Row>{{"202"}}));
  host.Close("c");
  host.Close("d");
  EXPECT_EQ(Thing::At(scene_.sidecar()), noise);
}

// ---- a process that stopped --------------------------------------------------------------------

double SecondsOf(const std::function<void()>& action) {
  const auto begun = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

TEST_P(MutexTest, AStoppedProcessIsWaitedForOnceAndShortly) {
  scene_.Prepare([](const std::string& db) { Sidecar(db).WriteHeader(HeaderOf(db)); });
  const Sidecar stopped(scene_.db());
  stopped.Hold(kMutexByte);
  const Thing before = Thing::At(scene_.sidecar());
  Host host(true);
  constexpr double kSlack = 0.2;  // a busy machine
  const double first = SecondsOf([&] { host.Open("c", scene_.db()); });
  EXPECT_GE(first, 0.2);
  EXPECT_LE(first, 0.3 + kSlack);
  const double second = SecondsOf([&] { host.Open("d", scene_.db()); });
  EXPECT_LE(second, kSlack);
  const char* const kBusy = "is busy: a process that was entering or leaving it does not go on";
  EXPECT_EQ(host.Registry(scene_.db()), Private(kBusy));
  EXPECT_EQ(RegistryFromOutside(scene_.db()).size(), 0U);  // nobody has read yet
  host.Exec("c", "insert into t(v) values (0)");
  host.Close("c");
  host.Close("d");
  EXPECT_EQ(Thing::At(scene_.sidecar()), before);
  stopped.LetGo(kMutexByte);
  host.Open("e", scene_.db());
  EXPECT_EQ(host.Registry(scene_.db()), Lines{"shared"});
}

// It stopped when all others were in already: they go without it.
TEST_P(MutexTest, LeavingIsNotHeldUpForLong) {
  Host host(true);
  for (const char* name : {"c", "d"}) host.Open(name, scene_.db());
  const Sidecar stopped(scene_.db());
  stopped.Hold(kMutexByte);
  EXPECT_LE(SecondsOf([&] {
              host.Close("c");
              host.Close("d");
            }),
            0.5);
  // Nobody was there to see that it was the last.
  EXPECT_TRUE(Exists(scene_.sidecar()));
  stopped.LetGo(kMutexByte);
  host.Open("e", scene_.db());
  EXPECT_EQ(host.Registry(scene_.db()), Lines{"shared"});
  host.Close("e");
  EXPECT_FALSE(Exists(scene_.sidecar()));
}

}  // namespace
}  // namespace lockscope::testing
