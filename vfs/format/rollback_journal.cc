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

constexpr std::uint32_t kAsManyAsFit = 0xffffffff;
constexpr std::uint64_t kRecordOverhead = 8;  // page number and checksum

constexpr std::size_t kSuperTailBytes = 16;
constexpr std::size_t kSuperNameMax = 4096;

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

std::optional<std::uint64_t> JournalRecords(std::uint64_t journal_bytes,
                                            std::uint32_t database_page_size,
                                            const JournalRead& read) {
  std::array<std::uint8_t, kJournalHeaderBytes> bytes{};
  if (journal_bytes < bytes.size() || !read(0, bytes)) return std::nullopt;
  const JournalHeader first = DecodeJournalHeader(bytes);
  const bool sizes_cannot_be =
      first.sector_size == 0 ||
      (first.page_size == 0 && ReadBigEndian32(bytes, kPageSizeOffset) != 0);
  if (!first.magic || sizes_cannot_be) return 0;
  const std::uint64_t sector = first.sector_size;
  const std::uint32_t page = first.page_size != 0 ? first.page_size : database_page_size;
  if (page == 0) return std::nullopt;
  const std::uint64_t record = page + kRecordOverhead;

  std::uint64_t records = 0;
  std::uint64_t offset = 0;  // of a header
  for (std::size_t segment = 0; segment < kJournalSegmentsMax; ++segment) {
    // A header that does not fit with its whole sector is none, as to SQLite.
    if (journal_bytes < sector || offset > journal_bytes - sector) return records;
    if (segment > 0 && !read(offset, bytes)) return records;
    const JournalHeader header = segment == 0 ? first : DecodeJournalHeader(bytes);
    if (!header.magic) return records;
    const std::uint64_t fit = (journal_bytes - offset - sector) / record;
    if (header.page_count == kAsManyAsFit || header.page_count >= fit) return records + fit;
    records += header.page_count;
    const std::uint64_t end = offset + sector + header.page_count * record;
    offset = (end + sector - 1) / sector * sector;
  }
  return std::nullopt;
}

std::optional<std::string> SuperJournalOf(std::uint64_t journal_bytes, const JournalRead& read) {
  std::array<std::uint8_t, kSuperTailBytes> tail{};
  if (journal_bytes < tail.size() || !read(journal_bytes - tail.size(), tail)) return std::nullopt;
  const std::uint32_t length = ReadBigEndian32(tail, 0);
  const std::uint32_t sum = ReadBigEndian32(tail, 4);
  if (!StartsWithMagic(std::span(tail).subspan(8))) return std::nullopt;
  if (length == 0 || length > kSuperNameMax || length > journal_bytes - tail.size()) {
    return std::nullopt;
  }
  std::string name(length, 0);
  const auto bytes = std::as_writable_bytes(std::span(name));
  const std::span<std::uint8_t> text(reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size());
  if (!read(journal_bytes - tail.size() - length, text)) return std::nullopt;
  // SQLite adds them up as characters with a sign.
  std::uint32_t found = 0;
  for (const char c : name) found += static_cast<std::uint32_t>(static_cast<signed char>(c));
  if (found != sum || name.find('\0') != std::string::npos) return std::nullopt;
  return name;
}

}  // namespace lockscope::format
