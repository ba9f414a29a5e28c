// The header of a WAL. Decodes bytes, does no I/O.
//
//   offset  size  field
//        0     4  magic, 0x377f0682 or 0x377f0683
//        4     4  version, 3007000
//        8     4  page size
//       12     4  checkpoint sequence number
//       16     8  salts
//       24     8  checksum
//
// Integers are big-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace lockscope::format {

// How many frames a WAL of so many bytes has room for; null where `bytes` is no such header.
std::optional<std::uint64_t> WalFrames(std::span<const std::uint8_t> bytes,
                                       std::uint64_t wal_bytes) noexcept;

}  // namespace lockscope::format
