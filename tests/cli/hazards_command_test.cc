// lockscope hazards: text, JSON and exit status; and that `why` tells the same.
#include <gtest/gtest.h>
#include <unistd.h>

#include "command.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {
namespace {

class HazardsCommandTest : public ::testing::Test {
 protected:
  TempDir dir_;
  std::string path_ = dir_ / "a.db";
};

TEST_F(HazardsCommandTest, NoneIsNoErrorAndNoData) {
  CreateDatabase(path_);
  const ProgramResult text = Lockscope({"hazards", path_});
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_EQ(text.out, "");
  EXPECT_NE(text.err.find("no hazard is seen for " + path_), std::string::npos) << text;
  const ProgramResult json = Lockscope({"hazards", "--json", path_});
  EXPECT_EQ(json.exit_code, 0);
  EXPECT_EQ(json.out, "[]\n");
}

TEST_F(HazardsCommandTest, OneIsToldInWordsAndForPrograms) {
  CreateDatabase(path_);
  Actor user;
  user.Open("c", path_);
  user.Exec("c", "update t set v = v + 1");
  ASSERT_EQ(unlink((path_ + "-wal").c_str()), 0);

  const ProgramResult text = Lockscope({"hazards", path_});
  EXPECT_EQ(text.exit_code, 0) << text;
  EXPECT_NE(text.out.find("\ndanger    split-wal  " + std::to_string(user.pid())),
            std::string::npos)
      << text;

  const Json row = RowWhere(Rows("hazards", {path_}), "hazard", "split-wal");
  EXPECT_EQ(row.at("severity"), "danger");
  EXPECT_EQ(row.at("pid"), user.pid());
  EXPECT_EQ(row.at("source"), "kernel");
  EXPECT_TRUE(row.at("connection").is_null());

  EXPECT_EQ(Lockscope({"why", path_}).exit_code, 1);
  const Json finding = RowWhere(Rows("why", {path_}), "hazard", "split-wal");
  EXPECT_EQ(finding.at("severity"), "danger");
  EXPECT_EQ(finding.at("pid"), user.pid());
  EXPECT_EQ(finding.at("advice"), row.at("advice"));
}

// The table has both; `why` says of one reader only the worse.
TEST_F(HazardsCommandTest, AReaderThatIsOldAndInTheWayIsBlamedOnceInWords) {
  CreateDatabase(path_);
  Actor reader;
  reader.Load("m", LOCKSCOPE_LOADABLE_FILE);
  reader.Open("c", path_);
  Actor writer;
  writer.Open("c", path_);
  writer.Exec("c", "pragma wal_autocheckpoint = 0; update t set v = v + 1 where id = 1");
  reader.Exec("c", "begin; select * from t limit 1");
  writer.Exec("c", "update t set v = v + 1 where id = 2");
  const Environment env = {{"LOCKSCOPE_SNAPSHOT_WARN_MS", "1"}};
  const ProgramResult table = Lockscope({"hazards", "--json", path_}, env);
  const Json rows = Json::parse(table.out, nullptr, false);
  EXPECT_TRUE(AnyWhere(rows, "hazard", "starved-checkpoint")) << table;
  EXPECT_TRUE(AnyWhere(rows, "hazard", "long-snapshot")) << table;
  const Json why = Json::parse(Lockscope({"why", "--json", path_}, env).out, nullptr, false);
  EXPECT_TRUE(AnyWhere(why, "hazard", "starved-checkpoint")) << why.dump(2);
  EXPECT_FALSE(AnyWhere(why, "hazard", "long-snapshot")) << why.dump(2);
}

TEST_F(HazardsCommandTest, WhatIsNoDatabaseIsStatus1) {
  EXPECT_EQ(Lockscope({"hazards", dir_ / "none.db"}).exit_code, 1);
  EXPECT_EQ(Lockscope({"hazards"}).exit_code, 2);
}

}  // namespace
}  // namespace lockscope::testing
