// The text of the statement that took a lock:
//   keys     which statements carry one, and are withheld
//   text     copied, cut at a character's border, told apart by a number
//   unknown  no statement, a withheld one, one forgotten

#include "ledger/statement_text.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace lockscope::ledger {
namespace {

// ---- keys ----

TEST(CarriesKeyTest, PragmasThatSetAKey) {
  for (const char* sql : {
           "PRAGMA key = 'secret'",
           "pragma KEY='secret'",
           "PRAGMA key('secret')",
           "PRAGMA rekey = 'secret'",
           "PRAGMA hexkey='00ff'",
           "PRAGMA hexrekey='00ff'",
           "PRAGMA textkey='secret'",
           "PRAGMA textrekey='secret'",
           "PRAGMA main.key = 'secret'",
           "PRAGMA main . key = 'secret'",
           "PRAGMA \"main\".\"key\" = 'secret'",
           "PRAGMA [main].[key] = 'secret'",
           "PRAGMA `main`.`rekey` = 'secret'",
           "PRAGMA 'key' = 'secret'",
           "PRAGMA \"a\"\"b\".key = 'secret'",
           "PRAGMA [a.b].key = 'secret'",
           "\n\t PRAGMA key = 'secret'",
           "; PRAGMA key = 'secret'",
           "-- open it\nPRAGMA key = 'secret'",
           "/* open it */ PRAGMA key = 'secret'",
           "/* a */-- b\n/**/PRAGMA/* c */main/* d */./* e */key/* f */='secret'",
           "PRAGMA -- the word\n key = 'secret'",
           "EXPLAIN PRAGMA key = 'secret'",
           "EXPLAIN QUERY PLAN PRAGMA key = 'secret'",
           "explain /* */ query plan pragma key = 'secret'",
           "\xef\xbb\xbfPRAGMA key = 'secret'",
           "PRAGMA \vkey = 'secret'",
       }) {
    EXPECT_TRUE(CarriesKey(sql)) << sql;
  }
}

TEST(CarriesKeyTest, AttachWithAKey) {
  for (const char* sql : {
           "ATTACH 'a.db' AS a KEY 'secret'",
           "attach database 'a.db' as a key 'secret'",
           "ATTACH 'a.db' AS a KEY x'00'",
           "ATTACH 'a.db' AS a KEY ?1",
           "ATTACH 'a.db' AS a/**/KEY/**/'secret'",
           "ATTACH 'a.db' AS a -- see\n KEY 'secret'",
           "ATTACH \"a.db\" AS \"a\" KEY \"secret\"",
           "ATTACH 'file:a.db?key=secret' AS a",
           "ATTACH 'file:a.db?cache=private&key=secret' AS a",
           "ATTACH 'file:a.db?hexkey=00ff' AS a",
           "ATTACH \"file:a.db?textkey=secret\" AS a",
           "ATTACH 'file:a.db?KEY=secret' AS a",
           "EXPLAIN ATTACH 'a.db' AS a KEY 'secret'",
           "VACUUM INTO 'file:copy.db?key=secret'",
           "vacuum main into 'file:copy.db?hexkey=00ff'",
           "/* ATTACH */ ATTACH 'a.db' AS a KEY 'secret'",
           "\xef\xbb\xbf ATTACH 'a.db' AS a KEY 'secret'",
           "ATTACH 'it''s.db' AS a KEY 'secret'",
       }) {
    EXPECT_TRUE(CarriesKey(sql)) << sql;
  }
}

TEST(CarriesKeyTest, EverythingElseIsShown) {
  for (const char* sql : {
           "",
           ";",
           "/* PRAGMA key = 'secret' */",
           "-- ATTACH 'a' AS a KEY 'b'",
           "SELECT key FROM t",
           "SELECT 'PRAGMA key = 1'",
           "INSERT INTO t(key) VALUES ('key=1')",
           "CREATE TABLE attach_key(key)",
           "PRAGMA journal_mode = wal",
           "PRAGMA foreign_key_check",
           "PRAGMA foreign_keys = on",
           "PRAGMA key_count",
           "PRAGMA keys",
           "PRAGMA key.user_version",  // a schema called key
           "PRAGMA table_info(key)",
           "PRAGMA user_version /* key */",
           "ATTACH 'a.db' AS a",
           "ATTACH 'a.db' AS monkey",
           "ATTACH 'a.db' AS a -- KEY 'b'",
           "ATTACH 'key.db' AS a",
           "ATTACH 'file:a.db?cache=shared' AS a",
           "EXPLAIN SELECT 1",
           "DETACH a",
           "UPDATE t SET key = 'x'",
           "BEGIN IMMEDIATE",
           "/* not closed",
           "PRAGMA",
           "ATTACH",
           "ATTACH 'not closed",
       }) {
    EXPECT_FALSE(CarriesKey(sql)) << sql;
  }
}

// ---- text ----

class StatementTextTest : public ::testing::Test {
 protected:
  std::string Assign(const std::string& sql) {
    text_->Assign(sql.c_str());
    return text_->known() ? std::string(text_->text()) : "(not known)";
  }

  std::unique_ptr<StatementText> text_ = std::make_unique<StatementText>();
};

TEST_F(StatementTextTest, IsTheStatementsOwn) {
  EXPECT_EQ(Assign("select 1"), "select 1");
  EXPECT_EQ(Assign("  select 2 -- why"), "  select 2 -- why");
}

TEST_F(StatementTextTest, ANewTextHasANewNumberAndTheSameTextDoesNot) {
  EXPECT_EQ(text_->id(), 0U);
  Assign("select 1");
  const std::uint64_t first = text_->id();
  EXPECT_NE(first, 0U);
  Assign(std::string("select ") + "1");
  EXPECT_EQ(text_->id(), first);
  Assign("select 10");
  const std::uint64_t second = text_->id();
  EXPECT_NE(second, first);
  EXPECT_EQ(Assign("select 1"), "select 1");
  EXPECT_NE(text_->id(), second);
}

TEST_F(StatementTextTest, TheSameTextElsewhereHasANumberOfItsOwn) {
  const auto other = std::make_unique<StatementText>();
  other->Assign("select 1");
  Assign("select 1");
  EXPECT_NE(text_->id(), other->id());
}

TEST_F(StatementTextTest, AnEmptyTextIsKnown) {
  EXPECT_EQ(Assign(""), "");
  EXPECT_TRUE(text_->known());
}

TEST_F(StatementTextTest, ATextThatJustFitsIsNotCut) {
  const std::string sql = "select '" + std::string(kSqlBytes - 9, 'x') + "'";
  ASSERT_EQ(sql.size(), kSqlBytes);
  EXPECT_EQ(Assign(sql), sql);
}

TEST_F(StatementTextTest, ALongerOneIsCutAndSaysSo) {
  const std::string sql = "select '" + std::string(kSqlBytes - 8, 'x') + "'";
  ASSERT_EQ(sql.size(), kSqlBytes + 1);
  EXPECT_EQ(Assign(sql), sql.substr(0, kSqlBytes - 3) + "…");
  EXPECT_EQ(text_->text().size(), kSqlBytes);
}

TEST_F(StatementTextTest, IsNeverCutInsideACharacter) {
  for (std::size_t shift = 0; shift < 4; ++shift) {
    std::string sql = "select '" + std::string(shift, 'x');
    while (sql.size() < 2 * kSqlBytes) sql += "\U0001F512";  // four bytes
    const std::string cut = Assign(sql);
    ASSERT_TRUE(cut.ends_with("…")) << shift;
    const std::string kept = cut.substr(0, cut.size() - 3);
    EXPECT_EQ(kept, sql.substr(0, kept.size()));
    EXPECT_EQ((kept.size() - 8 - shift) % 4, 0U) << shift;
    EXPECT_LE(cut.size(), kSqlBytes);
    EXPECT_GT(cut.size(), kSqlBytes - 4);
  }
}

TEST_F(StatementTextTest, BytesThatAreNoUtf8AreCutSomewhere) {
  const std::string sql = "select " + std::string(2 * kSqlBytes, '\x80');
  const std::string cut = Assign(sql);
  EXPECT_TRUE(cut.ends_with("…"));
  EXPECT_LE(cut.size(), kSqlBytes);
}

TEST_F(StatementTextTest, TwoLongTextsThatDifferWhereNothingIsKeptAreOne) {
  const std::string sql = "select '" + std::string(3 * kSqlBytes, 'x');
  Assign(sql + "1'");
  const std::uint64_t id = text_->id();
  Assign(sql + "2'");
  EXPECT_EQ(text_->id(), id);
}

TEST_F(StatementTextTest, AShortTextIsNotItsLongBeginning) {
  const std::string sql = "select '" + std::string(3 * kSqlBytes, 'x');
  Assign(sql);
  const std::uint64_t id = text_->id();
  for (const std::size_t length : {kSqlBytes, kSqlBytes - 1, kSqlBytes - 3, std::size_t{7}}) {
    EXPECT_EQ(Assign(sql.substr(0, length)), sql.substr(0, length));
    EXPECT_NE(text_->id(), id);
    Assign(sql);
  }
}

// ---- unknown ----

TEST_F(StatementTextTest, NoStatementIsNotKnown) {
  EXPECT_FALSE(text_->known());
  Assign("select 1");
  text_->Assign(nullptr);
  EXPECT_FALSE(text_->known());
  EXPECT_EQ(text_->id(), 0U);
  EXPECT_EQ(Assign("select 1"), "select 1");
  text_->Forget();
  EXPECT_FALSE(text_->known());
}

TEST_F(StatementTextTest, AKeyIsWithheldAndTheNextStatementIsNot) {
  for (const char* secret :
       {"PRAGMA key='hush'", "attach 'a' as a key 'hush'", "/**/pragma key='hush'",
        "Explain pragma key='hush'", "\xef\xbb\xbfpragma key='hush'", " pragma key='hush'"}) {
    EXPECT_EQ(Assign(secret), "(not known)") << secret;
    EXPECT_EQ(Assign("select 1"), "select 1");
    EXPECT_EQ(std::string(text_->text()).find("hush"), std::string::npos);
  }
}

// The key lies behind what would be kept, but a longer limit must not turn that into a leak.
TEST_F(StatementTextTest, AKeyFarBehindIsWithheldToo) {
  EXPECT_EQ(Assign("ATTACH 'a' AS a /*" + std::string(3 * kSqlBytes, 'x') + "*/ KEY 'hush'"),
            "(not known)");
}

}  // namespace
}  // namespace lockscope::ledger
