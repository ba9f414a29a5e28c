// The head of a wal-index:
//   states         valid, short, zero, torn, damaged, in SQLite's order of tests
//   fields         every one, page sizes, big-endian salts, read marks
//   races          backfill beyond mxFrame while the WAL is restarted
//   sizes          LiveBytes
//   SQLite's own   a -shm made by the SQLite that this is linked with
//   garbage        random bytes from a printed seed, with and without a right checksum

#include "format/wal_index.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>

#include "format/database_header.h"

namespace lockscope::format {
namespace {

using Bytes = std::array<std::uint8_t, kWalIndexHeadBytes>;

constexpr std::size_t kSecondCopy = kHeaderCopyBytes;
constexpr std::size_t kBackfillAttemptedOffset = 128;

template <class Integer>
void Put(Bytes& bytes, std::size_t offset, Integer value) {
  std::memcpy(&bytes.at(offset), &value, sizeof(value));
}

std::uint32_t Get(const Bytes& bytes, std::size_t offset) {
  std::uint32_t value = 0;
  std::memcpy(&value, &bytes.at(offset), sizeof(value));
  return value;
}

// Gives the first copy its checksum and makes the second one equal to it.
void Seal(Bytes& bytes) {
  std::uint32_t s1 = 0;
  std::uint32_t s2 = 0;
  for (std::size_t i = 0; i < 40; i += 8) {
    s1 += Get(bytes, i) + s2;
    s2 += Get(bytes, i + 4) + s1;
  }
  Put(bytes, 40, s1);
  Put(bytes, 44, s2);
  std::copy_n(bytes.begin(), kHeaderCopyBytes, bytes.begin() + kSecondCopy);
}

Bytes GoodIndex() {
  Bytes bytes = {};
  Put<std::uint32_t>(bytes, 0, kWalIndexVersion);
  Put<std::uint32_t>(bytes, 8, 5);  // iChange
  Put<std::uint8_t>(bytes, 12, 1);  // isInit
  Put<std::uint16_t>(bytes, 14, 4096);
  Put<std::uint32_t>(bytes, 16, 100);  // mxFrame
  Put<std::uint32_t>(bytes, 20, 42);   // nPage
  const std::array<std::uint8_t, 8> salts = {0x11, 0x22, 0x33, 0x44, 0xaa, 0xbb, 0xcc, 0xdd};
  std::copy(salts.begin(), salts.end(), bytes.begin() + kSaltOffset);
  Seal(bytes);
  Put<std::uint32_t>(bytes, kBackfillOffset, 60);
  Put<std::uint32_t>(bytes, kReadMarkOffset + 4, 80);
  Put<std::uint32_t>(bytes, kReadMarkOffset + 8, 100);
  Put(bytes, kReadMarkOffset + 12, kReadMarkNotUsed);
  Put(bytes, kReadMarkOffset + 16, kReadMarkNotUsed);
  Put<std::uint32_t>(bytes, kBackfillAttemptedOffset, 70);
  return bytes;
}

void ExpectNothingBut(WalIndexState state, const WalIndex& index) {
  EXPECT_EQ(index.state, state);
  EXPECT_FALSE(index.valid());
  EXPECT_EQ(index.page_size, 0U);
  EXPECT_EQ(index.max_frame, 0U);
  EXPECT_EQ(index.backfilled, 0U);
  EXPECT_EQ(index.read_mark[1], 0U);
}

TEST(WalIndexTest, DecodesEveryField) {
  const WalIndex index = DecodeWalIndex(GoodIndex());
  EXPECT_EQ(index.state, WalIndexState::kValid);
  EXPECT_EQ(index.change_counter, 5U);
  EXPECT_EQ(index.page_size, 4096U);
  EXPECT_EQ(index.max_frame, 100U);
  EXPECT_EQ(index.database_pages, 42U);
  EXPECT_EQ(index.salt1, 0x11223344U);
  EXPECT_EQ(index.salt2, 0xaabbccddU);
  EXPECT_EQ(index.backfilled, 60U);
  EXPECT_EQ(index.backfill_attempted, 70U);
  const std::array<std::uint32_t, 5> marks = {0, 80, 100, kReadMarkNotUsed, kReadMarkNotUsed};
  EXPECT_EQ(index.read_mark, marks);
}

TEST(WalIndexTest, NamesEveryState) {
  EXPECT_STREQ(Name(WalIndexState::kValid), "valid");
  EXPECT_STREQ(Name(WalIndexState::kShort), "short");
  EXPECT_STREQ(Name(WalIndexState::kZero), "zero");
  EXPECT_STREQ(Name(WalIndexState::kTorn), "torn");
  EXPECT_STREQ(Name(WalIndexState::kDamaged), "damaged");
}

TEST(WalIndexTest, FewerBytesThanAHeadAreShort) {
  const Bytes bytes = GoodIndex();
  ExpectNothingBut(WalIndexState::kShort, DecodeWalIndex({}));
  // SQLite cuts a -shm that nobody uses to three bytes.
  ExpectNothingBut(WalIndexState::kShort, DecodeWalIndex(std::span(bytes).first(3)));
  ExpectNothingBut(WalIndexState::kShort, DecodeWalIndex(std::span(bytes).first(135)));
}

TEST(WalIndexTest, IsZeroUntilRecovered) {
  ExpectNothingBut(WalIndexState::kZero, DecodeWalIndex(Bytes{}));
}

TEST(WalIndexTest, IsZeroWhereIsInitIsWhateverElseStandsThere) {
  Bytes bytes = GoodIndex();
  bytes[12] = 0;
  Seal(bytes);
  ExpectNothingBut(WalIndexState::kZero, DecodeWalIndex(bytes));
}

TEST(WalIndexTest, IsTornWhereAnyByteOfTheCopiesDiffers) {
  for (std::size_t i = 0; i < 2 * kHeaderCopyBytes; ++i) {
    Bytes bytes = GoodIndex();
    bytes.at(i) ^= 1U;
    ExpectNothingBut(WalIndexState::kTorn, DecodeWalIndex(bytes));
  }
}

TEST(WalIndexTest, IsTornWhereAWriterWroteTheSecondCopyOnly) {
  Bytes bytes = GoodIndex();
  const Bytes before = bytes;
  Put<std::uint32_t>(bytes, kMxFrameOffset, 101);
  Seal(bytes);
  std::copy_n(before.begin(), kHeaderCopyBytes, bytes.begin());
  ExpectNothingBut(WalIndexState::kTorn, DecodeWalIndex(bytes));
}

TEST(WalIndexTest, IsDamagedWhereTheChecksumIsWrong) {
  for (const std::size_t offset : {4U, 16U, 39U, 40U, 47U}) {
    Bytes bytes = GoodIndex();
    bytes.at(offset) ^= 1U;
    bytes.at(kSecondCopy + offset) ^= 1U;
    ExpectNothingBut(WalIndexState::kDamaged, DecodeWalIndex(bytes));
  }
}

TEST(WalIndexTest, IsDamagedWhereTheVersionIsAnother) {
  Bytes bytes = GoodIndex();
  Put<std::uint32_t>(bytes, 0, kWalIndexVersion + 1);
  Seal(bytes);
  ExpectNothingBut(WalIndexState::kDamaged, DecodeWalIndex(bytes));
}

TEST(WalIndexTest, IsDamagedWhereThePageSizeCannotBe) {
  for (const unsigned stored : {0U, 2U, 256U, 513U, 4097U, 65535U}) {
    Bytes bytes = GoodIndex();
    Put(bytes, 14, static_cast<std::uint16_t>(stored));
    Seal(bytes);
    ExpectNothingBut(WalIndexState::kDamaged, DecodeWalIndex(bytes));
  }
}

TEST(WalIndexTest, NeedsNoPageSizeWhereThereAreNoFrames) {
  Bytes bytes = GoodIndex();
  Put<std::uint16_t>(bytes, 14, 0);
  Put<std::uint32_t>(bytes, kMxFrameOffset, 0);
  Seal(bytes);
  const WalIndex index = DecodeWalIndex(bytes);
  EXPECT_TRUE(index.valid());
  EXPECT_EQ(index.page_size, 0U);
  EXPECT_EQ(index.LiveBytes(index.max_frame), 0U);
}

TEST(WalIndexTest, StoredOneMeans65536BytesAPage) {
  Bytes bytes = GoodIndex();
  Put<std::uint16_t>(bytes, 14, 1);
  Seal(bytes);
  EXPECT_EQ(DecodeWalIndex(bytes).page_size, 65536U);
}

// A writer that restarts the WAL writes the header before it sets nBackfill to 0.
TEST(WalIndexTest, CutsABackfillOfTheFramesBeforeTheRestart) {
  Bytes bytes = GoodIndex();
  Put<std::uint32_t>(bytes, kMxFrameOffset, 0);
  Seal(bytes);
  const WalIndex index = DecodeWalIndex(bytes);
  EXPECT_TRUE(index.valid());
  EXPECT_EQ(index.backfilled, 0U);
  EXPECT_EQ(index.backfill_attempted, 0U);
  EXPECT_EQ(index.read_mark[2], 100U);
}

TEST(WalIndexTest, CutsABackfillBeyondTheHeader) {
  Bytes bytes = GoodIndex();
  Put<std::uint32_t>(bytes, kBackfillOffset, 101);
  Put<std::uint32_t>(bytes, kBackfillAttemptedOffset, UINT32_MAX);
  const WalIndex index = DecodeWalIndex(bytes);
  EXPECT_EQ(index.backfilled, 100U);
  EXPECT_EQ(index.backfill_attempted, 100U);
}

TEST(WalIndexTest, NeverReadsTheLockBytes) {
  Bytes bytes = GoodIndex();
  for (std::size_t i = 120; i < 128; ++i) bytes.at(i) = 0xff;
  EXPECT_TRUE(DecodeWalIndex(bytes).valid());
}

TEST(WalIndexTest, LiveBytesCountHeaderAndFrames) {
  const WalIndex index = DecodeWalIndex(GoodIndex());
  EXPECT_EQ(index.LiveBytes(0), 0U);
  EXPECT_EQ(index.LiveBytes(1), 32U + 24U + 4096U);
  EXPECT_EQ(index.LiveBytes(UINT32_MAX), 32U + std::uint64_t{UINT32_MAX} * (24U + 4096U));
}

WalIndex ReadIndex(int fd) {
  Bytes bytes = {};
  const ssize_t count = pread(fd, bytes.data(), bytes.size(), 0);
  return DecodeWalIndex(
      std::span(bytes).first(static_cast<std::size_t>(std::max<ssize_t>(count, 0))));
}

TEST(WalIndexTest, FollowsWhatSqliteDoes) {
  std::string pattern = testing::TempDir() + "wal_index_XXXXXX";
  const std::string directory = mkdtemp(pattern.data());
  const std::string path = directory + "/db";
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  const auto run = [&](const char* sql) {
    ASSERT_EQ(sqlite3_exec(db, sql, nullptr, nullptr, nullptr), SQLITE_OK) << sql;
  };
  run("PRAGMA page_size=65536; PRAGMA wal_autocheckpoint=0; PRAGMA journal_mode=WAL;");
  run("SELECT * FROM sqlite_schema;");
  // Closed after the connection: earlier it would drop the connection's locks.
  const int shm = open((path + "-shm").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(shm, 0);
  WalIndex index = ReadIndex(shm);
  EXPECT_EQ(index.state, WalIndexState::kValid);
  EXPECT_EQ(index.max_frame, 0U);

  run("CREATE TABLE t(x); INSERT INTO t VALUES(1);");
  index = ReadIndex(shm);
  EXPECT_EQ(index.state, WalIndexState::kValid);
  EXPECT_EQ(index.page_size, 65536U);
  EXPECT_GT(index.max_frame, 0U);
  EXPECT_EQ(index.database_pages, 2U);
  EXPECT_EQ(index.backfilled, 0U);
  EXPECT_EQ(index.LiveBytes(index.max_frame), std::filesystem::file_size(path + "-wal"));
  const WalIndex before = index;

  run("PRAGMA wal_checkpoint;");
  index = ReadIndex(shm);
  EXPECT_EQ(index.backfilled, index.max_frame);
  EXPECT_EQ(index.backfill_attempted, index.max_frame);

  run("INSERT INTO t VALUES(2);");  // restarts the WAL
  index = ReadIndex(shm);
  EXPECT_EQ(index.state, WalIndexState::kValid);
  EXPECT_LT(index.max_frame, before.max_frame);
  EXPECT_EQ(index.backfilled, 0U);
  EXPECT_EQ(index.salt1, before.salt1 + 1);  // a number, so its bytes were taken in the right order
  sqlite3_close(db);
  close(shm);
  std::filesystem::remove_all(directory);
}

TEST(WalIndexTest, KeepsItsPromisesWhateverItReads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 20000; ++round) {
    Bytes bytes = GoodIndex();
    for (std::size_t i = 4; i < bytes.size(); ++i) {
      if (random() % 8 == 0) bytes.at(i) = static_cast<std::uint8_t>(random());
    }
    if (round % 2 == 0) Seal(bytes);
    const std::size_t length = round % 10 == 0 ? random() % (bytes.size() + 1) : bytes.size();
    const WalIndex index = DecodeWalIndex(std::span(bytes).first(length));
    if (!index.valid()) continue;
    ASSERT_TRUE(IsPageSize(index.page_size) || (index.page_size == 0 && index.max_frame == 0));
    ASSERT_LE(index.backfilled, index.max_frame);
    ASSERT_LE(index.backfill_attempted, index.max_frame);
  }
}

}  // namespace
}  // namespace lockscope::format
