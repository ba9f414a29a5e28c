// Barriers that can never be had, and words that mean nothing: refused at once, whatever the
// timeout, with nothing held.
//
//   ArgumentTest     kinds, times, schemas, tokens
//   CallerTest       the caller's own transactions, its VFS, its locking mode, what it is connected
//   to PermissionTest   no permission to write: as another user, in another process HostTest
//   auto-extensions, authorizers and hooks of the host
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "barrier/hosted.h"
#include "lockscope.h"

namespace lockscope::testing {
namespace {

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Refused at once with this code, and no lock more than before.
void ExpectRefusedAtOnce(Db& host, const std::string& path, const std::string& sql, int code) {
  SCOPED_TRACE(sql);
  const auto before = OwnKernelLocks(path);
  const StopWatch watch;
  const Reply reply = host.Try(sql);
  EXPECT_EQ(reply.code & 0xff, code) << reply;
  EXPECT_FALSE(reply.message.empty());
  EXPECT_LE(watch.Elapsed(), std::chrono::milliseconds(1000));
  EXPECT_EQ(OwnKernelLocks(path), before);
}

// ---- Words ----

// Expected: SQLITE_MISUSE, each with its reason.
TEST(ArgumentTest, WordsThatMeanNothingAreMisuse) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    host.Exec("attach ':memory:' as m");
    for (const char* arguments : {"NULL",
                                  "'none'",
                                  "'snapshots'",
                                  "1",
                                  "'snapshot', NULL",
                                  "'snapshot', -1",
                                  "'snapshot', -0.5",
                                  "'snapshot', 'soon'",
                                  "'snapshot', '5s'",
                                  "'snapshot', x'35'",
                                  "'snapshot', 9e999",
                                  "'snapshot', -9e999",
                                  "'snapshot', 0, NULL",
                                  "'snapshot', 0, 'nowhere'",
                                  "'snapshot', 0, 'main,'",
                                  "'snapshot', 0, ',main'",
                                  "'snapshot', 0, 'main nowhere'",
                                  "'snapshot', 0, 'temp'",
                                  "'snapshot', 0, 'm'",
                                  "'snapshot', 0, 'main,m'",
                                  "'snapshot', 0, 'main', NULL",
                                  "'snapshot', 0, 'main', -1",
                                  "'snapshot', 0, 'main', 'long'"}) {
      ExpectRefusedAtOnce(host, dir / "a.db",
                          "select lockscope_barrier(" + std::string(arguments) + ")",
                          SQLITE_MISUSE);
    }
  });
}

// Expected: SQLITE_MISUSE of each function, and of the table.
TEST(ArgumentTest, TokensThatNobodyHasAreMisuse) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    const std::string old = host.Value(BarrierSql());
    ASSERT_EQ(Released(host, old), "1");
    for (const std::string& token : {std::string("NULL"), std::string("''"), std::string("'x'"),
                                     std::string("17"), std::string("x'00'"), Quote(old)}) {
      for (const std::string call :
           {"select lockscope_barrier_check(", "select lockscope_barrier_release(",
            "select lockscope_barrier_manifest(", "select * from lockscope_barrier_files("}) {
        const Reply reply = host.Try(call + token + ")");
        EXPECT_EQ(reply.code, SQLITE_MISUSE) << call << token << ") " << reply;
      }
    }
  });
}

// Expected: '' is the default of each; the words of a kind in any case; numbers as text or real.
TEST(ArgumentTest, DefaultsAndSpellings) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    CreateDatabase(dir / "b.db");
    Db host(dir / "a.db");
    host.Exec("attach " + Quote(dir / "b.db") + " as \"b c\"");
    for (const char* arguments :
         {"", "''", "'', ''", "'', '', ''", "'', '', '', ''", "'SNAPSHOT', '100', 'main,b c'",
          "'Write', 1.5, ' MAIN , b c '", "'exclusive', 100, '', 1e5"}) {
      SCOPED_TRACE(arguments);
      const std::string token =
          host.Value("select lockscope_barrier(" + std::string(arguments) + ")");
      EXPECT_EQ(ListedFiles(host, token).size(), 2U);
      EXPECT_EQ(Released(host, token), "1");
    }
  });
}

// ---- The caller ----

// Expected: SQLITE_MISUSE at once: the barrier would wait for its own caller. After the transaction
// it is granted.
TEST(CallerTest, OwnWriteTransactionIsMisuse) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host(dir / mode);
      host.Exec("begin immediate; update t set v = v + 1 where id = 1");
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        ExpectRefusedAtOnce(host, dir / mode, BarrierSql({.kind = kind}), SQLITE_MISUSE);
      }
      host.Exec("rollback");
      EXPECT_EQ(Released(host, host.Value(BarrierSql())), "1");
    }
  });
}

// Expected: granted, but for EXCLUSIVE in a rollback mode, which would wait for the caller. The
// caller's transaction goes on undisturbed, and sees its own snapshot.
TEST(CallerTest, OwnReadTransactionIsNoObstacleButToExclusive) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Actor writer;
      writer.Open("w", dir / mode);
      writer.Exec("w", TransactionsSql(2));
      Db host(dir / mode);
      host.Exec("begin; select count(*) from t");
      if (mode == "wal") writer.Exec("w", TransactionsSql(3));
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        SCOPED_TRACE(mode + " " + kind);
        if (mode == "delete" && kind == "exclusive") {
          ExpectRefusedAtOnce(host, dir / mode, BarrierSql({.kind = kind}), SQLITE_MISUSE);
          continue;
        }
        const std::string token = host.Value(BarrierSql({.kind = kind}));
        EXPECT_EQ(host.Value("select count(*) from t"), "202");
        EXPECT_EQ(Verdict(CopyListed(host, token, dir / (mode + kind), Copy::kExact)),
                  mode == "wal" ? "ok 0 205" : "ok 0 202");
        EXPECT_EQ(Released(host, token), "1");
      }
      host.Exec("commit");
    }
  });
}

// Expected: SQLITE_MISUSE at once, whether it is the main database or attached.
TEST(CallerTest, DatabasesThatDoNotLockAsUnixDoesAreMisuse) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    for (const std::string vfs : {"unix-excl", "unix-none", "unix-dotfile"}) {
      SCOPED_TRACE(vfs);
      const std::string path = dir / (vfs + ".db");
      CreateDatabase(path, {.journal_mode = "delete"});
      Db direct("file:" + path + "?vfs=" + vfs);
      direct.Exec("pragma user_version");
      ExpectRefusedAtOnce(direct, path, BarrierSql(), SQLITE_MISUSE);
      direct.Close();
      Db host(dir / "a.db");
      host.Exec("attach " + Quote("file:" + path + "?vfs=" + vfs) + " as other");
      ExpectRefusedAtOnce(host, dir / "a.db", BarrierSql(), SQLITE_MISUSE);
      EXPECT_EQ(Released(host, host.Value(BarrierSql({.schemas = "main"}))), "1");
    }
  });
}

// The same VFSes under the shim, by another name.
// Expected: SQLITE_MISUSE at once.
TEST(CallerTest, ShimOverSuchAVfsIsMisuseToo) {
  RegisterShim();
  ASSERT_EQ(lockscope_register("unix-excl", "lockscope-excl", 0), SQLITE_OK);
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host("file:" + (dir / "a.db") + "?vfs=lockscope-excl");
    host.Exec("select count(*) from t");
    ExpectRefusedAtOnce(host, dir / "a.db", BarrierSql(), SQLITE_MISUSE);
  });
}

// Expected: SQLITE_MISUSE at once: the caller never lets go.
TEST(CallerTest, OwnExclusiveLockingModeIsMisuse) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host(dir / mode);
      host.Exec("pragma locking_mode = exclusive; update t set v = v where id = 1");
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        ExpectRefusedAtOnce(host, dir / mode, BarrierSql({.kind = kind}), SQLITE_MISUSE);
      }
    }
  });
}

// Expected: without a file database, SQLITE_MISUSE; the ones in memory beside it are left out.
TEST(CallerTest, OnlyFileDatabasesCount) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(":memory:");
    host.Exec("attach '' as t; create temp table x(y)");
    ExpectRefusedAtOnce(host, dir / "a.db", BarrierSql(), SQLITE_MISUSE);
    Db shared("file:shared?mode=memory&cache=shared");
    ExpectRefusedAtOnce(shared, dir / "a.db", BarrierSql(), SQLITE_MISUSE);
    host.Exec("attach " + Quote(dir / "a.db") + " as a");
    const std::string token = host.Value(BarrierSql());
    EXPECT_EQ(ListedFiles(host, token).at(0).schema, "a");
    EXPECT_EQ(ListedFiles(host, token).size(), 1U);
    EXPECT_EQ(Released(host, token), "1");
  });
}

// Expected: one member, listed once, under the name of the first.
TEST(CallerTest, FileThatIsAttachedTwiceIsHeldOnce) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    std::filesystem::create_symlink(dir / "a.db", dir / "link.db");
    Db host(dir / "a.db");
    host.Exec("attach " + Quote(dir / "a.db") + " as again; attach " + Quote(dir / "link.db") +
              " as link");
    for (const std::string kind : {"snapshot", "write"}) {
      const std::string token = host.Value(BarrierSql({.kind = kind}));
      EXPECT_EQ(ListedFiles(host, token).size(), 1U);
      EXPECT_EQ(ListedFiles(host, token).at(0).schema, "main");
      EXPECT_EQ(Released(host, token), "1");
    }
  });
}

// The first page looks like noise, as an encrypted one does; the host, which has the key, could
// read it. Expected: SQLITE_NOTADB at once.
TEST(CallerTest, EncryptedFileIsNotADatabase) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    WriteNoise(dir / "a.db", 0, 8192, 7);
    Db host(dir / "a.db");
    ExpectRefusedAtOnce(host, dir / "a.db", BarrierSql(), SQLITE_NOTADB);
  });
}

// Expected: the caller's connection may be for reading only, the barrier's is its own.
TEST(CallerTest, ReadOnlyConnectionHasABarrier) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host("file:" + (dir / mode) + "?mode=ro");
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        SCOPED_TRACE(mode + " " + kind);
        const std::string token = host.Value(BarrierSql({.kind = kind}));
        EXPECT_EQ(Verdict(CopyListed(host, token, dir / (mode + kind), Copy::kExact)), "ok 0 200");
        EXPECT_EQ(Released(host, token), "1");
      }
    }
  });
}

// readonly_shm=1, and the process has its -shm open for reading alone by it.
// Expected: SQLITE_READONLY at once: the locks cannot be had.
TEST(CallerTest, ReadOnlyShmIsReadOnly) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(2));
    Db host("file:" + (dir / "a.db") + "?readonly_shm=1");
    ASSERT_EQ(host.Value("select count(*) from t"), "202");
    for (const std::string kind : {"snapshot", "write", "exclusive"}) {
      ExpectRefusedAtOnce(host, dir / "a.db", BarrierSql({.kind = kind}), SQLITE_READONLY);
    }
  });
}

// ---- Permissions ----

class PermissionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
  }

  // What a barrier answers to nobody, in another process.
  static std::string AskedByNobody(const std::string& path, const std::string& kind) {
    HostProcess host;
    host.Become(65534, 65534);
    host.Open("h", path);
    static_cast<void>(host.Try("h", "select 1"));  // recent SQLites read the schema for it
    const auto before = KernelLocks(path, host.pid());
    const StopWatch watch;
    const Reply reply = host.Try("h", BarrierSql({.kind = kind}));
    EXPECT_LE(watch.Elapsed(), std::chrono::milliseconds(1000));
    EXPECT_EQ(KernelLocks(path, host.pid()), before);
    return reply.ok() ? "granted" : std::to_string(reply.code & 0xff);
  }
};

const std::string kReadOnly = std::to_string(SQLITE_READONLY);

// Expected: SQLITE_READONLY at once, for all kinds and modes.
TEST_F(PermissionTest, DatabaseThatMayOnlyBeReadIsReadOnly) {
  EachRound([](const TempDir& dir) {
    dir.AllowEverybody();
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      chmod((dir / mode).c_str(), 0444);
      for (const std::string kind : {"snapshot", "write", "exclusive"}) {
        SCOPED_TRACE(mode + " " + kind);
        EXPECT_EQ(AskedByNobody(dir / mode, kind), kReadOnly);
      }
    }
  });
}

// Somebody else has the WAL open; the database may be written, and its -shm may not.
// Expected: SQLITE_READONLY at once.
TEST_F(PermissionTest, ShmThatMayOnlyBeReadIsReadOnly) {
  EachRound([](const TempDir& dir) {
    dir.AllowEverybody();
    CreateDatabase(dir / "a.db");
    Actor writer;
    writer.Open("w", dir / "a.db");
    writer.Exec("w", TransactionsSql(2));
    chmod((dir / "a.db").c_str(), 0666);
    chmod((dir / "a.db-wal").c_str(), 0666);
    chmod((dir / "a.db-shm").c_str(), 0444);
    for (const std::string kind : {"snapshot", "write", "exclusive"}) {
      EXPECT_EQ(AskedByNobody(dir / "a.db", kind), kReadOnly);
    }
  });
}

// The database may be written, and no file can be made beside it: no -shm, no -wal.
// Expected: in WAL mode SQLITE_READONLY at once.
TEST_F(PermissionTest, WalInAReadOnlyFolderIsReadOnly) {
  EachRound([](const TempDir& dir) {
    chmod(dir.path().c_str(), 0755);
    CreateDatabase(dir / "a.db");
    chmod((dir / "a.db").c_str(), 0666);
    for (const std::string kind : {"snapshot", "write", "exclusive"}) {
      EXPECT_EQ(AskedByNobody(dir / "a.db", kind), kReadOnly);
    }
  });
}

// Expected: in the rollback modes the lock is had all the same: a barrier writes no journal.
TEST_F(PermissionTest, RollbackModesInAReadOnlyFolderAreHeld) {
  EachRound([](const TempDir& dir) {
    chmod(dir.path().c_str(), 0755);
    CreateDatabase(dir / "a.db", {.journal_mode = "delete"});
    chmod((dir / "a.db").c_str(), 0666);
    HostProcess host;
    host.Become(65534, 65534);
    host.Open("h", dir / "a.db");
    const std::string token = host.Exec("h", BarrierSql())[0];
    EXPECT_TRUE(HoldsByte(dir / "a.db", host.pid(), kWrite, kReservedByte));
    EXPECT_EQ(host.Exec("h", "select lockscope_barrier_release(" + Quote(token) + ")")[0], "1");
  });
}

// ---- The host ----

int g_extensions = 0;

// An auto-extension that does to every new connection what applications do.
int Meddle(sqlite3* db, char**, const void*) {
  ++g_extensions;
  sqlite3_exec(db,
               "pragma locking_mode = exclusive; pragma journal_mode = delete; pragma cache_size = "
               "10; create table if not exists meddled(x)",
               nullptr, nullptr, nullptr);
  sqlite3_busy_timeout(db, 5000);
  sqlite3_set_authorizer(
      db,
      +[](void*, int, const char*, const char*, const char*, const char*) -> int {
        return SQLITE_DENY;
      },
      nullptr);
  sqlite3_progress_handler(
      db, 1, +[](void*) -> int { return 1; }, nullptr);
  return SQLITE_OK;
}

// Expected: the barrier is had; neither database nor lock of it has been touched by the extension.
TEST(HostTest, AutoExtensionDoesNotReachTheBarrier) {
  EachRound([](const TempDir& dir) {
    for (const std::string mode : {"wal", "delete"}) {
      CreateDatabase(dir / mode, {.journal_mode = mode});
      Db host(dir / mode);
      host.Exec("select count(*) from t");
      g_extensions = 0;
      auto* const meddle = reinterpret_cast<void (*)(void)>(Meddle);
      ASSERT_EQ(sqlite3_auto_extension(meddle), SQLITE_OK);
      const Reply token = host.Try(BarrierSql());
      sqlite3_cancel_auto_extension(meddle);
      ASSERT_TRUE(token.ok()) << token;
      EXPECT_EQ(g_extensions, 1);
      EXPECT_EQ(Verdict(CopyListed(host, token.text(), dir / (mode + "-copy"), Copy::kExact)),
                "ok 0 200");
      EXPECT_EQ(Released(host, token.text()), "1");
      EXPECT_EQ(host.Value("select count(*) from sqlite_schema where name = 'meddled'"), "0");
    }
  });
}

// The caller's authorizer denies all but functions and SELECT; its busy handler is never asked.
// Expected: the barrier is had all the same.
TEST(HostTest, AuthorizerAndBusyHandlerOfTheCallerAreNotConcerned) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    sqlite3_set_authorizer(
        host.handle(),
        +[](void*, int action, const char*, const char*, const char*, const char*) -> int {
          return action == SQLITE_FUNCTION || action == SQLITE_SELECT ? SQLITE_OK : SQLITE_DENY;
        },
        nullptr);
    int asked = 0;
    sqlite3_busy_handler(
        host.handle(),
        +[](void* count, int) -> int {
          ++*static_cast<int*>(count);
          return 0;
        },
        &asked);
    const Reply token = host.Try(BarrierSql());
    ASSERT_TRUE(token.ok()) << token;
    EXPECT_EQ(Released(host, token.text()), "1");
    EXPECT_EQ(asked, 0);
  });
}

// Expected: functions that change something are not to be had from a view or trigger.
TEST(HostTest, FunctionsAreForDirectUseOnly) {
  EachRound([](const TempDir& dir) {
    CreateDatabase(dir / "a.db");
    Db host(dir / "a.db");
    host.Exec("create view sly as select lockscope_barrier() as token");
    const Reply reply = host.Try("select token from sly");
    EXPECT_EQ(reply.code, SQLITE_ERROR);
    EXPECT_TRUE(Contains(reply.message, "unsafe use of lockscope_barrier")) << reply;
  });
}

}  // namespace
}  // namespace lockscope::testing
