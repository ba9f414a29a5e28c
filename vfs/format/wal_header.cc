#include "format/wal_header.h"

#include "format/database_header.h"
#include "format/wal_index.h"

namespace lockscope::format {

std::optional<std::uint64_t> WalFrames(std::span<const std::uint8_t> bytes,
                                       std::uint64_t wal_bytes) noexcept {
  constexpr std::uint32_t kMagic = 0x377f0682;  // the last bit tells how checksums are made
  constexpr std::size_t kPageSizeOffset = 8;
  if (bytes.size() < kWalHeaderBytes || wal_bytes < kWalHeaderBytes) return std::nullopt;
  const std::uint32_t page_size = ReadBigEndian32(bytes, kPageSizeOffset);
  if ((ReadBigEndian32(bytes, 0) & ~1U) != kMagic || !IsPageSize(page_size)) return std::nullopt;
  return (wal_bytes - kWalHeaderBytes) / (kFrameHeaderBytes + page_size);
}

}  // namespace lockscope::format
