#include "shim/counted_file.h"

#include <cstddef>
#include <cstring>

namespace lockscope::shim {
namespace {

// As much of a table as its version has.
std::size_t BytesOf(const sqlite3_io_methods& methods) {
  if (methods.iVersion < 2) return offsetof(sqlite3_io_methods, xShmMap);
  if (methods.iVersion < 3) return offsetof(sqlite3_io_methods, xFetch);
  return sizeof methods;
}

}  // namespace

void CopyMethods(const sqlite3_io_methods& from, sqlite3_io_methods& to) noexcept {
  std::memcpy(&to, &from, BytesOf(from));
  if (to.iVersion > 3) to.iVersion = 3;
}

CountedFile::State& CountedFile::StateOf(sqlite3_file* file) {
  auto* table = const_cast<sqlite3_io_methods*>(file->pMethods);
  return *reinterpret_cast<State*>(table);
}

void CountedFile::Begin(sqlite3_file* file, What what, int smallest_bytes,
                        ledger::Word& pages) noexcept {
  End();
  state_ = {};
  CopyMethods(*file->pMethods, state_.table);
  if (what == What::kReads) state_.table.xRead = xRead;
  if (what == What::kWrites) state_.table.xWrite = xWrite;
  state_.table.xClose = xClose;
  state_.original = file->pMethods;
  state_.self = this;
  state_.pages = &pages;
  state_.smallest_bytes = smallest_bytes;
  file_ = file;
  file->pMethods = &state_.table;
}

void CountedFile::End() noexcept {
  if (file_ != nullptr && file_->pMethods == &state_.table) file_->pMethods = state_.original;
  file_ = nullptr;
}

void CountedFile::Count(State& state, int result, int bytes) noexcept {
  if (result == SQLITE_OK && bytes >= state.smallest_bytes) state.pages->Add(1);
}

int CountedFile::xRead(sqlite3_file* file, void* buffer, int bytes, sqlite3_int64 offset) {
  State& state = StateOf(file);
  const int result = state.original->xRead(file, buffer, bytes, offset);
  Count(state, result, bytes);
  return result;
}

int CountedFile::xWrite(sqlite3_file* file, const void* buffer, int bytes, sqlite3_int64 offset) {
  State& state = StateOf(file);
  const int result = state.original->xWrite(file, buffer, bytes, offset);
  Count(state, result, bytes);
  return result;
}

int CountedFile::xClose(sqlite3_file* file) {
  const State& state = StateOf(file);
  const sqlite3_io_methods* original = state.original;
  state.self->End();
  return original->xClose(file);
}

}  // namespace lockscope::shim
