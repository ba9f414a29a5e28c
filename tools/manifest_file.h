// A manifest as it comes from a file: written by lockscope, or by anybody.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/file_id.h"
#include "model/status.h"

namespace lockscope::tools {

struct ListedFile {
  std::string path;  // absolute
  std::string name;  // its last part; never empty, "." or ".."
  bool wal = false;  // else a database
  std::uint64_t bytes = 0;
  FileId id;
};

// "-" is stdin. SQLITE_CANTOPEN where it cannot be read or is larger than any manifest.
Result<std::string> ReadManifest(const std::string& path);

// The files listed, one at least.
//   SQLITE_CORRUPT  it is no manifest; says what is wrong
//   SQLITE_MISUSE   it is, but its files cannot lie in one folder: two of one name, a database with
//                   the name of another's -wal, -shm or -journal, or a line feed in a name
Result<std::vector<ListedFile>> ParseManifest(std::string_view text);

}  // namespace lockscope::tools
