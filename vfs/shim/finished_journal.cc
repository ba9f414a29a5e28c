#include "shim/finished_journal.h"

#include <cstring>

#include "shim/counted_file.h"
#include "shim/shim_file.h"

namespace lockscope::shim {

FinishedJournal::State& FinishedJournal::StateOf(sqlite3_file* file) {
  auto* table = const_cast<sqlite3_io_methods*>(file->pMethods);
  return *reinterpret_cast<State*>(table);
}

void FinishedJournal::Watch(sqlite3_file* journal, ShimFile& database) noexcept {
  End();
  state_ = {};
  CopyMethods(*journal->pMethods, state_.table);
  state_.table.xWrite = xWrite;
  state_.table.xTruncate = xTruncate;
  state_.table.xClose = xClose;
  state_.original = journal->pMethods;
  state_.self = this;
  state_.database = &database;
  file_ = journal;
  journal->pMethods = &state_.table;
}

void FinishedJournal::End() noexcept {
  if (file_ != nullptr && file_->pMethods == &state_.table) file_->pMethods = state_.original;
  file_ = nullptr;
}

// Nothing of `state` may be used behind this.
void FinishedJournal::Finished(State& state, int result) noexcept {
  if (result == SQLITE_OK) state.database->JournalFinished();
}

int FinishedJournal::xWrite(sqlite3_file* file, const void* buffer, int bytes,
                            sqlite3_int64 offset) {
  State& state = StateOf(file);
  const int result = state.original->xWrite(file, buffer, bytes, offset);
  Finished(state, result);
  return result;
}

int FinishedJournal::xTruncate(sqlite3_file* file, sqlite3_int64 bytes) {
  State& state = StateOf(file);
  const int result = state.original->xTruncate(file, bytes);
  Finished(state, result);
  return result;
}

int FinishedJournal::xClose(sqlite3_file* file) {
  const State& state = StateOf(file);
  const sqlite3_io_methods* original = state.original;
  state.self->End();
  return original->xClose(file);
}

}  // namespace lockscope::shim
