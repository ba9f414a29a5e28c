// Text fit for a terminal, and tables of it.
//
//   1  Visible, VisibleJson: what must not reach a terminal raw
//   2  Width, Cut, CutFront, Wrap
//   3  TextTable
#include "text.h"

#include <gtest/gtest.h>

#include <clocale>

#include "text_table.h"

namespace lockscope::tools {
namespace {

class TextTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(std::setlocale(LC_CTYPE, "C.UTF-8"), nullptr); }
};

using Lines = std::vector<std::string>;

// ---- 1 ----

TEST_F(TextTest, OrdinaryTextIsVisibleAsItIs) {
  EXPECT_EQ(Visible("SELECT 'Grüße', '日本', '🙂' -- C:\\new"),
            "SELECT 'Grüße', '日本', '🙂' -- C:\\new");
  EXPECT_EQ(Visible(""), "");
}

TEST_F(TextTest, WhatSpeaksToATerminalIsWrittenOut) {
  EXPECT_EQ(Visible("\x1b]0;title\a"), "\\x1b]0;title\\x07");
  EXPECT_EQ(Visible("a\nb\rc\td"), "a\\nb\\rc\\td");
  EXPECT_EQ(Visible(std::string("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(Visible("\x7f"), "\\x7f");
  EXPECT_EQ(Visible("\u0080\u009b\u009f"), "\\u0080\\u009b\\u009f");
  EXPECT_EQ(Visible("\u00a0\u00a1"), "\u00a0\u00a1");
}

TEST_F(TextTest, WhatHidesOrTurnsTextIsWrittenOut) {
  // NOLINTNEXTLINE(misc-misleading-bidirectional)
  EXPECT_EQ(Visible("\u202e\u2066\u200b\u2028\ufeff\u00ad"),
            "\\u202e\\u2066\\u200b\\u2028\\ufeff\\u00ad");
  EXPECT_EQ(Visible("\U000e0041"), "\\U000e0041");
}

TEST_F(TextTest, WhatIsNoUtf8IsWrittenOutByteByByte) {
  EXPECT_EQ(Visible("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(Visible("\xc0\x9b"), "\\xc0\\x9b");           // over-long ESC
  EXPECT_EQ(Visible("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(Visible("\xe2\x80"), "\\xe2\\x80");           // cut short
  EXPECT_EQ(Visible("\xf5\x80\x80\x80"), "\\xf5\\x80\\x80\\x80");
}

TEST_F(TextTest, JsonKeepsItsValueAndItsWhiteSpace) {
  EXPECT_EQ(VisibleJson("[\n  \"\u009b\u202e\x7f\U000e0041 ü\\n\"\n]"),
            "[\n  \"\\u009b\\u202e\\u007f\\udb40\\udc41 ü\\n\"\n]");
}

// ---- 2 ----

TEST_F(TextTest, WidthCountsColumnsOfATerminal) {
  EXPECT_EQ(Width(""), 0U);
  EXPECT_EQ(Width("abc"), 3U);
  EXPECT_EQ(Width("Grüße"), 5U);
  EXPECT_EQ(Width("日本"), 4U);
  EXPECT_EQ(Width("e\u0301"), 1U);  // a combining accent
}

TEST_F(TextTest, CutKeepsTheBeginningAndCutFrontTheEnd) {
  EXPECT_EQ(Cut("abcdef", 6), "abcdef");
  EXPECT_EQ(Cut("abcdef", 5), "abcd…");
  EXPECT_EQ(Cut("日本語", 5), "日本…");
  EXPECT_EQ(Cut("日本語", 4), "日…");  // half a character is none
  EXPECT_EQ(Cut("abc", 1), "…");
  EXPECT_EQ(Cut("abc", 0), "");
  EXPECT_EQ(CutFront("/var/lib/app.db", 15), "/var/lib/app.db");
  EXPECT_EQ(CutFront("/var/lib/app.db", 7), "…app.db");
  EXPECT_EQ(CutFront("日本語", 4), "…語");
}

TEST_F(TextTest, WrapBreaksAtBlanksAndElseAnywhere) {
  EXPECT_EQ(Wrap("one two three", 20), (Lines{"one two three"}));
  EXPECT_EQ(Wrap("one two three", 7), (Lines{"one two", "three"}));
  EXPECT_EQ(Wrap("one two three", 8), (Lines{"one two", "three"}));
  EXPECT_EQ(Wrap("abcdefgh ij", 3), (Lines{"abc", "def", "gh", "ij"}));
  EXPECT_EQ(Wrap("日本", 1), (Lines{"日", "本"}));
  EXPECT_EQ(Wrap("", 5), (Lines{""}));
}

// ---- 3 ----

TEST_F(TextTest, TableAlignsItsColumnsAndEndsLinesWithoutBlanks) {
  TextTable table;
  table.AddColumn("PID", Fit::kRight);
  table.AddColumn("STATE", Fit::kLeft);
  table.AddRow({"7", "idle"});
  table.AddRow({"4711", "checkpointing"});
  EXPECT_EQ(table.Render({}), " PID  STATE\n   7  idle\n4711  checkpointing\n");
}

TEST_F(TextTest, ColumnThatSaysNothingIsLeftOutAndAnUnknownCellIsADash) {
  TextTable table;
  for (const char* title : {"A", "B", "C"}) table.AddColumn(title, Fit::kLeft);
  table.AddRow({"1", "", ""});
  table.AddRow({"2", "", "x"});
  EXPECT_EQ(table.Render({}), "A  C\n1  -\n2  x\n");
}

TEST_F(TextTest, FlexibleColumnsGiveWayTheWidestFirst) {
  TextTable table;
  table.AddColumn("PID", Fit::kRight);
  table.AddColumn("DATABASE", Fit::kPath);
  table.AddColumn("SQL", Fit::kFlexible);
  table.AddRow({"1", "/some/where/app.db", "SELECT id, payload FROM jobs WHERE state = ?"});
  EXPECT_EQ(table.Render(45),
            "PID  DATABASE            SQL\n"
            "  1  /some/where/app.db  SELECT id, payload …\n");
  EXPECT_EQ(table.Render(30),
            "PID  DATABASE      SQL\n"
            "  1  …here/app.db  SELECT id,…\n");
}

TEST_F(TextTest, TableWithoutRowsIsNothing) {
  TextTable table;
  table.AddColumn("PID", Fit::kRight);
  EXPECT_EQ(table.Render({}), "");
}

}  // namespace
}  // namespace lockscope::tools
