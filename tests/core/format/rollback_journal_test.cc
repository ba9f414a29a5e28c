// The header of a rollback journal:
//   good headers   every field, byte order, "as many as fit"
//   half headers   shorter than magic or header, zeroed, sizes that cannot be
//   hot            the part of SQLite's rule that the file decides
//   SQLite's own   a journal unsynced, live without syncs, and finished in PERSIST mode
//   garbage        random bytes from a printed seed

#include "format/rollback_journal.h"

#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

#include "core/format/journal_database.h"
#include "format/database_header.h"

namespace lockscope::format {
namespace {

using Bytes = std::array<std::uint8_t, kJournalHeaderBytes>;

constexpr Bytes kGood = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7,  // magic
                         0,    0,    1,    2,                             // nRec
                         0xaa, 0xbb, 0xcc, 0xdd,                          // checksum initialiser
                         0,    1,    0,    0,                             // database pages
                         0,    0,    2,    0,                             // sector size
                         0,    0,    0x10, 0};                            // page size

TEST(JournalHeaderTest, DecodesEveryField) {
  const JournalHeader header = DecodeJournalHeader(kGood);
  EXPECT_TRUE(header.magic);
  EXPECT_FALSE(header.first_byte_zero);
  EXPECT_EQ(header.page_count, 0x102U);
  EXPECT_EQ(header.initial_pages, 0x10000U);
  EXPECT_EQ(header.sector_size, 512U);
  EXPECT_EQ(header.page_size, 4096U);
}

TEST(JournalHeaderTest, PassesOnTheCountThatMeansAsManyAsFit) {
  Bytes bytes = kGood;
  for (std::size_t i = 8; i < 12; ++i) bytes.at(i) = 0xff;
  EXPECT_EQ(DecodeJournalHeader(bytes).page_count, 0xffffffffU);
}

TEST(JournalHeaderTest, KnowsTheMagicOfAHeaderCutShort) {
  for (const std::size_t length : {8U, 12U, 27U}) {
    const JournalHeader header = DecodeJournalHeader(std::span(kGood).first(length));
    EXPECT_TRUE(header.magic);
    EXPECT_EQ(header.page_count, 0U);
    EXPECT_EQ(header.page_size, 0U);
  }
}

TEST(JournalHeaderTest, HasNoMagicInLessThanEightBytes) {
  EXPECT_FALSE(DecodeJournalHeader({}).magic);
  EXPECT_FALSE(DecodeJournalHeader({}).first_byte_zero);
  EXPECT_FALSE(DecodeJournalHeader(std::span(kGood).first(7)).magic);
}

TEST(JournalHeaderTest, ReadsNothingWithoutMagic) {
  Bytes bytes = kGood;
  bytes[7] = 0;
  const JournalHeader header = DecodeJournalHeader(bytes);
  EXPECT_FALSE(header.magic);
  EXPECT_EQ(header.page_count, 0U);
  EXPECT_EQ(header.initial_pages, 0U);
  EXPECT_EQ(header.page_size, 0U);
}

TEST(JournalHeaderTest, SeesTheZeroedHeader) {
  const Bytes zeros = {};
  EXPECT_TRUE(DecodeJournalHeader(zeros).first_byte_zero);
  EXPECT_FALSE(DecodeJournalHeader(zeros).magic);
}

TEST(JournalHeaderTest, LeavesOutSizesThatCannotBe) {
  for (const std::uint8_t bad : {std::uint8_t{1}, std::uint8_t{31}, std::uint8_t{33}}) {
    Bytes bytes = kGood;
    bytes[22] = 0;
    bytes[23] = bad;
    bytes[27] = bad;
    const JournalHeader header = DecodeJournalHeader(bytes);
    EXPECT_TRUE(header.magic);
    EXPECT_EQ(header.sector_size, 0U);
    EXPECT_EQ(header.page_size, 0U);
  }
}

TEST(JournalHotTest, AnEmptyJournalIsNotHot) { EXPECT_FALSE(JournalContentMayBeHot(0, {})); }

TEST(JournalHotTest, AJournalWithAZeroFirstByteIsNotHot) {
  EXPECT_FALSE(JournalContentMayBeHot(4096, Bytes{}));
}

TEST(JournalHotTest, AnyOtherFirstByteMayBeHotWithoutMagicToo) {
  EXPECT_TRUE(JournalContentMayBeHot(4096, kGood));
  const std::array<std::uint8_t, 1> one_byte = {'x'};
  EXPECT_TRUE(JournalContentMayBeHot(1, one_byte));
}

TEST(JournalHotTest, AJournalThatCannotBeReadMayBeHot) {
  EXPECT_TRUE(JournalContentMayBeHot(4096, {}));
}

class SqliteJournalTest : public ::testing::Test {
 protected:
  SqliteJournalTest() { Run("CREATE TABLE t(x); INSERT INTO t VALUES(1);"); }
  void Run(const std::string& sql) { database_.Run(sql); }
  std::vector<std::uint8_t> Journal() const { return database_.Journal(512); }

 private:
  testing::JournalDatabase database_;
};

TEST_F(SqliteJournalTest, IsNotHotBeforeItsFirstSync) {
  Run("BEGIN; INSERT INTO t VALUES(2);");
  const auto bytes = Journal();
  EXPECT_TRUE(DecodeJournalHeader(bytes).first_byte_zero);
  EXPECT_FALSE(JournalContentMayBeHot(bytes.size(), bytes));
}

TEST_F(SqliteJournalTest, LooksHotFromTheStartWhereNothingIsSynced) {
  Run("PRAGMA synchronous=OFF; BEGIN; INSERT INTO t VALUES(2);");
  const auto bytes = Journal();
  const JournalHeader header = DecodeJournalHeader(bytes);
  EXPECT_TRUE(header.magic);
  EXPECT_EQ(header.page_count, 0xffffffffU);
  EXPECT_EQ(header.initial_pages, 2U);
  EXPECT_EQ(header.page_size, 4096U);
  EXPECT_NE(header.sector_size, 0U);
  EXPECT_TRUE(JournalContentMayBeHot(bytes.size(), bytes));
}

TEST_F(SqliteJournalTest, IsNotHotWhenPersistModeHasCommitted) {
  Run("PRAGMA journal_mode=PERSIST; INSERT INTO t VALUES(2);");
  const auto bytes = Journal();
  ASSERT_FALSE(bytes.empty());
  EXPECT_TRUE(DecodeJournalHeader(bytes).first_byte_zero);
  EXPECT_FALSE(JournalContentMayBeHot(bytes.size(), bytes));
}

TEST(JournalHeaderTest, NamesOnlyPossibleSizesWhateverItReads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = kGood;
    for (std::size_t i = 8; i < bytes.size(); ++i)
      bytes.at(i) = static_cast<std::uint8_t>(random());
    const auto header = DecodeJournalHeader(std::span(bytes).first(random() % (bytes.size() + 1)));
    ASSERT_TRUE(header.page_size == 0 || IsPageSize(header.page_size));
  }
}

}  // namespace
}  // namespace lockscope::format
