// PrivateConnection: the connection of a barrier to one database, which runs nothing but the
// barrier.
//
// Opened through an internal instance of the shim, so that its locks are in the tables and the read
// slot it sits on is known; for reading and writing, even where the user's connection is read-only;
// without checkpoint on close. Its main database is in memory and the one to hold is attached: the
// host's auto-extensions, which SQLite runs on every new connection, meet only the former.
//
// The order of its locks: read snapshot (SQLite's own), checkpoint lock, a read slot >= 1, write
// lock. Each is tried once and never waited for. While a lock taken by hand is held no SQL runs: a
// recovery would let the checkpoint lock go without a word.
//
// Threads: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "barrier/facts.h"
#include "barrier/kinds.h"
#include "format/wal_index.h"
#include "model/event.h"
#include "model/resource.h"
#include "model/status.h"
#include "shim/shim_file.h"
#include "shim/sqlite_api.h"

namespace lockscope::barrier {

// A lock that the kernel must have for as long as the barrier is held.
struct NeededLock {
  Resource resource = Resource::kDatabase;
  LockMode mode = LockMode::kShared;
  FileId file;
  ByteRange bytes;
  bool write = false;
};

class PrivateConnection {
 public:
  // SQLITE_READONLY    no permission to write to the database
  // SQLITE_MISUSE      a VFS that does not lock as "unix" does
  // otherwise          as SQLite says: SQLITE_CANTOPEN, SQLITE_NOMEM, …
  static Result<std::unique_ptr<PrivateConnection>> Open(const Member& member);
  // Lets go of everything and closes.
  ~PrivateConnection();
  PrivateConnection(const PrivateConnection&) = delete;
  PrivateConnection& operator=(const PrivateConnection&) = delete;

  const Member& member() const { return member_; }
  std::uint64_t connection() const;  // its number in the tables

  // ---- one attempt, in this order; after any refusal LetGo() ----

  // The read snapshot; in the rollback modes RESERVED, or EXCLUSIVE for that kind. SQLITE_BUSY
  // where that is refused, SQLITE_READONLY where there is no permission for it, SQLITE_NOTADB.
  Status Begin(Kind kind);
  bool wal() const { return wal_; }
  // REQUIRES, for all that follow: wal().
  Status LockCheckpoints();
  // A shared lock on one of the slots 1 … 4, where the snapshot sits on slot 0.
  Status KeepWalFromRestarting();
  Status LockWriters();
  void UnlockWriters();
  // Whether LockWriters() would succeed now, asked of the kernel without taking anything; false
  // where that cannot be told. Cheap enough to be asked again and again.
  bool WritersLookFree() const;

  // What was refused last; null where nothing was.
  std::optional<Event> Refused() const;
  // In reverse, the snapshot last.
  void LetGo();

  // ---- while it is held ----

  // SQLITE_BUSY where the wal-index is being written, or was left torn; given `header`, what is in
  // the wal-index header is taken from there then.
  Result<Facts> ReadFacts(const Facts* header = nullptr);
  // What it holds, on the files that `facts` name.
  std::vector<NeededLock> NeededLocks(const Facts& facts) const;
  // Both files, as SQLite syncs them.
  Status Sync();
  // Whether the two copies of the wal-index header differ now.
  bool WalIndexTorn();
  // Whether they do while nobody is writing: for the length of the question it holds the write
  // lock.
  bool WalIndexTornForGood();
  // Closes the database and lets SHARED go. Runs nothing of the host's, as closing the connection
  // may. REQUIRES: LetGo(); after it, only the destructor.
  void Detach();

 private:
  explicit PrivateConnection(Member member) : member_(std::move(member)) {}
  Status OpenIn(const std::string& vfs);
  Status Attach(const std::string& vfs, const char* encoding);
  Status Exec(const char* sql);
  Status Fail(int code) const;
  Status BeginRollback(Kind kind);
  Status OpenSnapshot();
  bool HasRollbackLock(Kind kind);
  shim::ConnectionState State() const;
  int LockShm(Resource resource, int flags);
  Status TryExclusive(Resource resource);
  void Unlock(Resource resource, int mode);
  Status MapWalIndex();
  format::WalIndex WalIndex() const;
  std::uint32_t ReadWalIndex(std::size_t offset) const;
  bool IsTheWalInUse(const format::WalIndex& wal_index);

  Member member_;
  sqlite3* db_ = nullptr;
  sqlite3_file* file_ = nullptr;  // the database's, a ShimFile
  bool wal_ = false;
  std::optional<Resource> snapshot_slot_;  // SQLite's own, of the snapshot
  std::optional<Resource> restart_slot_;   // taken by hand
  bool checkpoints_locked_ = false;
  bool writers_locked_ = false;
  const volatile std::uint8_t* wal_index_ = nullptr;
  // The -shm as this process had it open when it was mapped, for questions to the kernel. Other
  // code may have opened it, and close it: then the answers are worth nothing, and do no harm. -1:
  // not known.
  int shm_descriptor_ = -1;
};

}  // namespace lockscope::barrier
