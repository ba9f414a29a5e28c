#include "shim/finished_journal.h"

#include "shim/shim_file.h"

namespace lockscope::shim {

void FinishedJournal::Watch(sqlite3_file* journal, ShimFile& database) noexcept {
  sqlite3_io_methods& methods = methods_.Begin(journal, &database);
  methods.xWrite = xWrite;
  methods.xTruncate = xTruncate;
}

int FinishedJournal::xWrite(sqlite3_file* file, const void* buffer, int bytes,
                            sqlite3_int64 offset) {
  auto& database = ExchangedMethods::OwnerOf<ShimFile>(file);
  const int result = ExchangedMethods::OriginalOf(file).xWrite(file, buffer, bytes, offset);
  if (result == SQLITE_OK) database.JournalFinished();
  return result;
}

int FinishedJournal::xTruncate(sqlite3_file* file, sqlite3_int64 bytes) {
  auto& database = ExchangedMethods::OwnerOf<ShimFile>(file);
  const int result = ExchangedMethods::OriginalOf(file).xTruncate(file, bytes);
  if (result == SQLITE_OK) database.JournalFinished();
  return result;
}

}  // namespace lockscope::shim
