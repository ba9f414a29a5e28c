// The header of a rollback journal. Decodes bytes, does no I/O. Everything here may come from a
// hostile or half-written file.
//
//   offset  size  field
//        0     8  magic
//        8     4  nRec: records that follow
//       12     4  checksum initialiser
//       16     4  size of the database before the transaction, in pages
//       20     4  sector size
//       24     4  page size
//
// A header fills a sector; behind it come its records: page number, the page as it was, checksum. A
// transaction that syncs its journal more than once goes on with another header at the next sector
// (without the two sizes). At the very end the name of a super-journal may stand:
//
//   size  field
//      4  a page number that no record has
//      N  name
//      4  N
//      4  sum of the name's bytes
//      8  magic
//
// Integers are big-endian. The first twelve bytes are zero until the journal is first synced, and
// again when PERSIST mode has committed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace lockscope::format {

inline constexpr std::size_t kJournalHeaderBytes = 28;

struct JournalHeader {
  bool magic = false;            // starts with the journal's eight magic bytes
  bool first_byte_zero = false;  // not synced yet, or finished in PERSIST mode
  // All that follows is 0 without magic, and where `bytes` is shorter than a header.
  std::uint32_t page_count = 0;     // records that follow; 0xffffffff: as many as fit
  std::uint32_t initial_pages = 0;  // size of the database before the transaction, in pages
  std::uint32_t sector_size = 0;    // bytes; 0 where what stands there cannot be one
  std::uint32_t page_size = 0;      // bytes; 0 as above, and from SQLite before 3.5.8
};

// `bytes` is the beginning of the file, possibly shorter than a header.
JournalHeader DecodeJournalHeader(std::span<const std::uint8_t> bytes) noexcept;

// The part of SQLite's rule for a hot journal that the file itself decides: it is not empty and its
// first byte is not zero. (The other parts: nobody holds RESERVED, and the database is not empty.)
// Where nothing could be read of a journal that is not empty, true: SQLite too takes a journal that
// it cannot open for hot, and finds out while it rolls back.
bool JournalContentMayBeHot(std::uint64_t journal_bytes,
                            std::span<const std::uint8_t> bytes) noexcept;

// Reads `bytes.size()` bytes of a journal at an offset; false where they cannot all be had.
using JournalRead = std::function<bool(std::uint64_t offset, std::span<std::uint8_t> bytes)>;

// What a rollback of a journal that is hot would play back: the records that its headers announce
// and the file has; 0 for a journal that SQLite would not believe. Null where it cannot be read,
// has more than kJournalSegmentsMax headers, or says no page size and none is known of the database
// (`database_page_size` 0).
inline constexpr std::size_t kJournalSegmentsMax = 100'000;
std::optional<std::uint64_t> JournalRecords(std::uint64_t journal_bytes,
                                            std::uint32_t database_page_size,
                                            const JournalRead& read);

// The super-journal that the journal names at its end; null for none. Not longer than a path.
std::optional<std::string> SuperJournalOf(std::uint64_t journal_bytes, const JournalRead& read);

}  // namespace lockscope::format
