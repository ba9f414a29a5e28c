// The first 100 bytes of a database file, as far as lockscope needs them, and what the other
// formats share with it: big-endian integers and the rule for page sizes. Decodes bytes, does no
// I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace lockscope::format {

inline constexpr std::size_t kDatabaseHeaderBytes = 100;
inline constexpr std::uint32_t kMinPageBytes = 512;
inline constexpr std::uint32_t kMaxPageBytes = 65536;

// A power of two that SQLite accepts as the size of a page.
constexpr bool IsPageSize(std::uint32_t bytes) {
  return bytes >= kMinPageBytes && bytes <= kMaxPageBytes && (bytes & (bytes - 1)) == 0;
}

// The big-endian integer at `offset`. REQUIRES: four bytes there.
constexpr std::uint32_t ReadBigEndian32(std::span<const std::uint8_t> bytes, std::size_t offset) {
  return static_cast<std::uint32_t>(bytes[offset]) << 24 |
         static_cast<std::uint32_t>(bytes[offset + 1]) << 16 |
         static_cast<std::uint32_t>(bytes[offset + 2]) << 8 | bytes[offset + 3];
}

struct DatabaseHeader {
  std::uint32_t page_size = 0;     // bytes, 512 … 65536
  std::uint8_t write_version = 0;  // 1 rollback journal, 2 WAL; above: a format not known here
  std::uint8_t read_version = 0;
  std::uint32_t change_counter = 0;
  // The in-header size. 0 where version-valid-for is not the change counter: a writer from before
  // SQLite 3.7.0 changed the file without it, and the size is the file's.
  std::uint32_t database_pages = 0;

  bool wal() const { return read_version == 2; }
};

// Null where `bytes` is shorter than a header, does not start with SQLite's magic, or names a page
// size that is no power of two from 512 to 65536.
std::optional<DatabaseHeader> DecodeDatabaseHeader(std::span<const std::uint8_t> bytes) noexcept;

}  // namespace lockscope::format
