// What stands behind the header of a rollback journal, and that of a WAL:
//   segments       one, several, as many as fit, cut short, stale leftovers
//   sizes          that cannot be; a page size that only the database knows
//   super-journal  its name, and all that makes it none
//   SQLite's own   as many records as SQLite put there, in one segment and in several
//   hostile        headers without end, reads that fail, random bytes from a printed seed
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "core/format/journal_database.h"
#include "format/rollback_journal.h"
#include "format/wal_header.h"
#include "format/wal_index.h"

namespace lockscope::format {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kSector = 512;
constexpr std::uint32_t kPage = 1024;
constexpr std::uint32_t kAsManyAsFit = 0xffffffff;
constexpr std::uint8_t kMagic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};

void Append32(Bytes& bytes, std::uint32_t number) {
  for (const int shift : {24, 16, 8, 0}) {
    bytes.push_back(static_cast<std::uint8_t>(number >> shift));
  }
}

void PadTo(Bytes& bytes, std::size_t multiple) {
  while (bytes.size() % multiple != 0) bytes.push_back(0);
}

void AppendHeader(Bytes& bytes, std::uint32_t records, std::uint32_t sector = kSector,
                  std::uint32_t page = kPage) {
  PadTo(bytes, kSector);
  const std::size_t begin = bytes.size();
  bytes.insert(bytes.end(), std::begin(kMagic), std::end(kMagic));
  for (const std::uint32_t field : {records, 7U, 100U, sector, page}) Append32(bytes, field);
  bytes.resize(begin + kSector);
}

void AppendRecords(Bytes& bytes, int count, std::uint32_t page = kPage) {
  for (int i = 0; i < count; ++i) {
    Append32(bytes, static_cast<std::uint32_t>(i) + 1);
    bytes.insert(bytes.end(), page, 0x55);
    Append32(bytes, 0);
  }
}

void AppendSuperJournal(Bytes& bytes, const std::string& name) {
  Append32(bytes, 0x40000000 / kPage + 1);
  std::uint32_t sum = 0;
  for (const char c : name) {
    bytes.push_back(static_cast<std::uint8_t>(c));
    sum += static_cast<std::uint32_t>(static_cast<signed char>(c));
  }
  Append32(bytes, static_cast<std::uint32_t>(name.size()));
  Append32(bytes, sum);
  bytes.insert(bytes.end(), std::begin(kMagic), std::end(kMagic));
}

// As from a file of these bytes. A read beyond its end is the decoder's mistake only where it takes
// what it did not get for something.
JournalRead From(const Bytes& bytes) {
  return [&bytes](std::uint64_t offset, std::span<std::uint8_t> into) {
    if (offset > bytes.size() || into.size() > bytes.size() - offset) return false;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return true;
  };
}

std::optional<std::uint64_t> Records(const Bytes& bytes, std::uint32_t database_page = 0) {
  return JournalRecords(bytes.size(), database_page, From(bytes));
}

std::optional<std::string> SuperJournal(const Bytes& bytes) {
  return SuperJournalOf(bytes.size(), From(bytes));
}

// ---- segments ----

TEST(JournalRecordsTest, AreThoseThatTheHeaderCounts) {
  Bytes bytes;
  AppendHeader(bytes, 3);
  AppendRecords(bytes, 5);  // two of a spill that was not synced yet
  EXPECT_EQ(Records(bytes), 3U);
}

TEST(JournalRecordsTest, AreThoseOfEveryHeaderAtTheNextSector) {
  Bytes bytes;
  AppendHeader(bytes, 3);
  AppendRecords(bytes, 3);
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  AppendHeader(bytes, 4);
  AppendRecords(bytes, 4);
  EXPECT_EQ(Records(bytes), 9U);
}

TEST(JournalRecordsTest, GoOnBehindAHeaderWithoutRecords) {
  Bytes bytes;
  AppendHeader(bytes, 0);
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  EXPECT_EQ(Records(bytes), 2U);
}

TEST(JournalRecordsTest, OfLaterHeadersHaveTheFirstOnesSizes) {
  Bytes bytes;
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  AppendHeader(bytes, 1, 4096, 65536);
  AppendRecords(bytes, 1);
  AppendHeader(bytes, 1, 0, 0);
  AppendRecords(bytes, 1);
  EXPECT_EQ(Records(bytes), 4U);
}

TEST(JournalRecordsTest, AreAsManyAsFitWhereTheHeaderSaysSo) {
  Bytes bytes;
  AppendHeader(bytes, kAsManyAsFit);
  AppendRecords(bytes, 4);
  EXPECT_EQ(Records(bytes), 4U);
  bytes.pop_back();
  EXPECT_EQ(Records(bytes), 3U);
}

TEST(JournalRecordsTest, AreNotMoreThanTheFileHas) {
  Bytes bytes;
  AppendHeader(bytes, 1'000'000);
  AppendRecords(bytes, 4);
  bytes.resize(bytes.size() - kPage);
  EXPECT_EQ(Records(bytes), 3U);
}

TEST(JournalRecordsTest, EndWhereTheNextSectorHasNoMagic) {
  Bytes bytes;
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  PadTo(bytes, kSector);
  const std::size_t next = bytes.size();
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  bytes[next] ^= 1;
  EXPECT_EQ(Records(bytes), 2U);
}

TEST(JournalRecordsTest, EndWhereAHeaderHasNoWholeSector) {
  Bytes bytes;
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  AppendHeader(bytes, kAsManyAsFit);
  bytes.pop_back();
  EXPECT_EQ(Records(bytes), 2U);
}

TEST(JournalRecordsTest, AreNoneOfAHeaderAlone) {
  Bytes bytes;
  AppendHeader(bytes, 5);
  EXPECT_EQ(Records(bytes), 0U);
}

// ---- sizes ----

TEST(JournalRecordsTest, AreNoneWhereSQLiteWouldNotBelieveTheSizes) {
  for (const auto& [sector, page] :
       {std::pair{16U, kPage}, {100U, kPage}, {131072U, kPage}, {kSector, 500U}, {kSector, 1U}}) {
    Bytes bytes;
    AppendHeader(bytes, 2, sector, page);
    AppendRecords(bytes, 2);
    EXPECT_EQ(Records(bytes, kPage), 0U) << sector << ' ' << page;
  }
}

TEST(JournalRecordsTest, AreNoneWithoutMagic) {
  Bytes bytes;
  AppendHeader(bytes, 2);
  AppendRecords(bytes, 2);
  bytes[0] = 0;
  EXPECT_EQ(Records(bytes, kPage), 0U);
}

TEST(JournalRecordsTest, OfAJournalWithoutAPageSizeHaveTheDatabases) {
  Bytes bytes;
  AppendHeader(bytes, kAsManyAsFit, kSector, 0);
  AppendRecords(bytes, 3);
  EXPECT_EQ(Records(bytes, kPage), 3U);
  EXPECT_EQ(Records(bytes, 0), std::nullopt);
}

TEST(JournalRecordsTest, AreNotKnownOfWhatIsShorterThanAHeaderOrCannotBeRead) {
  Bytes bytes;
  AppendHeader(bytes, 2);
  EXPECT_EQ(Records(Bytes(bytes.begin(), bytes.begin() + 27)), std::nullopt);
  EXPECT_EQ(JournalRecords(0, kPage, From(bytes)), std::nullopt);
  const auto never = [](std::uint64_t, std::span<std::uint8_t>) { return false; };
  EXPECT_EQ(JournalRecords(1'000'000, kPage, never), std::nullopt);
}

// ---- super-journal ----

TEST(SuperJournalTest, IsNamedAtTheEnd) {
  Bytes bytes;
  AppendHeader(bytes, 1);
  AppendRecords(bytes, 1);
  const std::string name = "/srv/\xc3\xa4/app.db-mj01234567";  // bytes above 127: with a sign
  AppendSuperJournal(bytes, name);
  EXPECT_EQ(SuperJournal(bytes), name);
  EXPECT_EQ(Records(bytes), 1U);
}

TEST(SuperJournalTest, IsNoneInAJournalOfOneDatabase) {
  Bytes bytes;
  AppendHeader(bytes, 1);
  AppendRecords(bytes, 1);
  EXPECT_EQ(SuperJournal(bytes), std::nullopt);
  EXPECT_EQ(SuperJournal({}), std::nullopt);
  EXPECT_EQ(SuperJournal(Bytes(15, 0)), std::nullopt);
}

TEST(SuperJournalTest, IsNoneWhereAnyBitOfItsTailIsWrong) {
  Bytes good;
  AppendSuperJournal(good, "/srv/app.db-mj01234567");
  ASSERT_TRUE(SuperJournal(good));
  for (std::size_t back = 1; back <= 16; ++back) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bytes = good;
      bytes[bytes.size() - back] ^= static_cast<std::uint8_t>(1 << bit);
      EXPECT_EQ(SuperJournal(bytes), std::nullopt) << back << '.' << bit;
    }
  }
}

TEST(SuperJournalTest, IsNoneOfALengthThatCannotBe) {
  Bytes empty;
  AppendSuperJournal(empty, "");
  EXPECT_EQ(SuperJournal(empty), std::nullopt);
  Bytes longest;
  AppendSuperJournal(longest, std::string(4096, 'n'));
  EXPECT_EQ(SuperJournal(longest), std::string(4096, 'n'));
  Bytes too_long;
  AppendSuperJournal(too_long, std::string(4097, 'n'));
  EXPECT_EQ(SuperJournal(too_long), std::nullopt);
  Bytes with_zero;
  AppendSuperJournal(with_zero, std::string("a\0b", 3));
  EXPECT_EQ(SuperJournal(with_zero), std::nullopt);
  // A name that would begin before the file does.
  Bytes cut;
  AppendSuperJournal(cut, "/srv/app.db-mj01234567");
  EXPECT_EQ(SuperJournal(Bytes(cut.begin() + 10, cut.end())), std::nullopt);
}

// ---- SQLite's own ----

// The journal of a transaction that is not committed.
class OwnJournalTest : public ::testing::Test {
 protected:
  OwnJournalTest() {
    Run("PRAGMA page_size=1024; CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
        "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c LIMIT 100)"
        "INSERT INTO t SELECT i, zeroblob(900) FROM c;");
  }
  void Run(const std::string& sql) { database_.Run(sql); }
  Bytes Journal() const { return database_.Journal(1 << 20); }
  // How many of the journal's sectors begin with a header.
  static long HeadersIn(const Bytes& bytes) {
    long headers = 0;
    for (std::size_t at = 0; at + sizeof kMagic <= bytes.size(); at += 512) {
      headers += std::equal(std::begin(kMagic), std::end(kMagic),
                            bytes.begin() + static_cast<std::ptrdiff_t>(at))
                     ? 1
                     : 0;
    }
    return headers;
  }

 private:
  testing::JournalDatabase database_;
};

// A page that was changed is in the journal once; page 1, with the change counter, at the commit.
TEST_F(OwnJournalTest, HasARecordForEveryPageThatWasChanged) {
  Run("PRAGMA synchronous=OFF; PRAGMA cache_size=1000; BEGIN;"
      "UPDATE t SET x = randomblob(900) WHERE id BETWEEN 11 AND 30");
  EXPECT_EQ(Records(Journal()), 20U);
}

TEST_F(OwnJournalTest, HasThemInSeveralSegmentsWhereItWasSyncedSeveralTimes) {
  Run("PRAGMA cache_size=10; PRAGMA cache_spill=10; BEGIN; UPDATE t SET x = randomblob(900)");
  const Bytes bytes = Journal();
  ASSERT_GE(HeadersIn(bytes), 3);
  const auto records = Records(bytes);
  ASSERT_TRUE(records);
  // All but those of the last segment, whose header is filled in at its sync.
  EXPECT_GE(*records, 50U);
  EXPECT_LE(*records, 102U);
}

// ---- WAL ----

Bytes WalHead(std::uint32_t magic, std::uint32_t page) {
  Bytes bytes;
  for (const std::uint32_t field : {magic, 3007000U, page, 0U, 1U, 2U, 3U, 4U}) {
    Append32(bytes, field);
  }
  return bytes;
}

TEST(WalFramesTest, AreThoseThatFitWhole) {
  for (const std::uint32_t magic : {0x377f0682U, 0x377f0683U}) {
    const Bytes head = WalHead(magic, 4096);
    EXPECT_EQ(WalFrames(head, 32), 0U);
    EXPECT_EQ(WalFrames(head, 32 + 4119), 0U);
    EXPECT_EQ(WalFrames(head, 32 + 4120), 1U);
    EXPECT_EQ(WalFrames(head, 32 + 7 * 4120 + 1), 7U);
  }
  EXPECT_EQ(WalFrames(WalHead(0x377f0682, 65536), 32 + 3 * 65560), 3U);
}

TEST(WalFramesTest, AreNotKnownWithoutAHeaderThatCanBe) {
  EXPECT_EQ(WalFrames(WalHead(0x377f0684, 4096), 100'000), std::nullopt);
  EXPECT_EQ(WalFrames(WalHead(0x377f0682, 4095), 100'000), std::nullopt);
  EXPECT_EQ(WalFrames(WalHead(0x377f0682, 0), 100'000), std::nullopt);
  const Bytes head = WalHead(0x377f0682, 4096);
  EXPECT_EQ(WalFrames(std::span(head).first(31), 100'000), std::nullopt);
  EXPECT_EQ(WalFrames(head, 31), std::nullopt);
}

// ---- hostile ----

// A file of headers without records, of any length: a header at every sector.
TEST(JournalRecordsTest, GivesUpOnHeadersWithoutEnd) {
  Bytes header;
  AppendHeader(header, 0);
  std::size_t reads = 0;
  const auto read = [&](std::uint64_t, std::span<std::uint8_t> into) {
    ++reads;
    std::copy_n(header.begin(), into.size(), into.begin());
    return true;
  };
  EXPECT_EQ(JournalRecords(~std::uint64_t{0}, 0, read), std::nullopt);
  EXPECT_LE(reads, kJournalSegmentsMax);
}

TEST(JournalRecordsTest, EndsAtTheGreatestSizesThereAre) {
  for (const std::uint64_t size : {~std::uint64_t{0}, std::uint64_t{1} << 63}) {
    for (const std::uint32_t count : {0xfffffffeU, kAsManyAsFit, 0x80000000U}) {
      Bytes header;
      AppendHeader(header, count, 65536, 65536);
      const auto read = [&](std::uint64_t, std::span<std::uint8_t> into) {
        std::copy_n(header.begin(), into.size(), into.begin());
        return true;
      };
      const auto records = JournalRecords(size, 0, read);
      if (records) {
        EXPECT_LE(*records, size / 65544);
      }
    }
  }
}

TEST(JournalRecordsTest, AreNeverMoreThanFitWhateverItReads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    Bytes bytes;
    for (int segment = static_cast<int>(random() % 4); segment >= 0; --segment) {
      AppendHeader(bytes, random() % 8 == 0 ? static_cast<std::uint32_t>(random()) : random() % 4,
                   32U << random() % 12, 512U << random() % 8);
      AppendRecords(bytes, static_cast<int>(random() % 4), 512U << random() % 2);
    }
    for (int i = 0; i < 4; ++i) {
      bytes[random() % bytes.size()] = static_cast<std::uint8_t>(random());
    }
    bytes.resize(random() % (bytes.size() + 1));
    const auto records = Records(bytes, 512U << random() % 8);
    ASSERT_LE(records.value_or(0), bytes.size() / (512 + 8));
    const auto name = SuperJournal(bytes);
    if (name) {
      ASSERT_LE(name->size(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace lockscope::format
