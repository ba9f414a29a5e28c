// Recovery: one that the connection of a ShimFile runs, while it does.
//
// A hot journal's rollback begins where SQLite opens the journal, for reading and writing and
// without creating it, while it holds EXCLUSIVE that it took straight from SHARED: nothing else
// does that. (Straight from SHARED alone is also what a last WAL connection does that closes, a
// change of journal mode, and exclusive locking mode.) What it has restored it tells the VFS below
// to sync, whatever `synchronous` is; then it finishes the journal and lets EXCLUSIVE go. In
// exclusive locking mode it does not, and the journal is overwritten or cut off instead of deleted:
// that is all that tells then.
//
// A WAL's recovery is what happens under an exclusive recover lock.
#pragma once

#include "ledger/recovery_notes.h"
#include "shim/counted_file.h"
#include "shim/finished_journal.h"

namespace lockscope::shim {

class ShimFile;

struct Recovery {
  explicit Recovery(ledger::RecoveryKind of_kind) : kind(of_kind) {}

  const ledger::RecoveryKind kind;
  bool restored = false;  // of a rollback: all pages are back
  CountedFile counted;
  FinishedJournal journal;  // of a rollback
};

// The files that hold EXCLUSIVE straight from SHARED now, by which a journal that is opened finds
// its database: its name says nothing that could be trusted of a VFS above this one.
//
// Threads: any.
class ExclusiveFiles {
 public:
  // Once, before the first is added.
  static void Prepare();
  static void Add(ShimFile& file);
  static void Remove(ShimFile& file);
  // The one whose journal has that name, and whose lock the calling thread took; null for none.
  static ShimFile* Find(const char* journal);
};

}  // namespace lockscope::shim
