// The words of a barrier: its kind, what it is to hold, what a copy consists of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/file_id.h"

namespace lockscope::barrier {

//   kind       WAL mode                                            rollback modes
//   snapshot   read snapshot, checkpoint lock, a read slot >= 1    RESERVED
//   write      the above and the write lock                        RESERVED
//   exclusive  as write (so is SQLite's own BEGIN EXCLUSIVE)       EXCLUSIVE
enum class Kind : std::uint8_t { kSnapshot, kWrite, kExclusive };
const char* Name(Kind kind);
// "snapshot", "write", "exclusive", in any case.
std::optional<Kind> ParseKind(std::string_view text);

// A database that the barrier is to hold.
struct Member {
  std::string schema;  // what its owner calls it; "main" where nobody does
  std::string path;    // absolute
  std::string vfs;     // the VFS below any shim, through which it is opened; empty: "unix"
};

enum class Role : std::uint8_t { kDatabase, kWal };
const char* Name(Role role);  // "database", "wal"

// A file that a consistent copy needs. Exactly `bytes` of it from the beginning are the barrier's
// own instant.
struct File {
  std::string database;  // path of the database it belongs to
  std::string schema;
  std::string path;
  Role role = Role::kDatabase;
  std::uint64_t bytes = 0;
  std::optional<std::uint64_t> frames;  // of a WAL
  FileId id;
};

}  // namespace lockscope::barrier
