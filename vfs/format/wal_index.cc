#include "format/wal_index.h"

#include <algorithm>
#include <cstring>

#include "format/database_header.h"

namespace lockscope::format {
namespace {

constexpr std::size_t kVersionOffset = 0;
constexpr std::size_t kChangeCounterOffset = 8;
constexpr std::size_t kIsInitOffset = 12;
constexpr std::size_t kPageSizeOffset = 14;
constexpr std::size_t kDatabasePagesOffset = 20;
constexpr std::size_t kChecksumOffset = 40;

static_assert(kChecksumOffset + 2 * sizeof(std::uint32_t) == kHeaderCopyBytes);
static_assert(2 * kHeaderCopyBytes == kBackfillOffset);
static_assert(kBackfillAttemptedOffset + 2 * sizeof(std::uint32_t) == kWalIndexHeadBytes);

template <class Integer>
Integer ReadNative(std::span<const std::uint8_t> bytes, std::size_t offset) {
  Integer value = 0;
  std::memcpy(&value, &bytes[offset], sizeof(value));
  return value;
}

// The checksum of the WAL's frames, applied to the fields before it, in the machine's byte order.
bool ChecksumIsRight(std::span<const std::uint8_t> header) {
  std::uint32_t s1 = 0;
  std::uint32_t s2 = 0;
  for (std::size_t i = 0; i < kChecksumOffset; i += 8) {
    s1 += ReadNative<std::uint32_t>(header, i) + s2;
    s2 += ReadNative<std::uint32_t>(header, i + 4) + s1;
  }
  return s1 == ReadNative<std::uint32_t>(header, kChecksumOffset) &&
         s2 == ReadNative<std::uint32_t>(header, kChecksumOffset + 4);
}

// Two bytes in the machine's order; 65536 does not fit and is stored as 1.
std::uint32_t PageSize(std::span<const std::uint8_t> header) {
  const std::uint32_t stored = ReadNative<std::uint16_t>(header, kPageSizeOffset);
  return stored == 1 ? kMaxPageBytes : stored;
}

// Recovery sets the page size when it meets the first commit, so a wal-index without frames may
// lack it.
bool PageSizeIsPossible(std::span<const std::uint8_t> header) {
  const std::uint32_t page_size = PageSize(header);
  if (page_size == 0) return ReadNative<std::uint32_t>(header, kMxFrameOffset) == 0;
  return IsPageSize(page_size);
}

WalIndexState Examine(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kWalIndexHeadBytes) return WalIndexState::kShort;
  const auto header = bytes.first(kHeaderCopyBytes);
  const auto second = bytes.subspan(kHeaderCopyBytes, kHeaderCopyBytes);
  if (!std::equal(header.begin(), header.end(), second.begin())) return WalIndexState::kTorn;
  if (header[kIsInitOffset] == 0) return WalIndexState::kZero;
  const bool good = ChecksumIsRight(header) &&
                    ReadNative<std::uint32_t>(header, kVersionOffset) == kWalIndexVersion &&
                    PageSizeIsPossible(header);
  return good ? WalIndexState::kValid : WalIndexState::kDamaged;
}

}  // namespace

const char* Name(WalIndexState state) noexcept {
  switch (state) {
    case WalIndexState::kValid:
      return "valid";
    case WalIndexState::kShort:
      return "short";
    case WalIndexState::kZero:
      return "zero";
    case WalIndexState::kTorn:
      return "torn";
    case WalIndexState::kDamaged:
      return "damaged";
  }
  return "unknown";
}

WalIndex DecodeWalIndex(std::span<const std::uint8_t> bytes) noexcept {
  WalIndex index;
  index.state = Examine(bytes);
  if (!index.valid()) return index;

  index.change_counter = ReadNative<std::uint32_t>(bytes, kChangeCounterOffset);
  index.page_size = PageSize(bytes);
  index.max_frame = ReadNative<std::uint32_t>(bytes, kMxFrameOffset);
  index.database_pages = ReadNative<std::uint32_t>(bytes, kDatabasePagesOffset);
  index.salt1 = ReadBigEndian32(bytes, kSaltOffset);
  index.salt2 = ReadBigEndian32(bytes, kSaltOffset + 4);
  index.backfilled = std::min(ReadNative<std::uint32_t>(bytes, kBackfillOffset), index.max_frame);
  index.backfill_attempted =
      std::min(ReadNative<std::uint32_t>(bytes, kBackfillAttemptedOffset), index.max_frame);
  for (std::size_t slot = 0; slot < index.read_mark.size(); ++slot) {
    index.read_mark.at(slot) =
        ReadNative<std::uint32_t>(bytes, kReadMarkOffset + slot * sizeof(std::uint32_t));
  }
  return index;
}

}  // namespace lockscope::format
