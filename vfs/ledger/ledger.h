// Ledger: every connection of this process that goes through the shim, and what closed ones left.
//
// Threads: any. Opening, closing and looking take one mutex; recording (class Connection) takes
// none. Lookers copy what they need while they hold it and go.
//
// Fork: POSIX locks are not inherited, so a forked child starts with an empty ledger; the records
// of connections that it inherited stay writable memory and appear nowhere.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "format/wal_index.h"
#include "ledger/connection.h"
#include "ledger/views.h"

namespace lockscope::ledger {

// Chooses databases by what is known of them; of closed ones that is the path alone (their inode
// may be another file's by now). An empty function chooses all.
using DatabaseFilter = std::function<bool(const std::string& path, const FileId& id)>;

// Copies what SQLite and other processes write without any ordering: a torn value is possible, and
// harmless where what is copied carries its own proof. REQUIRES: `bytes` is a multiple of 8.
void CopyShared(const volatile std::uint8_t* from, std::uint8_t* to, std::size_t bytes);

class Ledger {
 public:
  // This process's ledger; lives for ever.
  static Ledger& Process();

  // A record for a database that is about to be opened. Null where there is no memory.
  Connection* Open();
  // The VFS below has opened it: from now on it is in the tables, here and, where that is wanted
  // and can be, in those of other processes. Gives it its number. May throw std::bad_alloc: then it
  // is as if it had not been called.
  void Opened(Connection& connection, ConnectionInfo info);
  // Lets go of whatever it still held, keeps its events and adds its counters to its database's.
  // Also for a record whose opening failed. Harmless for a record inherited through fork().
  void Close(Connection& connection);

  // The private connection of this number serves that barrier: for other processes to see.
  void NoteBarrier(std::uint64_t connection, const BarrierNotice& notice);

  // The -shm has been opened; `shm` is unknown where there is no such file.
  void WalIndexOpened(Connection& connection, const FileId& shm);
  // xShmMap has handed out the first page of the wal-index / it is about to be taken away. `page`
  // stays readable until Unmapping() has returned.
  void Mapped(Connection& connection, const volatile std::uint8_t* page);
  void Unmapping(Connection& connection);

  std::vector<ConnectionView> Connections(const DatabaseFilter& filter);
  // The open connection of this number; null for none, and for one that is in mid-update.
  std::optional<ConnectionView> View(std::uint64_t number);
  // How many connections have been closed so far.
  std::uint64_t Closings();
  std::vector<ConnectionEvents> Events(const DatabaseFilter& filter);
  // Of those that noted anything.
  std::vector<ConnectionNotes> Notes(const DatabaseFilter& filter);
  std::vector<DatabaseStats> Stats(const DatabaseFilter& filter);
  // The head of the wal-index as an open connection has it mapped (the only way to see one that is
  // in memory, as unix-excl's). False where no chosen connection has one.
  bool CopyWalIndex(const DatabaseFilter& filter,
                    std::array<std::uint8_t, format::kWalIndexHeadBytes>& bytes);

 private:
  struct Totals {
    std::uint64_t closed_last = 0;  // for choosing what to forget
    std::map<std::size_t, StatCounts> kinds;
    std::map<std::size_t, StatCounts> published;  // of those that others could see
  };

  Ledger();
  static std::optional<ConnectionView> ViewOf(const Connection& connection);
  static void ForgetInChild();
  static ConnectionNotes NotesOf(const Connection& connection);
  void FoldStats(Connection& connection);
  void KeepEvents(const Connection& connection);
  static std::map<std::size_t, StatCounts> PublishedTotals(const std::string& path);

  // All guarded by the mutex in ledger.cc.
  std::vector<Connection*> open_;
  std::vector<Connection*> unused_;
  std::deque<ConnectionEvents> closed_;       // what closed ones left, oldest first
  std::deque<ConnectionNotes> closed_notes_;  // likewise
  std::map<std::string, Totals> totals_;
  std::size_t connections_ = 0;  // made so far: all of them may be open, or unused, at once
  std::uint64_t next_id_ = 1;
  std::uint64_t closings_ = 0;
};

}  // namespace lockscope::ledger
