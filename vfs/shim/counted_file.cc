#include "shim/counted_file.h"

namespace lockscope::shim {

void CountedFile::Begin(sqlite3_file* file, What what, int smallest_bytes,
                        ledger::Word& pages) noexcept {
  pages_ = &pages;
  smallest_bytes_ = smallest_bytes;
  sqlite3_io_methods& methods = methods_.Begin(file, this);
  if (what == What::kReads) methods.xRead = xRead;
  if (what == What::kWrites) methods.xWrite = xWrite;
}

void CountedFile::Count(int result, int bytes) noexcept {
  if (result == SQLITE_OK && bytes >= smallest_bytes_) pages_->Add(1);
}

int CountedFile::xRead(sqlite3_file* file, void* buffer, int bytes, sqlite3_int64 offset) {
  auto& self = ExchangedMethods::OwnerOf<CountedFile>(file);
  const int result = ExchangedMethods::OriginalOf(file).xRead(file, buffer, bytes, offset);
  self.Count(result, bytes);
  return result;
}

int CountedFile::xWrite(sqlite3_file* file, const void* buffer, int bytes, sqlite3_int64 offset) {
  auto& self = ExchangedMethods::OwnerOf<CountedFile>(file);
  const int result = ExchangedMethods::OriginalOf(file).xWrite(file, buffer, bytes, offset);
  self.Count(result, bytes);
  return result;
}

}  // namespace lockscope::shim
