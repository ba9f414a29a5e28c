// Registry: the records of this process's connections that other processes can read.
//
// A record in a sidecar has the same form as a private one, and is written the same way. What
// cannot be published (a read-only directory, a full disk, an odd file system, the setting
// `registry`) is recorded privately, and the reason told.
//
// Threads: any; one mutex (kRegistry), under which files are opened and closed.
//
// Memory: a record stays writable after it was given back, and in a forked child, where it is
// nobody's: a thread may still be in a sleep that began for its connection. When a block goes,
// zeros that belong to nobody take its place in memory; the addresses are used again, never given
// back.
//
// Fork: a child has nothing in any sidecar; its copies of the descriptors are closed, so that they
// do not hold its parent's locks when that dies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ledger/registry_file.h"
#include "ledger/registry_layout.h"
#include "model/file_id.h"

namespace lockscope::ledger {

// The SQLite that lockscope serves in this process. Told once; later calls change nothing.
struct HostSqlite {
  std::string version;
  std::string source_id;
};
void SetHostSqlite(HostSqlite host);
const HostSqlite& CurrentHostSqlite();

class Registry {
 public:
  // A record in use. Null where there is none.
  struct Lease {
    ConnectionRecord* record = nullptr;
    bool first = false;     // this process had no record there before
    std::string refusal{};  // why there is none; empty where there is one
  };

  static Registry& Process();

  // What earlier connections to a database counted, by kind (lock_stats.h).
  using Totals = std::map<std::size_t, StatCounts>;

  // A record for a connection to the database at `path`, zeroed. Where the process had none there,
  // `totals`, if given, is asked what to begin with; it may take the ledger's mutex.
  Lease Enter(const std::string& path, const FileId& database,
              Totals (*totals)(const std::string& path) = nullptr);
  // Gives it back; its counters are added to what the process's closed connections counted, and its
  // events stay readable until it is used again.
  void Leave(const ConnectionRecord* record);

  // `application` or `registry` was set: tells it in every sidecar.
  void SettingsChanged();

  // A number that no other process has: what this process's blocks are known by.
  std::uint64_t instance();

 private:
  struct Block {
    RegistryBlock* mapped = nullptr;
    std::uint32_t number = 0;
    bool zeros = false;  // what has not been used is zeros
    unsigned used = 0;   // records in use, a bit each
    unsigned known = 0;  // records that have been in use: there is room for them
  };
  struct Sidecar {
    std::string path;  // of the database
    FileId database;
    RegistryFile file;
    std::vector<Block> blocks;
    bool used = false;  // a record has been in use
  };

  struct Chosen;

  Registry();
  static void ForgetInChild();
  Lease EnterLocked(const std::string& path, const FileId& database, const Chosen& chosen);
  Sidecar* Find(const std::string& path, const FileId& database);
  Sidecar* SidecarOf(const ConnectionRecord* record);
  void Reserve(Sidecar& sidecar);
  void AddTotals(const Lease& lease, Totals (*totals)(const std::string& path),
                 const std::string& path) noexcept;
  Status Map(Sidecar& sidecar, const RegistryFile::Block& block, const Chosen& chosen);
  static void Tell(Published<ProcessLayout>& process, std::uint64_t instance, const Chosen& chosen);
  void* ReserveAddresses();
  void Unmap(RegistryBlock* mapped);
  void Drop(const Sidecar& sidecar);

  // All guarded by the mutex in registry.cc.
  std::vector<std::unique_ptr<Sidecar>> sidecars_;
  std::vector<void*> addresses_;  // reserved, of no block now
  std::uint64_t instance_;
};

}  // namespace lockscope::ledger
