// The head of a wal-index, as it comes and once more with the copies and the checksum put right,
// which no fuzzer would ever hit by chance.
//
//   1  the state is what the bytes say; what is not valid has no facts
//   2  a valid one: page size, backfill, sizes in bytes
//   3  a bit flipped in a valid header is never taken for valid
#include "format/wal_index.h"

#include <cstring>
#include <vector>

#include "format/database_header.h"
#include "fuzz/check.h"

namespace lockscope::fuzz {
namespace {

using format::WalIndex;
using format::WalIndexState;

constexpr std::size_t kVersionOffset = 0;
constexpr std::size_t kIsInitOffset = 12;
constexpr std::size_t kPageSizeOffset = 14;
constexpr std::size_t kChecksumOffset = 40;

template <class Integer>
Integer Read(Bytes bytes, std::size_t offset) {
  Integer value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

bool Same(const WalIndex& a, const WalIndex& b) {
  return a.state == b.state && a.change_counter == b.change_counter && a.page_size == b.page_size &&
         a.max_frame == b.max_frame && a.database_pages == b.database_pages && a.salt1 == b.salt1 &&
         a.salt2 == b.salt2 && a.backfilled == b.backfilled &&
         a.backfill_attempted == b.backfill_attempted && a.read_mark == b.read_mark;
}

void CheckValid(Bytes bytes, const WalIndex& index) {
  const Bytes header = bytes.first(format::kHeaderCopyBytes);
  FUZZ_CHECK(std::memcmp(header.data(), bytes.data() + header.size(), header.size()) == 0);
  FUZZ_CHECK(header[kIsInitOffset] != 0);
  FUZZ_CHECK(Read<std::uint32_t>(header, kVersionOffset) == format::kWalIndexVersion);
  FUZZ_CHECK(index.max_frame == Read<std::uint32_t>(header, format::kMxFrameOffset));
  FUZZ_CHECK(format::IsPageSize(index.page_size) || (index.page_size == 0 && index.max_frame == 0));
  FUZZ_CHECK(index.backfilled <= index.max_frame);
  FUZZ_CHECK(index.backfill_attempted <= index.max_frame);
  FUZZ_CHECK(index.LiveBytes(0) == 0);
  FUZZ_CHECK(index.backfilled == 0 || index.LiveBytes(index.backfilled) > format::kWalHeaderBytes);
  FUZZ_CHECK(index.LiveBytes(index.backfilled) <= index.LiveBytes(index.max_frame));
}

// Decodes, and checks what holds of every head.
WalIndex Decode(Bytes bytes) {
  const WalIndex index = format::DecodeWalIndex(bytes);
  FUZZ_CHECK(std::strcmp(format::Name(index.state), "unknown") != 0);
  FUZZ_CHECK((index.state == WalIndexState::kShort) == (bytes.size() < format::kWalIndexHeadBytes));
  FUZZ_CHECK(Same(index, format::DecodeWalIndex(bytes)));
  if (index.state == WalIndexState::kShort) return index;

  FUZZ_CHECK(Same(index, format::DecodeWalIndex(bytes.first(format::kWalIndexHeadBytes))));
  if (index.valid()) {
    CheckValid(bytes, index);
  } else {
    WalIndex nothing;
    nothing.state = index.state;
    FUZZ_CHECK(Same(index, nothing));
  }
  return index;
}

void PutChecksum(std::span<std::uint8_t> header) {
  std::uint32_t s1 = 0;
  std::uint32_t s2 = 0;
  for (std::size_t i = 0; i < kChecksumOffset; i += 8) {
    s1 += Read<std::uint32_t>(header, i) + s2;
    s2 += Read<std::uint32_t>(header, i + 4) + s1;
  }
  std::memcpy(&header[kChecksumOffset], &s1, sizeof(s1));
  std::memcpy(&header[kChecksumOffset + 4], &s2, sizeof(s2));
}

void CopyHeader(std::span<std::uint8_t> head) {
  std::memcpy(&head[format::kHeaderCopyBytes], head.data(), format::kHeaderCopyBytes);
}

bool PageSizeIsPossible(Bytes header) {
  const std::uint32_t stored = Read<std::uint16_t>(header, kPageSizeOffset);
  if (stored == 0) return Read<std::uint32_t>(header, format::kMxFrameOffset) == 0;
  return stored == 1 || format::IsPageSize(stored);
}

void CheckFlip(std::vector<std::uint8_t> head, std::size_t bit) {
  head.at(bit / 8) ^= static_cast<std::uint8_t>(1U << bit % 8);
  FUZZ_CHECK(Decode(head).state == WalIndexState::kTorn);
  CopyHeader(head);
  FUZZ_CHECK(!Decode(head).valid());
}

void CheckRepaired(std::vector<std::uint8_t> head) {
  const std::size_t bit = head.back() % (format::kHeaderCopyBytes * 8);
  const std::uint32_t version = format::kWalIndexVersion;
  if (head.at(head.size() - 2) != 0) std::memcpy(head.data(), &version, sizeof(version));
  PutChecksum(std::span(head).first(format::kHeaderCopyBytes));
  CopyHeader(head);

  const WalIndexState state = Decode(head).state;
  if (head.at(kIsInitOffset) == 0) {
    FUZZ_CHECK(state == WalIndexState::kZero);
  } else if (Read<std::uint32_t>(head, kVersionOffset) == version && PageSizeIsPossible(head)) {
    FUZZ_CHECK(state == WalIndexState::kValid);
    CheckFlip(head, bit);
  } else {
    FUZZ_CHECK(state == WalIndexState::kDamaged);
  }
}

void TryWalIndex(Bytes bytes) {
  if (Decode(bytes).state == WalIndexState::kShort) return;
  const Bytes head = bytes.first(format::kWalIndexHeadBytes);
  CheckRepaired({head.begin(), head.end()});
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryWalIndex)
