// tools/lockscope.bash-completion, in a real bash: it offers what the command itself lists.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "command.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

using Words = std::set<std::string>;

// What is offered for the last of `line`, which may be "".
Words Offered(const std::vector<std::string>& line, const std::string& directory = {}) {
  std::vector<std::string> argv = {
      "bash",
      "--norc",
      "-c",
      "source " LOCKSCOPE_SOURCE_DIR
      "/tools/lockscope.bash-completion\n"
      "COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))\n"
      "_lockscope; ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"",
      "bash",
      "lockscope"};
  argv.insert(argv.end(), line.begin(), line.end());
  const ProgramResult result = RunProgram({.argv = argv, .directory = directory});
  EXPECT_EQ(result.exit_code, 0) << result;
  EXPECT_EQ(result.err, "");
  std::istringstream lines(result.out);
  Words words;
  for (std::string word; std::getline(lines, word);) words.insert(word);
  return words;
}

// The words that begin a line of `help` behind `heading`, two blanks in.
std::vector<std::string> Listed(const std::string& help, const std::string& heading) {
  std::vector<std::string> words;
  const std::size_t begin = help.find("\n" + heading + ":\n");
  if (begin == std::string::npos) return words;
  std::istringstream lines(help.substr(begin + heading.size() + 3));
  for (std::string line; std::getline(lines, line) && !line.empty();) {
    if (!line.starts_with("  ") || line.starts_with("   ")) continue;
    words.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return words;
}

std::vector<std::string> Commands() { return Listed(Lockscope({"--help"}).out, "Subcommands"); }

TEST(CompletionTest, OffersEveryCommandAndNoOther) {
  const auto commands = Commands();
  ASSERT_FALSE(commands.empty());
  Words expected(commands.begin(), commands.end());
  expected.insert({"-h", "--help", "--version"});
  EXPECT_EQ(Offered({""}), expected);
  EXPECT_EQ(Offered({"sn"}), Words{"snapshots"});
}

TEST(CompletionTest, OffersEveryOptionOfEveryCommand) {
  for (const std::string& command : Commands()) {
    Words expected;
    for (const std::string& option : Listed(Lockscope({command, "--help"}).out, "Options")) {
      // "-h,--help"
      std::istringstream names(option);
      for (std::string name; std::getline(names, name, ',');) expected.insert(name);
    }
    ASSERT_TRUE(expected.count("--help") == 1) << command;
    Words offered = Offered({command, "-"});
    // What separates another program's arguments is no option.
    const bool runs_another = command == "exec" || command == "shell";
    EXPECT_EQ(offered.erase("--") == 1, runs_another) << command;
    EXPECT_EQ(offered, expected) << command;
  }
}

TEST(CompletionTest, OffersFilesWhereADatabaseStands) {
  const TempDir dir;
  std::ofstream(dir / "app one.db").flush();
  std::ofstream(dir / "other.db").flush();
  EXPECT_EQ(Offered({"locks", "app"}, dir.path()), Words{"app one.db"});
  EXPECT_EQ(Offered({"exec", "--db", "o"}, dir.path()), Words{"other.db"});
  EXPECT_EQ(Offered({"hold", "--stop", ""}, dir.path()), (Words{"app one.db", "other.db"}));
  EXPECT_EQ(Offered({"exec", "app"}, dir.path()), Words{});
}

// Which bash hands over as three words.
TEST(CompletionTest, KnowsAnOptionsValueBehindAnEqualsSign) {
  const TempDir dir;
  std::ofstream(dir / "app.db").flush();
  EXPECT_EQ(Offered({"hold", "--kind", "=", "s"}), Words{"snapshot"});
  EXPECT_EQ(Offered({"hold", "--kind", "="}), (Words{"snapshot", "write", "exclusive"}));
  EXPECT_EQ(Offered({"exec", "--db", "=", "a"}, dir.path()), Words{"app.db"});
  EXPECT_EQ(Offered({"exec", "--timeout", "=", "1"}, dir.path()), Words{});
}

TEST(CompletionTest, OffersKindsAndTheProgramsToRun) {
  EXPECT_EQ(Offered({"exec", "--kind", ""}), (Words{"snapshot", "write", "exclusive"}));
  EXPECT_EQ(Offered({"hold", "--kind", "w"}), Words{"write"});
  EXPECT_EQ(Offered({"exec", "--timeout", ""}), Words{});
  EXPECT_EQ(Offered({"exec", "--db", "a.db", "--", "mkti"}), Words{});
  EXPECT_EQ(Offered({"exec", "--db", "a.db", "--", "mktem"}), Words{"mktemp"});
}

}  // namespace
}  // namespace lockscope::testing
