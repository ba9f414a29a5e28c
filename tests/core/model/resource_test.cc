// SQLite's locks and the bytes that carry them:
//   names       of resources, levels and xShmLock ranges
//   numbers     xShmLock's offsets and read slots
//   bytes       of the protocol, against SQLite's documented values
//   ByteRange   containing and overlapping

#include "model/resource.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <string>

namespace lockscope {
namespace {

static_assert(kShmLockCount == SQLITE_SHM_NLOCK);
static_assert(kShmReadOffset + kReadSlotCount == kShmLockCount);

TEST(ResourceTest, NamesEveryResource) {
  const std::array<std::string, kResourceCount> names = {
      "database",   "wal-write",  "wal-checkpoint", "wal-recover", "wal-read-0",
      "wal-read-1", "wal-read-2", "wal-read-3",     "wal-read-4",  "wal-open"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(Name(static_cast<Resource>(i)), names.at(i));
  }
}

TEST(ResourceTest, NamesEveryLevelAsSqliteDoes) {
  EXPECT_STREQ(Name(LockMode::kNone), "NONE");
  EXPECT_STREQ(Name(LockMode::kShared), "SHARED");
  EXPECT_STREQ(Name(LockMode::kReserved), "RESERVED");
  EXPECT_STREQ(Name(LockMode::kPending), "PENDING");
  EXPECT_STREQ(Name(LockMode::kExclusive), "EXCLUSIVE");
}

TEST(ResourceTest, LevelsHaveSqlitesNumbers) {
  EXPECT_EQ(static_cast<int>(LockMode::kNone), SQLITE_LOCK_NONE);
  EXPECT_EQ(static_cast<int>(LockMode::kShared), SQLITE_LOCK_SHARED);
  EXPECT_EQ(static_cast<int>(LockMode::kReserved), SQLITE_LOCK_RESERVED);
  EXPECT_EQ(static_cast<int>(LockMode::kPending), SQLITE_LOCK_PENDING);
  EXPECT_EQ(static_cast<int>(LockMode::kExclusive), SQLITE_LOCK_EXCLUSIVE);
}

TEST(ResourceTest, NamesAShmRangeSlotBySlot) {
  EXPECT_EQ(ShmRangeName(0, 1), "wal-write");
  EXPECT_EQ(ShmRangeName(1, 2), "wal-checkpoint,wal-recover");
  EXPECT_EQ(ShmRangeName(4, 4), "wal-read-1,wal-read-2,wal-read-3,wal-read-4");
  EXPECT_EQ(ShmRangeName(0, 0), "");
}

TEST(ResourceTest, ShmOffsetsGoThereAndBack) {
  for (int offset = 0; offset < kShmLockCount; ++offset) {
    EXPECT_EQ(ShmOffset(ShmResource(offset)), offset);
    EXPECT_TRUE(IsShm(ShmResource(offset)));
    EXPECT_EQ(IsReadSlot(ShmResource(offset)), offset >= kShmReadOffset);
  }
  EXPECT_FALSE(IsShm(Resource::kDatabase));
  EXPECT_FALSE(IsReadSlot(Resource::kDatabase));
  EXPECT_FALSE(IsReadSlot(Resource::kWalOpen));
}

TEST(ResourceTest, ReadSlotsAreCountedFromZero) {
  EXPECT_EQ(ReadSlot(Resource::kWalRead0), 0);
  EXPECT_EQ(ReadSlot(ShmResource(kShmReadOffset + 4)), 4);
}

TEST(ResourceTest, WalIndexLocksAreOneByteEach) {
  EXPECT_EQ(ProtocolBytes(Resource::kWalWrite, LockMode::kExclusive), (ByteRange{120, 120}));
  EXPECT_EQ(ProtocolBytes(Resource::kWalRecover, LockMode::kExclusive), (ByteRange{122, 122}));
  EXPECT_EQ(ProtocolBytes(Resource::kWalRead4, LockMode::kShared), (ByteRange{127, 127}));
  EXPECT_EQ(ProtocolBytes(Resource::kWalOpen, LockMode::kShared), (ByteRange{128, 128}));
}

TEST(ResourceTest, DatabaseLocksAreThoseOfTheFileFormat) {
  const auto bytes = [](LockMode mode) { return ProtocolBytes(Resource::kDatabase, mode); };
  EXPECT_EQ(bytes(LockMode::kShared), (ByteRange{0x40000002, 0x400001ff}));
  EXPECT_EQ(bytes(LockMode::kReserved), (ByteRange{0x40000001, 0x40000001}));
  EXPECT_EQ(bytes(LockMode::kPending), (ByteRange{0x40000000, 0x40000000}));
  EXPECT_EQ(bytes(LockMode::kExclusive), (ByteRange{0x40000000, 0x400001ff}));
}

TEST(ByteRangeTest, ContainsOnlyWhatLiesWithin) {
  const ByteRange range{126, 128};
  EXPECT_TRUE(range.Contains({126, 128}));
  EXPECT_TRUE(range.Contains({127, 127}));
  EXPECT_FALSE(range.Contains({125, 126}));
  EXPECT_FALSE(range.Contains({128, 129}));
}

TEST(ByteRangeTest, OverlapsWhereOneByteIsCommon) {
  const ByteRange range{126, 128};
  EXPECT_TRUE(range.Overlaps({128, 200}));
  EXPECT_TRUE(range.Overlaps({0, 126}));
  EXPECT_TRUE(range.Overlaps({0, UINT64_MAX}));
  EXPECT_FALSE(range.Overlaps({129, 129}));
  EXPECT_FALSE(range.Overlaps({0, 125}));
}

}  // namespace
}  // namespace lockscope
