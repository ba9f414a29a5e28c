// The first bytes of a database and of a WAL, and all of a rollback journal. Each decoder gets
// every input: what is a database is never a journal.
#include "format/database_header.h"

#include <algorithm>
#include <cstring>

#include "format/rollback_journal.h"
#include "format/wal_header.h"
#include "format/wal_index.h"
#include "fuzz/check.h"

namespace lockscope::fuzz {
namespace {

using format::DatabaseHeader;
using format::JournalHeader;

bool Same(const DatabaseHeader& a, const DatabaseHeader& b) {
  return a.page_size == b.page_size && a.write_version == b.write_version &&
         a.read_version == b.read_version && a.change_counter == b.change_counter &&
         a.database_pages == b.database_pages;
}

bool Same(const JournalHeader& a, const JournalHeader& b) {
  return a.magic == b.magic && a.first_byte_zero == b.first_byte_zero &&
         a.page_count == b.page_count && a.initial_pages == b.initial_pages &&
         a.sector_size == b.sector_size && a.page_size == b.page_size;
}

bool IsPowerOfTwo(std::uint32_t number) { return number != 0 && (number & (number - 1)) == 0; }

bool MayBeDatabase(Bytes bytes) {
  if (bytes.size() < format::kDatabaseHeaderBytes) return false;
  if (std::memcmp(bytes.data(), "SQLite format 3", 16) != 0) return false;
  const unsigned stored = bytes[16] * 256U + bytes[17];
  return stored == 1 || (stored >= 512 && IsPowerOfTwo(stored));
}

// Whether it is a database.
bool CheckDatabase(Bytes bytes) {
  const auto header = format::DecodeDatabaseHeader(bytes);
  FUZZ_CHECK(header.has_value() == MayBeDatabase(bytes));
  if (!header) return false;

  const auto first = bytes.first(format::kDatabaseHeaderBytes);
  FUZZ_CHECK(Same(*header, format::DecodeDatabaseHeader(first).value()));
  FUZZ_CHECK(IsPowerOfTwo(header->page_size));
  FUZZ_CHECK(header->page_size >= 512 && header->page_size <= 65536);
  FUZZ_CHECK(header->wal() == (bytes[19] == 2));
  FUZZ_CHECK(header->change_counter == format::ReadBigEndian32(bytes, 24));
  const bool counted = format::ReadBigEndian32(bytes, 92) == header->change_counter;
  FUZZ_CHECK(header->database_pages == (counted ? format::ReadBigEndian32(bytes, 28) : 0));
  return true;
}

// Whether it starts as a journal does.
bool CheckJournal(Bytes bytes) {
  const JournalHeader header = format::DecodeJournalHeader(bytes);
  FUZZ_CHECK(Same(header, format::DecodeJournalHeader(bytes)));
  FUZZ_CHECK(header.first_byte_zero == (!bytes.empty() && bytes[0] == 0));
  FUZZ_CHECK(!(header.magic && header.first_byte_zero));
  FUZZ_CHECK(header.sector_size == 0 || (IsPowerOfTwo(header.sector_size) &&
                                         header.sector_size >= 32 && header.sector_size <= 65536));
  FUZZ_CHECK(header.page_size == 0 || format::IsPageSize(header.page_size));
  if (!header.magic || bytes.size() < format::kJournalHeaderBytes) {
    JournalHeader nothing;
    nothing.magic = header.magic;
    nothing.first_byte_zero = header.first_byte_zero;
    FUZZ_CHECK(Same(header, nothing));
  } else {
    FUZZ_CHECK(Same(header, format::DecodeJournalHeader(bytes.first(format::kJournalHeaderBytes))));
  }

  FUZZ_CHECK(!format::JournalContentMayBeHot(0, bytes));
  FUZZ_CHECK(format::JournalContentMayBeHot(bytes.size() + 1, bytes) != header.first_byte_zero);
  FUZZ_CHECK(!header.magic || format::JournalContentMayBeHot(bytes.size(), bytes));
  return header.magic;
}

// The input as a journal of its own length, and as the beginning of one whose bytes repeat it: that
// has as many headers as one likes.
void CheckWalk(Bytes bytes) {
  const format::JournalRead read = [bytes](std::uint64_t offset, std::span<std::uint8_t> into) {
    if (offset > bytes.size() || into.size() > bytes.size() - offset) return false;
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return true;
  };
  const auto records = format::JournalRecords(bytes.size(), 512, read);
  FUZZ_CHECK(records.value_or(0) <= bytes.size() / (512 + 8));
  FUZZ_CHECK(records == format::JournalRecords(bytes.size(), 512, read));
  FUZZ_CHECK(!records || bytes.size() >= format::kJournalHeaderBytes);
  const auto name = format::SuperJournalOf(bytes.size(), read);
  FUZZ_CHECK(!name || (!name->empty() && name->size() + 16 <= bytes.size()));

  if (bytes.empty()) return;
  std::size_t reads = 0;
  const format::JournalRead endless = [&](std::uint64_t offset, std::span<std::uint8_t> into) {
    ++reads;
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = bytes[(offset + i) % bytes.size()];
    return true;
  };
  constexpr std::uint64_t kBytes = std::uint64_t{1} << 40;
  FUZZ_CHECK(format::JournalRecords(kBytes, 512, endless).value_or(0) <= kBytes / (512 + 8));
  FUZZ_CHECK(reads <= format::kJournalSegmentsMax);
}

void CheckWal(Bytes bytes) {
  for (const std::uint64_t size : {std::uint64_t{bytes.size()}, std::uint64_t{1} << 40}) {
    const auto frames = format::WalFrames(bytes, size);
    FUZZ_CHECK(!frames || bytes.size() >= format::kWalHeaderBytes);
    FUZZ_CHECK(frames.value_or(0) <= size / (512 + format::kFrameHeaderBytes));
  }
}

void TryFileHeaders(Bytes bytes) {
  CheckWalk(bytes);
  CheckWal(bytes);
  const bool database = CheckDatabase(bytes);
  const bool journal = CheckJournal(bytes);
  FUZZ_CHECK(!(database && journal));
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryFileHeaders)
