// Look: one look at some databases: the ledger, the kernel's locks and the files, read once,
// together.
//
// Looking takes no SQLite lock, opens no file that this process has open, closes none, and changes
// nothing. What it finds may be out of date by the time it is read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/database_header.h"
#include "format/rollback_journal.h"
#include "format/wal_index.h"
#include "kernel/descriptors.h"
#include "kernel/proc_locks.h"
#include "ledger/clock.h"
#include "ledger/ledger.h"
#include "ledger/registry_reader.h"
#include "model/file_id.h"

namespace lockscope::insight {

// The rollback journal beside a database.
struct JournalFacts {
  bool exists = false;
  FileId id;
  std::uint64_t bytes = 0;
  std::int64_t written_ns = 0;
  bool content_may_be_hot = false;             // not empty, and its first byte is not zero
  std::optional<std::uint32_t> initial_pages;  // of the database before; null: it does not tell
};

// What one process holds on one database, byte by byte, as the kernel tells.
struct KernelHolder {
  std::optional<std::int64_t> pid;  // null: outside our pid namespace
  bool pending = false;             // write lock on the PENDING byte
  bool reserved = false;
  bool shared = false;                            // any lock on SHARED's range
  bool exclusive = false;                         // a write lock on it
  std::array<LockMode, kShmLockCount + 1> shm{};  // by xShmLock's offset; 8 is the open byte

  bool Nothing() const;
  LockMode DatabaseMode() const;
  // Only what the other holds too.
  void KeepCommon(const KernelHolder& other);

  friend bool operator==(const KernelHolder&, const KernelHolder&) = default;
};

// A request that waits in the kernel (F_SETLKW, as SQLite built with SETLK_TIMEOUT makes them).
struct KernelWaiter {
  std::int64_t pid = 0;
  Resource resource = Resource::kDatabase;
  LockMode mode = LockMode::kNone;
};

// Where the kernel's word on other processes' locks is from. /proc/locks has every lock, but making
// it waits for all processors, for some 15 ms where nothing goes on, and keeps everybody's lock
// calls from the short way meanwhile. Asked for the bytes (F_OFD_GETLK), which takes microseconds,
// the kernel names who holds a lock exclusively, PENDING and RESERVED included; who shares one, and
// who waits, is not known then.
enum class KernelWord : std::uint8_t { kListed, kAsked };

// A connection among those of all processes: the instance of its process, 0 for this one, and its
// number there.
using ConnectionKey = std::pair<std::uint64_t, std::uint64_t>;
ConnectionKey KeyOf(const ledger::ConnectionView& view);

struct Database {
  std::string path;
  FileId id;
  std::uint64_t bytes = 0;
  std::int64_t written_ns = 0;  // st_mtim
  FileId shm;                   // of the -shm beside it; unknown where there is none
  std::optional<format::DatabaseHeader> header;
  std::optional<format::WalIndex> wal_index;             // only a valid one
  std::optional<format::WalIndexState> wal_index_state;  // as it was read last; null: not at all
  std::uint64_t wal_bytes = 0;
  std::int64_t wal_written_ns = 0;
  bool wal_exists = false;
  bool wal_mode = false;
  JournalFacts journal;

  std::int64_t own_pid = 0;                          // of whoever looks
  std::vector<ledger::ConnectionView> own;           // this process's connections through the shim
  std::vector<ledger::ConnectionView> others;        // those that other processes publish
  std::unique_ptr<ledger::RegistryReader> registry;  // where they do
  KernelHolder own_unexplained;       // what this process holds besides, however often asked
  std::vector<KernelHolder> holders;  // what no connection explains, of whatever process
  std::vector<KernelWaiter> waiters;

  // Own ones first.
  std::vector<const ledger::ConnectionView*> Connections() const;

  // Bytes, as the WAL has them, else as the database's header does: a wal-index that was recovered
  // from an empty WAL knows no page size. 0 where neither does.
  std::uint32_t PageBytes() const;
  // The size of the database in pages, likewise. 0 where it is not known.
  std::uint32_t Pages() const;

  // What the kernel says of a lock that the ledger has: null where it cannot be told.
  std::optional<bool> Verified(const ledger::ConnectionView& view, Resource resource,
                               LockMode mode) const;
  // The same, but what is being let go this moment counts as lost.
  std::optional<bool> InKernel(const ledger::ConnectionView& view, Resource resource,
                               LockMode mode) const;

  // What Verified() asks.
  std::map<FileId, std::optional<std::vector<kernel::PosixLock>>> own_locks;  // by file
  std::map<ConnectionKey, ledger::SlotCopy> slots_before;  // from before the kernel was asked
  // Of other processes, as the kernel told, by pid; null for all that are outside our namespace.
  std::map<std::optional<std::int64_t>, KernelHolder> everything_held;
  std::optional<KernelWord> kernel_word;  // null: it did not tell
  // Where it was asked: the wal-index's locks that somebody shares, a bit each by xShmLock's
  // offset; not who.
  std::uint8_t shm_shared = 0;

  // REQUIRES: the kernel was asked.
  bool MaySomebodyShare(Resource resource) const;

 private:
  bool HeldByVisible(Resource resource) const;
  std::optional<bool> HeldByAsking(const ledger::ConnectionView& view, const ByteRange& range,
                                   bool shm_lock) const;
};

// Whether the kernel knows every lock of these connections.
bool NothingIsLost(const Database& database, const std::vector<ledger::ConnectionView>& views);

// How much a look may cost.
enum class Pains {
  // Whoever is caught between a lock call and its record is looked at again, some milliseconds
  // later.
  kUsual,
  // What such a moment leaves open stays so.
  kOneMoment,
  // Nor is /proc/locks read: what the kernel tells without, see KernelWord.
  kFew,
};

class Look {
 public:
  // At the files of these absolute paths, symbolic links resolved.
  static Look At(const std::vector<std::string>& paths, Pains pains = Pains::kUsual);

  const std::vector<Database>& databases() const { return databases_; }
  const ledger::Timeline& timeline() const { return timeline_; }
  const ledger::ClockAnchor& now() const { return now_; }
  std::int64_t pid() const { return pid_; }
  // Null outside our pid namespace.
  std::optional<std::int64_t> PidOf(const ledger::ConnectionView& view) const;
  // The command line of a process; looked up once. Of one outside our pid namespace, what it told
  // of itself through its connection `view`, where there is one.
  std::optional<std::string> ProcessName(std::optional<std::int64_t> pid,
                                         const ledger::ConnectionView* view = nullptr) const;
  // Milliseconds, and UTC text, of a tick; 0 is no tick.
  std::optional<std::int64_t> AgeMs(ledger::Ticks ticks) const;
  std::optional<std::string> Since(ledger::Ticks ticks) const;

 private:
  Look();

  ledger::ClockAnchor now_;
  ledger::Timeline timeline_;
  std::int64_t pid_;
  std::vector<Database> databases_;
  mutable std::map<std::int64_t, std::optional<std::string>> process_names_;
};

}  // namespace lockscope::insight
