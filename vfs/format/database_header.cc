#include "format/database_header.h"

#include <algorithm>
#include <string_view>

namespace lockscope::format {
namespace {

constexpr std::string_view kMagic{"SQLite format 3\0", 16};
constexpr std::size_t kPageSizeOffset = 16;
constexpr std::size_t kWriteVersionOffset = 18;
constexpr std::size_t kReadVersionOffset = 19;
constexpr std::size_t kChangeCounterOffset = 24;
constexpr std::size_t kDatabasePagesOffset = 28;
constexpr std::size_t kVersionValidForOffset = 92;

// Two bytes, the high one first; 65536 does not fit and is stored as 1.
std::uint32_t PageSize(std::span<const std::uint8_t> bytes) {
  const std::uint32_t stored =
      static_cast<std::uint32_t>(bytes[kPageSizeOffset]) << 8 | bytes[kPageSizeOffset + 1];
  return stored == 1 ? kMaxPageBytes : stored;
}

}  // namespace

std::optional<DatabaseHeader> DecodeDatabaseHeader(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < kDatabaseHeaderBytes) return std::nullopt;
  const auto same = [](char magic, std::uint8_t byte) {
    return static_cast<std::uint8_t>(magic) == byte;
  };
  if (!std::equal(kMagic.begin(), kMagic.end(), bytes.begin(), same)) return std::nullopt;

  DatabaseHeader header;
  header.page_size = PageSize(bytes);
  if (!IsPageSize(header.page_size)) return std::nullopt;
  header.write_version = bytes[kWriteVersionOffset];
  header.read_version = bytes[kReadVersionOffset];
  header.change_counter = ReadBigEndian32(bytes, kChangeCounterOffset);
  if (ReadBigEndian32(bytes, kVersionValidForOffset) == header.change_counter) {
    header.database_pages = ReadBigEndian32(bytes, kDatabasePagesOffset);
  }
  return header;
}

}  // namespace lockscope::format
