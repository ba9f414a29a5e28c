#include "shim/exchanged_methods.h"

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace lockscope::shim {
namespace {

// As much of a table as its version has.
std::size_t BytesOf(const sqlite3_io_methods& methods) {
  if (methods.iVersion < 2) return offsetof(sqlite3_io_methods, xShmMap);
  if (methods.iVersion < 3) return offsetof(sqlite3_io_methods, xFetch);
  return sizeof methods;
}

}  // namespace

ExchangedMethods& ExchangedMethods::Of(sqlite3_file* file) {
  static_assert(std::is_standard_layout_v<ExchangedMethods>, "its address is its table's");
  return *reinterpret_cast<ExchangedMethods*>(const_cast<sqlite3_io_methods*>(file->pMethods));
}

sqlite3_io_methods& ExchangedMethods::Begin(sqlite3_file* file, void* owner) noexcept {
  End();
  table_ = {};
  std::memcpy(&table_, file->pMethods, BytesOf(*file->pMethods));
  if (table_.iVersion > 3) table_.iVersion = 3;
  table_.xClose = xClose;
  original_ = file->pMethods;
  owner_ = owner;
  file_ = file;
  file->pMethods = &table_;
  return table_;
}

void ExchangedMethods::End() noexcept {
  if (file_ != nullptr && file_->pMethods == &table_) file_->pMethods = original_;
  file_ = nullptr;
}

int ExchangedMethods::xClose(sqlite3_file* file) {
  const sqlite3_io_methods& original = OriginalOf(file);
  Of(file).End();
  return original.xClose(file);
}

}  // namespace lockscope::shim
