// ShimVfs: a VFS that wraps another and records what is locked through it.
//
// Only main database files are wrapped; journals, WALs and temporary files are opened by the VFS
// below straight into SQLite's memory, as if the shim were not there. Every VFS method is
// forwarded, the three system-call methods too, and slots that are empty below are empty here.
//
// A registration is never taken back: open files point into it.
#pragma once

#include <cstdint>
#include <string>

#include "model/status.h"
#include "shim/sqlite_api.h"

namespace lockscope::shim {

// Answers a PRAGMA on a database that is open through the shim: a text to show, or nothing, where
// the pragma is not ours. Installed by the layer above; may throw.
using PragmaHandler = bool (*)(const char* name, const char* path, std::string& answer);
void SetPragmaHandler(PragmaHandler handler);
PragmaHandler CurrentPragmaHandler();

// What has to be known before anything is recorded or set: the clock, and the environment's words.
// Once; later calls do nothing.
void Prepare();

// Puts a shim called `name` on top of `base` (null: the default now). See lockscope_register().
Status Register(const char* base, const char* name, bool make_default);

// The name of a shim on top of the VFS called `base` for barriers' own connections: registered when
// it is first asked for, never the default, told by `barrier` in the ledger.
Result<std::string> BarrierVfs(const std::string& base);

// The name of the VFS below the shim called `name`; null where there is no such shim.
const char* RegisteredBase(const char* name);

class ShimVfs {
 public:
  enum class Purpose : std::uint8_t { kApplications, kBarriers };
  ShimVfs(sqlite3_vfs* base, std::string name, Purpose purpose);
  ShimVfs(const ShimVfs&) = delete;
  ShimVfs& operator=(const ShimVfs&) = delete;

  // By pAppData: others copy the struct, so it is never cast.
  static ShimVfs& From(sqlite3_vfs* vfs) { return *static_cast<ShimVfs*>(vfs->pAppData); }
  // Whether `vfs` is one of ours.
  static ShimVfs* Ours(sqlite3_vfs* vfs);

  sqlite3_vfs* base() const { return base_; }
  sqlite3_vfs* vfs() { return &vfs_; }
  const std::string& name() const { return name_; }
  bool for_barriers() const { return purpose_ == Purpose::kBarriers; }

 private:
  struct Methods;
  friend struct Methods;

  int Open(const char* name, sqlite3_file* file, int flags, int* out_flags) noexcept;
  int OpenDatabase(const char* name, sqlite3_file* file, int flags, int* out_flags);

  sqlite3_vfs vfs_{};
  sqlite3_vfs* base_;
  std::string name_;
  Purpose purpose_;
};

}  // namespace lockscope::shim
