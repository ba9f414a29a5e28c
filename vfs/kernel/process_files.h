// Which processes have certain files open, and which copies of SQLite they have mapped: from /proc
// alone. Nothing is opened but files in /proc; a process that we may not look into has nothing
// here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/file_id.h"

namespace lockscope::kernel {

// One descriptor of a regular file.
struct OpenedFile {
  int fd = -1;
  // As the process's own mount namespace names it, or named it where it has no name any more.
  std::string path;
  FileId id;
  bool deleted = false;  // no name leads to it
  bool writable = false;
  bool locked = false;  // the process holds a POSIX lock on it

  friend bool operator==(const OpenedFile&, const OpenedFile&) = default;
};

struct ProcessFiles {
  std::int64_t pid = 0;
  bool same_mounts = false;  // its paths mean what ours do
  std::vector<OpenedFile> files;
};

// Every process of our pid namespace, in no order; empty where /proc cannot be read.
std::vector<std::int64_t> AllProcesses();

// Of these processes, what each has open under a name that begins with one of `names` (no
// directories): "app.db" finds app.db, app.db-wal, app.db-shm. Processes without any are left out,
// and so are, once `at_most` has passed, those that come last. What a link says costs next to
// nothing and never waits for a file system; only files of these names are asked for more.
std::vector<ProcessFiles> FilesNamed(std::span<const std::string> names,
                                     const std::vector<std::int64_t>& pids,
                                     std::chrono::milliseconds at_most);

// The libraries called libsqlite3… or libsqlcipher… that the process has mapped, each file once. A
// copy of SQLite that is linked into a program, or into a library of another name, is not seen.
std::vector<std::string> MappedSqlites(std::int64_t pid);

// The same of a text in the form of /proc/PID/maps. Two mappings are one file where device and
// inode are the same.
std::vector<std::string> SqlitesIn(std::string_view maps);

}  // namespace lockscope::kernel
