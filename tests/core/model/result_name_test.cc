// SQLite's result codes by name:
//   primary and extended codes that are listed, extended ones that are not, figures for the rest

#include "model/result_name.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

namespace lockscope {
namespace {

TEST(ResultNameTest, NamesPrimaryCodes) {
  EXPECT_EQ(ResultName(SQLITE_OK), "SQLITE_OK");
  EXPECT_EQ(ResultName(SQLITE_BUSY), "SQLITE_BUSY");
  EXPECT_EQ(ResultName(SQLITE_CANTOPEN), "SQLITE_CANTOPEN");
}

TEST(ResultNameTest, TellsEveryBusyApart) {
  EXPECT_EQ(ResultName(261), "SQLITE_BUSY_RECOVERY");
  EXPECT_EQ(ResultName(517), "SQLITE_BUSY_SNAPSHOT");
  EXPECT_EQ(ResultName(773), "SQLITE_BUSY_TIMEOUT");
}

TEST(ResultNameTest, NamesAReadOnlyConnectionsHotJournal) {
  EXPECT_EQ(ResultName(776), "SQLITE_READONLY_ROLLBACK");
}

TEST(ResultNameTest, AppendsTheFigureOfAnUnlistedExtendedCode) {
  constexpr int kUnlisted = SQLITE_BUSY | (99 << 8);
  EXPECT_EQ(ResultName(kUnlisted), "SQLITE_BUSY(" + std::to_string(kUnlisted) + ")");
}

TEST(ResultNameTest, GivesTheFigureOfAnUnknownPrimaryCode) {
  EXPECT_EQ(ResultName(250), "250");
  EXPECT_EQ(ResultName(250 | (1 << 8)), "506");
}

}  // namespace
}  // namespace lockscope
