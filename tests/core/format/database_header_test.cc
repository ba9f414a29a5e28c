// The first 100 bytes of a database file:
//   good headers    page sizes, versions, counters, byte order
//   bad headers     too short, other magic, page sizes that cannot be
//   shared helpers  IsPageSize, ReadBigEndian32
//   SQLite's own    a database written by the SQLite that this is linked with
//   garbage         random bytes from a printed seed

#include "format/database_header.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <array>
#include <cstring>
#include <random>

namespace lockscope::format {
namespace {

using Bytes = std::array<std::uint8_t, kDatabaseHeaderBytes>;

void PutBigEndian32(Bytes& bytes, std::size_t offset, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) {
    bytes.at(offset + i) = static_cast<std::uint8_t>(value >> (24 - 8 * i));
  }
}

void PutPageSize(Bytes& bytes, unsigned stored) {
  bytes[16] = static_cast<std::uint8_t>(stored >> 8);
  bytes[17] = static_cast<std::uint8_t>(stored);
}

Bytes GoodHeader() {
  Bytes bytes = {};
  std::memcpy(bytes.data(), "SQLite format 3", 16);
  PutPageSize(bytes, 4096);
  bytes[18] = 2;
  bytes[19] = 2;
  PutBigEndian32(bytes, 24, 0x01020304);  // change counter
  PutBigEndian32(bytes, 28, 77);          // pages
  PutBigEndian32(bytes, 92, 0x01020304);  // version-valid-for
  return bytes;
}

TEST(DatabaseHeaderTest, DecodesEveryField) {
  const auto header = DecodeDatabaseHeader(GoodHeader());
  ASSERT_TRUE(header);
  EXPECT_EQ(header->page_size, 4096U);
  EXPECT_EQ(header->write_version, 2);
  EXPECT_EQ(header->read_version, 2);
  EXPECT_TRUE(header->wal());
  EXPECT_EQ(header->change_counter, 0x01020304U);
  EXPECT_EQ(header->database_pages, 77U);
}

TEST(DatabaseHeaderTest, ReadVersionOneIsNotWal) {
  Bytes bytes = GoodHeader();
  bytes[19] = 1;
  const auto header = DecodeDatabaseHeader(bytes);
  ASSERT_TRUE(header);
  EXPECT_FALSE(header->wal());
}

TEST(DatabaseHeaderTest, StoredOneMeans65536BytesAPage) {
  Bytes bytes = GoodHeader();
  PutPageSize(bytes, 1);
  const auto header = DecodeDatabaseHeader(bytes);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->page_size, 65536U);
}

TEST(DatabaseHeaderTest, DistrustsTheSizeThatAnOldWriterLeft) {
  Bytes bytes = GoodHeader();
  PutBigEndian32(bytes, 92, 0x01020303);
  const auto header = DecodeDatabaseHeader(bytes);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->database_pages, 0U);
}

TEST(DatabaseHeaderTest, RefusesWhatIsShorterThanAHeader) {
  const Bytes bytes = GoodHeader();
  EXPECT_FALSE(DecodeDatabaseHeader({}));
  EXPECT_FALSE(DecodeDatabaseHeader(std::span(bytes).first(99)));
}

TEST(DatabaseHeaderTest, RefusesAnotherMagic) {
  for (std::size_t i = 0; i < 16; ++i) {
    Bytes bytes = GoodHeader();
    bytes.at(i) ^= 0x80U;
    EXPECT_FALSE(DecodeDatabaseHeader(bytes)) << i;
  }
}

TEST(DatabaseHeaderTest, RefusesPageSizesThatCannotBe) {
  for (const unsigned stored : {0U, 2U, 256U, 511U, 513U, 4095U, 4097U, 65535U}) {
    Bytes bytes = GoodHeader();
    PutPageSize(bytes, stored);
    EXPECT_FALSE(DecodeDatabaseHeader(bytes)) << stored;
  }
}

TEST(PageSizeTest, IsAPowerOfTwoFrom512To65536) {
  unsigned accepted = 0;
  for (std::uint32_t bytes = 0; bytes <= 2 * kMaxPageBytes; ++bytes) {
    if (IsPageSize(bytes)) ++accepted;
  }
  EXPECT_EQ(accepted, 8U);
  EXPECT_TRUE(IsPageSize(512));
  EXPECT_TRUE(IsPageSize(65536));
  EXPECT_FALSE(IsPageSize(0x80000000));
}

TEST(ReadBigEndian32Test, TakesTheHighByteFirst) {
  constexpr std::array<std::uint8_t, 5> kBytes = {9, 0xff, 2, 3, 4};
  static_assert(ReadBigEndian32(kBytes, 1) == 0xff020304);
}

TEST(DatabaseHeaderTest, DecodesWhatSqliteWrites) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(":memory:", &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA page_size=8192; CREATE TABLE t(x); CREATE TABLE u(x);",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_int64 size = 0;
  unsigned char* const image = sqlite3_serialize(db, "main", &size, 0);
  ASSERT_NE(image, nullptr);
  const auto header = DecodeDatabaseHeader({image, static_cast<std::size_t>(size)});
  sqlite3_free(image);
  sqlite3_close(db);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->page_size, 8192U);
  EXPECT_EQ(header->database_pages, 3U);
  EXPECT_FALSE(header->wal());
}

TEST(DatabaseHeaderTest, NamesOnlyPossiblePageSizesWhateverItReads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = GoodHeader();
    for (std::size_t i = 16; i < bytes.size(); ++i)
      bytes.at(i) = static_cast<std::uint8_t>(random());
    const auto header = DecodeDatabaseHeader(std::span(bytes).first(random() % 101));
    if (!header) continue;
    ASSERT_TRUE(IsPageSize(header->page_size));
  }
}

}  // namespace
}  // namespace lockscope::format
