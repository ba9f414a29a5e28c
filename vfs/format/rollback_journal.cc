#include "format/rollback_journal.h"

#include <algorithm>
#include <array>

#include "format/database_header.h"

namespace lockscope::format {
namespace {

constexpr std::array<std::uint8_t, 8> kMagic = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
constexpr std::size_t kPageCountOffset = 8;
constexpr std::size_t kInitialPagesOffset = 16;
constexpr std::size_t kSectorSizeOffset = 20;
constexpr std::size_t kPageSizeOffset = 24;
constexpr std::uint32_t kMinSectorBytes = 32;
constexpr std::uint32_t kMaxSectorBytes = 65536;  // MAX_SECTOR_SIZE

constexpr bool IsSectorSize(std::uint32_t bytes) {
  return bytes >= kMinSectorBytes && bytes <= kMaxSectorBytes && (bytes & (bytes - 1)) == 0;
}

bool StartsWithMagic(std::span<const std::uint8_t> bytes) {
  return bytes.size() >= kMagic.size() && std::equal(kMagic.begin(), kMagic.end(), bytes.begin());
}

}  // namespace

JournalHeader DecodeJournalHeader(std::span<const std::uint8_t> bytes) noexcept {
  JournalHeader header;
  header.first_byte_zero = !bytes.empty() && bytes.front() == 0;
  header.magic = StartsWithMagic(bytes);
  if (!header.magic || bytes.size() < kJournalHeaderBytes) return header;

  header.page_count = ReadBigEndian32(bytes, kPageCountOffset);
  header.initial_pages = ReadBigEndian32(bytes, kInitialPagesOffset);
  const std::uint32_t sector_size = ReadBigEndian32(bytes, kSectorSizeOffset);
  if (IsSectorSize(sector_size)) header.sector_size = sector_size;
  const std::uint32_t page_size = ReadBigEndian32(bytes, kPageSizeOffset);
  if (IsPageSize(page_size)) header.page_size = page_size;
  return header;
}

bool JournalContentMayBeHot(std::uint64_t journal_bytes,
                            std::span<const std::uint8_t> bytes) noexcept {
  if (journal_bytes == 0) return false;
  return bytes.empty() || bytes.front() != 0;
}

}  // namespace lockscope::format
