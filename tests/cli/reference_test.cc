// tools/reference.md says what is true: its SQL runs, and it leaves out no table, column or
// command.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <regex>

#include "command.h"
#include "insight/table.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

std::string Reference() {
  std::ifstream file(LOCKSCOPE_SOURCE_DIR "/tools/reference.md");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// From a heading to the next one.
std::string Section(const std::string& heading) {
  const std::string text = Reference();
  const std::size_t begin = text.find("\n" + heading + "\n");
  if (begin == std::string::npos) return {};
  return text.substr(begin, text.find("\n#", begin + 1) - begin);
}

std::vector<std::string> SqlBlocks() {
  const std::string text = Reference();
  static const std::regex kBlock("```sql\n([^`]*)```");
  std::vector<std::string> blocks;
  for (std::sregex_iterator i(text.begin(), text.end(), kBlock), end; i != end; ++i) {
    blocks.push_back(std::regex_replace((*i)[1].str(), std::regex("\n"), " "));
  }
  return blocks;
}

TEST(ReferenceTest, ItsSqlRuns) {
  const TempDir dir;
  const std::string path = dir / "app.db";
  CreateDatabase(path);
  Actor actor;
  actor.Load("load", LOCKSCOPE_LOADABLE_FILE);
  actor.Open("c", "file:" + path + "?vfs=lockscope");
  actor.Exec("c", "begin immediate");
  const auto blocks = SqlBlocks();
  ASSERT_GE(blocks.size(), 10U);
  for (const std::string& block : blocks) {
    const std::string sql = std::regex_replace(block, std::regex("'app\\.db'"), "'" + path + "'");
    const Reply reply = actor.Try("c", sql);
    EXPECT_TRUE(reply.ok()) << sql << ": " << reply;
    EXPECT_FALSE(reply.rows.empty()) << sql;
  }
}

TEST(ReferenceTest, HasEveryColumnOfEveryTable) {
  const std::string common = Section("## Tables");
  ASSERT_FALSE(common.empty());
  for (const insight::Table& table : insight::AllTables()) {
    const std::string section = Section(std::string("### lockscope_") + table.name);
    ASSERT_FALSE(section.empty()) << table.name;
    const std::string name = table.name;
    const bool has_common = name == "connections" || name == "locks" || name == "snapshots";
    for (const insight::Column& column : table.columns) {
      const std::string word = std::string("`") + column.name + "`";
      const bool listed = section.find(word) != std::string::npos ||
                          (has_common && common.find("\n| " + word) != std::string::npos) ||
                          word == "`database`";
      EXPECT_TRUE(listed) << name << "." << column.name;
    }
  }
}

TEST(ReferenceTest, AndTheManPageHaveEveryCommand) {
  std::ifstream file(LOCKSCOPE_SOURCE_DIR "/tools/lockscope.1");
  const std::string manual(std::istreambuf_iterator<char>(file), {});
  const std::string help = Lockscope({"--help"}).out;
  const std::string text = Reference();
  const std::string list = help.substr(help.find("Subcommands:\n"));
  static const std::regex kCommand("\n  ([a-z]+) ");
  int commands = 0;
  for (std::sregex_iterator i(list.begin(), list.end(), kCommand), end; i != end; ++i) {
    const std::string command = (*i)[1];
    ++commands;
    EXPECT_NE(manual.find("\n.B " + command + "\n"), std::string::npos) << command;
    EXPECT_NE(text.find("lockscope " + command + " "), std::string::npos) << command;
  }
  EXPECT_EQ(commands, 6) << help;
}

}  // namespace
}  // namespace lockscope::testing
