// lockscope exec: any tool copies a live database under a barrier.
//
//   1  what the command finds
//   2  copies by ordinary tools while others write
//   3  exit status
//   4  signals
//   5  locks lost under it
//   6  no barrier
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>

#include "running.h"
#include "support/actor.h"
#include "writing.h"

namespace lockscope::testing {
namespace {

class ExecTest : public ::testing::Test {
 protected:
  std::string MakeDatabase(const std::string& name, const std::string& journal_mode = "wal") {
    CreateDatabase(dir_ / name, {.journal_mode = journal_mode});
    return dir_ / name;
  }

  // As a shell's script; $DEST is where copies go, $L is lockscope.
  std::vector<std::string> Words(const std::vector<std::string>& options,
                                 const std::string& script) {
    std::vector<std::string> words = {"exec"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"--", "sh", "-c", script});
    return words;
  }
  Environment Env() { return {{"DEST", dest_}, {"DIR", dir_.path()}, {"L", LOCKSCOPE_COMMAND}}; }
  ProgramResult Exec(const std::vector<std::string>& options, const std::string& script) {
    return Lockscope(Words(options, script), Env());
  }
  std::unique_ptr<Running> Start(const std::vector<std::string>& options, const std::string& script,
                                 Environment more = {}) {
    more.merge(Env());
    return std::make_unique<Running>(Words(options, script), more);
  }

  // A copy that SQLite opens as it opens anything: whole, and no transaction cut in two.
  static void ExpectWhole(const std::string& path) {
    EXPECT_EQ(IntegrityCheck(path), "ok") << path;
    Actor actor;
    actor.Open("c", path);
    EXPECT_EQ(actor.Exec("c", "select count(*), sum(v) from t"), (Row{"200", "0"})) << path;
  }

  TempDir dir_;
  std::string dest_ = dir_ / "dest";
};

// ---- 1 ----

TEST_F(ExecTest, ManifestAndListsNameTheFilesOfTheBarrier) {
  const std::string app = MakeDatabase("app.db");
  const std::string users = MakeDatabase("users.db", "delete");
  Actor writer;
  writer.Open("c", app);
  writer.Exec("c", "update t set v = 0 where id = 1");
  const ProgramResult result =
      Exec({"--db", app, "--db", users},
           "cp \"$LOCKSCOPE_MANIFEST\" $DIR/manifest && cp \"$LOCKSCOPE_FILES_FROM\" $DIR/list &&"
           "printf %s \"$LOCKSCOPE_FILES\" >$DIR/files && printf %s \"$LOCKSCOPE_TOKEN\"");
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out.rfind("lsb-", 0), 0U) << result;
  const std::string list = app + "\n" + app + "-wal\n" + users + "\n";
  EXPECT_EQ(TextOf(dir_ / "list"), list);
  EXPECT_EQ(TextOf(dir_ / "files"), list);
  const Json manifest = Json::parse(TextOf(dir_ / "manifest"));
  ASSERT_EQ(manifest.size(), 3U) << manifest.dump(2);
  const std::vector<std::string> schemas = {"main", "main", "db2"};
  const std::vector<std::string> roles = {"database", "wal", "database"};
  std::size_t i = 0;
  for (const Json& file : manifest) {
    const std::string path = file.at("path");
    EXPECT_EQ(file.at("database"), i < 2 ? app : users);
    EXPECT_EQ(file.at("schema"), schemas.at(i));
    EXPECT_EQ(file.at("role"), roles.at(i));
    EXPECT_EQ(file.at("bytes"), FileSize(path)) << path;
    struct stat facts = {};
    ASSERT_EQ(stat(path.c_str(), &facts), 0) << path;
    EXPECT_EQ(file.at("inode"), facts.st_ino) << path;
    EXPECT_EQ(file.at("device"), facts.st_dev) << path;
    ++i;
  }
  EXPECT_EQ(manifest.at(1).at("frames").get<std::int64_t>() * (4096 + 24) + 32,
            manifest.at(1).at("bytes").get<std::int64_t>());
}

// A variable of 128 KiB keeps every program from being started.
TEST_F(ExecTest, AListTooLongForTheEnvironmentIsInItsFileOnly) {
  std::vector<std::string> options;
  std::string list;
  const std::string long_name(230, 'a');
  while (list.size() < 132'000) {
    const std::string path = dir_ / (long_name + std::to_string(options.size()) + ".db");
    Touch(path);
    list += path + "\n";
    options.insert(options.end(), {"--db", path});
  }
  const ProgramResult result =
      Exec(options, "cat \"$LOCKSCOPE_FILES_FROM\"; printf %s \"${LOCKSCOPE_FILES-unset}\"");
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_TRUE(result.out == list + "unset") << result.out.substr(0, 1000);
  EXPECT_NE(result.err.find("too long for LOCKSCOPE_FILES"), std::string::npos);
}

TEST_F(ExecTest, SaysWhatItHoldsAndWhatCameOfIt) {
  const std::string wal = MakeDatabase("a.db");
  const std::string rollback = MakeDatabase("b.db", "delete");
  struct Case {
    std::vector<std::string> options;
    std::string held;
    std::string verdict;
  };
  const std::string a = " unchanged: the copy is consistent\n";
  const std::vector<Case> cases = {
      {{"--db", wal}, "(snapshot; writers go on, checkpoints wait)", ", " + wal + a},
      {{"--db", rollback}, "(snapshot; readers go on, writers wait)", ", " + rollback + a},
      {{"--db", wal, "--db", rollback},
       "(snapshot; writers go on in " + wal + ", wait in " + rollback + ")",
       ", both databases" + a},
      {{"--kind", "write", "--db", wal}, "(write; readers go on, writers wait)", a},
      {{"--kind", "EXCLUSIVE", "--db", wal}, "(exclusive; readers go on, writers wait)", a},
      {{"--kind", "exclusive", "--db", rollback}, "(exclusive; nobody else is in)", a},
      {{"--db", wal, "--db", rollback, "--db", MakeDatabase("c.db")},
       ", wait in ",
       ", all 3 databases" + a},
  };
  for (const Case& c : cases) {
    const ProgramResult result = Exec(c.options, "true");
    EXPECT_EQ(result.exit_code, 0) << result;
    EXPECT_NE(result.err.find("lockscope: barrier on "), std::string::npos) << result;
    EXPECT_NE(result.err.find(c.held), std::string::npos) << result;
    EXPECT_NE(result.err.find("lockscope: held "), std::string::npos) << result;
    EXPECT_NE(result.err.find(c.verdict), std::string::npos) << result;
    EXPECT_EQ(result.out, "");
  }
}

TEST_F(ExecTest, TheCommandHasStreamsDescriptorsAndSignalsAsItWouldHaveWithout) {
  const std::string path = MakeDatabase("a.db");
  const std::vector<std::string> command = {
      "sh", "-c", "cat; ls /proc/self/fd | wc -l; grep Sig[BI] /proc/self/status"};
  const ProgramResult without = RunProgram({.argv = command, .input = "input\n"});
  std::vector<std::string> words = {LOCKSCOPE_COMMAND, "exec", "--db", path, "--"};
  words.insert(words.end(), command.begin(), command.end());
  const ProgramResult with = RunProgram({.argv = words, .input = "input\n"});
  EXPECT_EQ(with.out, without.out);
  EXPECT_EQ(with.out.rfind("input\n", 0), 0U) << with;
}

// No file of ours takes the place of a closed stream, nor what is printed into it.
TEST_F(ExecTest, ClosedStreamsStayClosedAndTakeNoFilesPlace) {
  const std::string path = MakeDatabase("a.db");
  const std::string script =
      "exec 3>$DIR/fds; ls /proc/self/fd >&3; cat \"$LOCKSCOPE_FILES_FROM\" >&3";
  Environment env = Env();
  env["DB"] = path;
  for (const char* closed : {"<&-", ">&-", "2>&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"}) {
    const auto listed = [&](const std::string& runner) {
      std::filesystem::remove(dir_ / "fds");
      env["SCRIPT"] = script;
      const ProgramResult result =
          RunProgram({.argv = {"sh", "-c", runner + " sh -c \"$SCRIPT\" " + closed}, .env = env});
      EXPECT_EQ(result.exit_code, 0) << closed << result;
      return TextOf(dir_ / "fds");
    };
    env["LOCKSCOPE_FILES_FROM"] = "/dev/null";
    const std::string without = listed("");
    EXPECT_EQ(listed("\"$L\" exec --db \"$DB\" --"), without + path + "\n") << closed;
  }
}

TEST_F(ExecTest, AFileOfTwoNamesIsHeldOnce) {
  const std::string path = MakeDatabase("a.db", "delete");
  std::filesystem::create_symlink(path, dir_ / "link.db");
  std::filesystem::create_hard_link(path, dir_ / "hard.db");
  const ProgramResult result =
      Exec({"--db", path, "--db", dir_ / "link.db", "--db", dir_ / "hard.db"},
           "cat \"$LOCKSCOPE_FILES_FROM\"");
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.out, path + "\n");
}

// ---- 2 ----

struct Tool {
  const char* name;
  const char* needs;
  const char* script;
  const char* kind = "snapshot";
};
void PrintTo(const Tool& tool, std::ostream* stream) { *stream << tool.name; }

// By an ordinary tool, while others write and checkpoint.
class ExecCopyTest : public ExecTest, public ::testing::WithParamInterface<Tool> {};

TEST_P(ExecCopyTest, GivesAWholeCopyWhileOthersWrite) {
  const Tool& tool = GetParam();
  if (!RunProgram({.argv = {"sh", "-c", "command -v " + std::string(tool.needs)}}).ok()) {
    GTEST_SKIP() << "there is no " << tool.needs << " here";
  }
  for (const char* mode : {"wal", "delete"}) {
    const std::string path = MakeDatabase(std::string("it's ") + mode + ".db", mode);
    const Writing writing(path);
    constexpr int kRounds = 5;
    for (int round = 0; round < kRounds; ++round) {
      std::filesystem::remove_all(dest_);
      std::filesystem::create_directory(dest_);
      const long before = writing.commits();
      const ProgramResult result = Exec({"--db", path, "--timeout", "20", "--kind", tool.kind},
                                        std::string("set -e; ") + tool.script);
      ASSERT_EQ(result.exit_code, 0) << result;
      EXPECT_TRUE(Eventually([&] { return writing.commits() > before; }));
      for (const auto& entry : std::filesystem::recursive_directory_iterator(dest_)) {
        if (entry.path().extension() == ".db") ExpectWhole(entry.path());
      }
      EXPECT_TRUE(
          RunProgram({.argv = {"sh", "-c", "find " + dest_ + " -name '*.db' | grep ."}}).ok());
    }
  }
}

constexpr Tool kTools[] = {
    {"Copy", "sh", "\"$L\" copy \"$LOCKSCOPE_MANIFEST\" $DEST"},
    {"CopyWhileOthersGoOn", "sh",
     "sleep 0.2; \"$L\" copy \"$LOCKSCOPE_MANIFEST\" $DEST; sleep 0.1"},
    {"Rsync", "rsync", "rsync -a --files-from=\"$LOCKSCOPE_FILES_FROM\" / $DEST"},
    // Status 1: the WAL grew while tar read it, as it may. tar keeps to the size of the beginning.
    {"Tar", "tar",
     "tar -cf $DEST/a.tar --files-from \"$LOCKSCOPE_FILES_FROM\" || [ $? -eq 1 ];"
     "tar -xf $DEST/a.tar -C $DEST"},
    {"TarOfFilesThatStandStill", "tar",
     "tar -cf $DEST/a.tar --files-from \"$LOCKSCOPE_FILES_FROM\"; tar -xf $DEST/a.tar -C $DEST",
     "write"},
    {"Cp", "cp",
     "while read -r f; do cp --reflink=auto \"$f\" $DEST; sleep 0.05; done"
     " <\"$LOCKSCOPE_FILES_FROM\""},
};
INSTANTIATE_TEST_SUITE_P(Tools, ExecCopyTest, ::testing::ValuesIn(kTools),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_F(ExecTest, TheExactCopyIsTheBarriersOwnInstant) {
  const std::string path = MakeDatabase("a.db");
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "update t set v = 1 where id = 1");
  const auto exec = Start({"--db", path},
                          "touch $DIR/held; while [ ! -e $DIR/go ]; do sleep 0.01; done;"
                          "\"$L\" copy \"$LOCKSCOPE_MANIFEST\" $DEST");
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "held"); })) << exec->err();
  writer.Exec("c", "update t set v = 2 where id = 1");
  Touch(dir_ / "go");
  const ProgramResult result = exec->Wait();
  EXPECT_EQ(result.exit_code, 0) << result;
  Actor reader;
  reader.Open("c", dest_ + "/a.db");
  EXPECT_EQ(reader.Exec("c", "select v from t where id = 1"), Row{"1"});
  EXPECT_EQ(writer.Exec("c", "select v from t where id = 1"), Row{"2"});
}

TEST_F(ExecTest, ExactCopiesOfSeveralDatabasesAreOneCut) {
  const std::string app = MakeDatabase("app.db");
  const std::string users = MakeDatabase("users.db");
  Actor mover;
  mover.Open("c", app);
  mover.Exec("c", "attach '" + users + "' as u");
  mover.BusyTimeout("c", 10000);
  for (int round = 0; round < 5; ++round) {
    // Each transaction takes from one what it gives to the other; exec meets some of them.
    std::string transactions;
    for (int i = 0; i < 100; ++i) {
      transactions +=
          "begin immediate; update main.t set v = v - 1 where id = 1;"
          "update u.t set v = v + 1 where id = 1; commit;";
    }
    Answer moving = mover.Start("c", transactions);
    const ProgramResult result = Exec({"--db", app, "--db", users, "--timeout", "20"},
                                      "sleep 0.02; \"$L\" copy \"$LOCKSCOPE_MANIFEST\" $DEST");
    ASSERT_EQ(result.exit_code, 0) << result;
    ASSERT_TRUE(moving.Wait().ok());
    Actor reader;
    reader.Open("c", dest_ + "/app.db");
    reader.Exec("c", "attach '" + dest_ + "/users.db' as u");
    EXPECT_EQ(reader.Exec("c", "select (select sum(v) from main.t) + (select sum(v) from u.t)"),
              Row{"0"});
    EXPECT_EQ(IntegrityCheck(dest_ + "/app.db"), "ok");
    EXPECT_EQ(IntegrityCheck(dest_ + "/users.db"), "ok");
  }
}

TEST_F(ExecTest, KindWriteKeepsWritersOutUntilItEnds) {
  const std::string path = MakeDatabase("a.db");
  Actor writer;
  writer.Open("c", path);
  const auto exec = Start({"--db", path, "--kind", "write"},
                          "touch $DIR/held; while [ ! -e $DIR/go ]; do sleep 0.01; done");
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "held"); })) << exec->err();
  EXPECT_EQ(writer.Try("c", "begin immediate").code, SQLITE_BUSY);
  Touch(dir_ / "go");
  EXPECT_EQ(exec->Wait().exit_code, 0);
  writer.Exec("c", "begin immediate; commit");
}

// ---- 3 ----

TEST_F(ExecTest, StatusIsTheCommandsOwn) {
  const std::string path = MakeDatabase("a.db");
  EXPECT_EQ(Exec({"--db", path}, "exit 0").exit_code, 0);
  EXPECT_EQ(Exec({"--db", path}, "exit 1").exit_code, 1);
  EXPECT_EQ(Exec({"--db", path}, "exit 75").exit_code, 75);
  const ProgramResult killed = Exec({"--db", path}, "kill -9 $$");
  EXPECT_EQ(killed.exit_code, 128 + 9) << killed;
  EXPECT_NE(killed.err.find("unchanged, but sh ended with status 137\n"), std::string::npos)
      << killed;
}

TEST_F(ExecTest, WhatCannotBeRunIsToldFromWhatIsNotFound) {
  const std::string path = MakeDatabase("a.db");
  const auto before = ReadLocksOf(path);
  EXPECT_EQ(Lockscope({"exec", "--db", path, "--", dir_ / "missing"}).exit_code, 127);
  EXPECT_EQ(Lockscope({"exec", "--db", path, "--", "lockscope-no-such-command"}).exit_code, 127);
  EXPECT_EQ(Lockscope({"exec", "--db", path, "--", path}).exit_code, 126);
  EXPECT_EQ(Lockscope({"exec", "--db", path, "--", dir_.path()}).exit_code, 126);
  EXPECT_EQ(ReadLocksOf(path), before);
}

TEST_F(ExecTest, HoldTimeOverEndsTheCommandAndLetsGo) {
  const std::string path = MakeDatabase("a.db");
  const ProgramResult result =
      Exec({"--db", path, "--max-hold", "300ms"}, "sleep 100 & sleep 100; exit 0");
  EXPECT_EQ(result.exit_code, 124) << result;
  EXPECT_NE(result.err.find("hold time over"), std::string::npos) << result;
  EXPECT_TRUE(ReadLocksOf(path + "-shm").empty());
}

// The locks go at the limit, whatever the command does about its SIGTERM.
TEST_F(ExecTest, HoldTimeOverIsNotPutOffByACommandThatIgnoresSigterm) {
  const std::string path = MakeDatabase("a.db");
  const auto exec = Start({"--db", path, "--max-hold", "0.3s"},
                          "trap 'touch $DIR/asked' TERM; while :; do sleep 0.05; done");
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "asked"); })) << exec->err();
  EXPECT_FALSE(HoldsByte(path + "-shm", exec->pid(), kWrite, kWalCkptByte));
  EXPECT_EQ(exec->Wait().exit_code, 124);
}

// As by timeout(1): what is stopped minds no SIGTERM.
TEST_F(ExecTest, HoldTimeOverWakesACommandThatIsStopped) {
  const std::string path = MakeDatabase("a.db");
  const auto begun = std::chrono::steady_clock::now();
  const ProgramResult result = Exec({"--db", path, "--max-hold", "300ms"},
                                    "trap 'touch $DIR/asked; exit' TERM; kill -STOP $$");
  EXPECT_EQ(result.exit_code, 124) << result;
  EXPECT_TRUE(Exists(dir_ / "asked"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(4));
}

// A copy that goes on in the background is not under the barrier; what ends with the command is
// nobody to warn of.
TEST_F(ExecTest, WhatTheCommandLeavesRunningIsWarnedOf) {
  const std::string path = MakeDatabase("a.db");
  const std::string warning = "warning: sh has left processes running";
  const ProgramResult left = Exec({"--db", path}, "sleep 2 <&- >&- 2>&- &");
  EXPECT_EQ(left.exit_code, 0) << left;
  EXPECT_NE(left.err.find(warning), std::string::npos) << left;
  const ProgramResult ended = Exec({"--db", path}, "true <&- >&- 2>&- &");
  EXPECT_EQ(ended.exit_code, 0) << ended;
  EXPECT_EQ(ended.err.find(warning), std::string::npos) << ended;
}

TEST_F(ExecTest, WhatAShellHasStartedBeforeItBecameLockscopeIsLeftAlone) {
  const std::string path = MakeDatabase("a.db");
  Environment env = Env();
  env["DB"] = path;
  const ProgramResult result =
      RunProgram({.argv = {"sh", "-c",
                           "sh -c 'sleep 2; touch $DIR/done' >/dev/null 2>&1 & "
                           "sh -c 'sleep 0.1; (sleep 2; touch $DIR/orphan) &' >/dev/null 2>&1 & "
                           "exec \"$L\" exec --db \"$DB\" --max-hold 300ms -- sleep 100"},
                  .env = env});
  EXPECT_EQ(result.exit_code, 124) << result;
  EXPECT_TRUE(Eventually([&] { return Exists(dir_ / "done"); }));
  EXPECT_TRUE(Eventually([&] { return Exists(dir_ / "orphan"); }));
}

TEST_F(ExecTest, UsageIsTwo) {
  const std::string path = MakeDatabase("a.db");
  const std::vector<std::vector<std::string>> wrong = {
      {"exec"},
      {"exec", "--db", path},
      {"exec", "--db", path, "--"},
      {"exec", "--", "true"},
      {"exec", "--db", path, "true"},
      {"exec", "--db", path, "true", "--", "true"},
      {"exec", "--db", path, "--kind", "read", "--", "true"},
      {"exec", "--db", path, "--timeout", "soon", "--", "true"},
      {"exec", "--db", path, "--timeout", "-1", "--", "true"},
      {"exec", "--db", path, "--max-hold", "1d", "--", "true"},
  };
  for (const auto& words : wrong) {
    const ProgramResult result = Lockscope(words);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(words) << result;
    EXPECT_EQ(result.err.rfind("lockscope: ", 0), 0U) << result;
  }
  const std::string feed = MakeDatabase("a\nb.db");
  const ProgramResult result = Exec({"--db", feed}, "true");
  EXPECT_EQ(result.exit_code, 2) << result;
  EXPECT_NE(result.err.find("a\\nb.db"), std::string::npos) << result;
  EXPECT_EQ(Exec({"--db", MakeDatabase("\xff.db")}, "true").exit_code, 2);
}

// ---- 4 ----

TEST_F(ExecTest, SignalsArePassedOn) {
  const std::string path = MakeDatabase("a.db");
  const std::vector<std::pair<const char*, int>> signals = {{"TERM", SIGTERM}, {"INT", SIGINT},
                                                            {"HUP", SIGHUP},   {"QUIT", SIGQUIT},
                                                            {"USR1", SIGUSR1}, {"USR2", SIGUSR2}};
  for (const auto& [name, number] : signals) {
    const std::string ready = dir_ / name;
    const auto exec =
        Start({"--db", path}, std::string("trap 'exit 40' ") + name + "; touch $DIR/" + name +
                                  "; while :; do sleep 0.02; done");
    ASSERT_TRUE(Eventually([&] { return Exists(ready); })) << exec->err();
    exec->Signal(number);
    const ProgramResult result = exec->Wait();
    EXPECT_EQ(result.exit_code, 40) << name << result;
    EXPECT_NE(result.err.find("unchanged"), std::string::npos) << result;
  }
}

TEST_F(ExecTest, ACommandThatASignalEndsIsReportedAsSuch) {
  const std::string path = MakeDatabase("a.db");
  const auto exec = Start({"--db", path}, "touch $DIR/ready; exec sleep 100");
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "ready"); })) << exec->err();
  exec->Signal(SIGTERM);
  EXPECT_EQ(exec->Wait().exit_code, 128 + SIGTERM);
}

// As under nohup.
TEST_F(ExecTest, AnIgnoredSignalStaysIgnored) {
  const std::string path = MakeDatabase("a.db");
  const std::string script =
      "trap '' HUP; exec \"$L\" exec --db \"$DB\" -- sh -c '" +
      std::string("touch $DIR/ready; while [ ! -e $DIR/go ]; do sleep 0.01; done'");
  Environment env = Env();
  env["DB"] = path;
  const pid_t pid = Spawn({"sh", "-c", script}, {.env = env, .own_group = true});
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "ready"); }));
  kill(-pid, SIGHUP);
  Touch(dir_ / "go");
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// ---- 5 ----

// Code in the process opens and closes a file of the database: the kernel drops all its locks on
// it.
class LostLockTest : public ExecTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(LostLockTest, StopsTheCommandWith125) {
  const std::string path = MakeDatabase("a.db");
  Actor other;  // so that there is a -shm
  other.Open("c", path);
  other.Exec("c", "select count(*) from t");
  const std::string file = path + GetParam();
  const auto exec =
      Start({"--db", path}, "echo $$ >$DIR/pid; touch $DIR/held; sleep 100 & sleep 100",
            {{"LD_PRELOAD", LOCKSCOPE_STRAY_CLOSE}, {"STRAY_CLOSE", file}});
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "held"); })) << exec->err();
  const pid_t command = static_cast<pid_t>(std::stol(TextOf(dir_ / "pid")));
  EXPECT_FALSE(Gone(command));
  Touch(file + ".now");
  const ProgramResult result = exec->Wait();
  EXPECT_EQ(result.exit_code, 125) << result;
  EXPECT_NE(result.err.find("barrier lost: "), std::string::npos) << result;
  EXPECT_NE(result.err.find(": stopping sh\n"), std::string::npos) << result;
  EXPECT_NE(result.err.find("barrier violated: lost: "), std::string::npos) << result;
  EXPECT_NE(result.err.find("throw the copy away\n"), std::string::npos) << result;
  EXPECT_TRUE(Gone(command));
}
INSTANTIATE_TEST_SUITE_P(Files, LostLockTest, ::testing::Values("", "-shm"), [](const auto& test) {
  return std::string(*test.param == '\0' ? "Database" : "Shm");
});

TEST_F(ExecTest, WhatTheCommandHasStartedIsStoppedTooWhenTheLocksAreLost) {
  const std::string path = MakeDatabase("a.db");
  // A copier in the background, whose own parent is gone, and which ignores SIGTERM.
  const auto exec = Start(
      {"--db", path},
      "(sh -c 'trap \"\" TERM; echo $$ >$DIR/pid; touch $DIR/held; while :; do sleep 1; done' &);"
      "sleep 100",
      {{"LD_PRELOAD", LOCKSCOPE_STRAY_CLOSE}, {"STRAY_CLOSE", path}});
  ASSERT_TRUE(Eventually([&] { return Exists(dir_ / "held"); })) << exec->err();
  const pid_t copier = static_cast<pid_t>(std::stol(TextOf(dir_ / "pid")));
  Touch(path + ".now");
  EXPECT_EQ(exec->Wait().exit_code, 125);
  EXPECT_TRUE(Gone(copier));
}

// ---- 6 ----

TEST_F(ExecTest, NoBarrierInTimeIs75AndSaysWhoIsInTheWay) {
  const std::string path = MakeDatabase("a.db");
  Actor holder;
  holder.Open("c", path);
  holder.Exec("c", "update t set v = 0 where id = 1");
  holder.PauseAt("after shm-lock ckpt exclusive");
  Answer checkpoint = holder.Start("c", "pragma wal_checkpoint");
  holder.AwaitPoint();
  const ProgramResult refused = Exec({"--db", path, "--timeout", "200ms"}, "touch $DIR/ran");
  EXPECT_EQ(refused.exit_code, 75) << refused;
  EXPECT_NE(refused.err.find("wal-checkpoint is busy, held by pid " + std::to_string(holder.pid())),
            std::string::npos)
      << refused;
  EXPECT_FALSE(Exists(dir_ / "ran"));
  holder.Continue();
  ASSERT_TRUE(checkpoint.Wait().ok());
  EXPECT_EQ(Exec({"--db", path, "--timeout", "200ms"}, "touch $DIR/ran").exit_code, 0);
  EXPECT_TRUE(Exists(dir_ / "ran"));
}

TEST_F(ExecTest, WaitsForAWriterWithinItsTimeout) {
  const std::string path = MakeDatabase("a.db", "delete");
  Actor writer;
  writer.Open("c", path);
  writer.Exec("c", "begin immediate");
  const auto exec = Start({"--db", path, "--timeout", "1m"}, "touch $DIR/ran");
  EXPECT_FALSE(Eventually([&] { return Exists(dir_ / "ran"); }, std::chrono::milliseconds(200)));
  writer.Exec("c", "commit");
  EXPECT_EQ(exec->Wait().exit_code, 0);
  EXPECT_TRUE(Exists(dir_ / "ran"));
}

TEST_F(ExecTest, WhatIsNoDatabaseIsOne) {
  const std::string path = MakeDatabase("a.db");
  std::ofstream(dir_ / "notes.txt") << std::string(200, 'x');
  for (const std::string& wrong : {dir_ / "missing.db", dir_ / "notes.txt", dir_.path()}) {
    const ProgramResult result = Exec({"--db", path, "--db", wrong}, "touch $DIR/ran");
    EXPECT_EQ(result.exit_code, 1) << result;
    EXPECT_NE(result.err.find(wrong), std::string::npos) << result;
    EXPECT_FALSE(Exists(dir_ / "ran"));
  }
}

// As nobody, where the tests run as root.
TEST_F(ExecTest, WithoutPermissionToWriteThereIsNoBarrier) {
  if (geteuid() == 0 && !RunProgram({.argv = {"sh", "-c", "command -v setpriv"}}).ok()) {
    GTEST_SKIP() << "there is no setpriv here";
  }
  const std::string path = MakeDatabase("a.db");
  const std::string rollback = MakeDatabase("b.db", "delete");
  dir_.AllowEverybody();
  for (const std::string& file : {path, rollback}) {
    ASSERT_EQ(chmod(file.c_str(), 0444), 0);
    std::vector<std::string> words = {LOCKSCOPE_COMMAND, "exec", "--db", file,
                                      "--timeout",       "20",   "--",   "true"};
    if (geteuid() == 0) {
      words.insert(words.begin(), {"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
    }
    const ProgramResult result = RunProgram({.argv = words});
    EXPECT_EQ(result.exit_code, 1) << result;
    EXPECT_NE(result.err.find("no permission to write"), std::string::npos) << result;
  }
}

}  // namespace
}  // namespace lockscope::testing
