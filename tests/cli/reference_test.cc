// tools/reference.md says what is true: its SQL runs, and it leaves out no table, column or
// command.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

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

// The chapter on barriers, with its sections.
std::string Barriers() {
  const std::string text = Reference();
  const std::size_t begin = text.find("\n## Barriers\n");
  return text.substr(begin, text.find("\n## ", begin + 1) - begin);
}

// `text` with every `from` in it as `to`.
std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::vector<std::string> SqlBlocks(const std::string& text) {
  const std::string begin = "```sql\n";
  std::vector<std::string> blocks;
  for (std::size_t at = text.find(begin); at != std::string::npos; at = text.find(begin, at)) {
    at += begin.size();
    blocks.push_back(Replaced(text.substr(at, text.find("```", at) - at), "\n", " "));
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
  actor.Open("refused", "file:" + path + "?vfs=lockscope");
  EXPECT_EQ(actor.Try("refused", "begin immediate").code, SQLITE_BUSY);
  const auto blocks = SqlBlocks(Replaced(Reference(), Barriers(), ""));
  ASSERT_GE(blocks.size(), 10U);
  for (const std::string& block : blocks) {
    const std::string sql = Replaced(block, "'app.db'", "'" + path + "'");
    const Reply reply = actor.Try("c", sql);
    EXPECT_TRUE(reply.ok()) << sql << ": " << reply;
    EXPECT_FALSE(reply.rows.empty()) << sql;
  }
}

TEST(ReferenceTest, TheSqlOfBarriersRunsInItsOrder) {
  const TempDir dir;
  CreateDatabase(dir / "app.db");
  CreateDatabase(dir / "users.db", {.journal_mode = "delete"});
  Actor actor;
  actor.Load("load", LOCKSCOPE_LOADABLE_FILE);
  actor.Open("c", "file:" + (dir / "app.db") + "?vfs=lockscope");
  actor.Exec("c", "attach '" + (dir / "users.db") + "' as users");
  const auto blocks = SqlBlocks(Barriers());
  ASSERT_GE(blocks.size(), 3U);
  for (const std::string& block : blocks) {
    const Reply reply = actor.Try("c", block);
    EXPECT_TRUE(reply.ok()) << block << ": " << reply;
    EXPECT_FALSE(reply.rows.empty()) << block;
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
  const std::string manual =
      Replaced(std::string(std::istreambuf_iterator<char>(file), {}), "\\-", "-");
  const std::string help = Lockscope({"--help"}).out;
  const std::string text = Reference();
  std::istringstream list(help.substr(help.find("Subcommands:\n")));
  int commands = 0;
  std::string line;
  while (std::getline(list, line)) {
    // "  locks  who holds which lock"
    if (!line.starts_with("  ") || line.starts_with("   ")) continue;
    const std::string command = line.substr(2, line.find(' ', 2) - 2);
    ++commands;
    EXPECT_NE(manual.find("\n.B " + command + "\n"), std::string::npos) << command;
    EXPECT_NE(text.find("lockscope " + command + " "), std::string::npos) << command;
  }
  EXPECT_EQ(commands, 17) << help;
}

}  // namespace
}  // namespace lockscope::testing
