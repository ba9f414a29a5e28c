// Copier: the exact copy of the files of a barrier into a folder.
//
// All is copied and synced first; only then are the copies given their names. Where it fails before
// that, the folder is as it was: also where it is killed, if the file system has files without a
// name (O_TMPFILE); else those of temporary names stay.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest_file.h"
#include "model/status.h"
#include "unique_fd.h"

namespace lockscope::tools {

class Copier {
 public:
  // The folder is made where there is none. SQLITE_CANTOPEN where it cannot be had.
  static Result<Copier> Into(const std::string& folder);
  Copier(Copier&& other) noexcept = default;
  ~Copier();  // what has no final name is removed

  // SQLITE_MISUSE   the copy would take the place of the file itself
  // SQLITE_ABORT    the file is not the one listed, or shorter: the list is out of date
  // SQLITE_IOERR    it cannot be read or written
  Status Copy(const ListedFile& file);
  // Gives the copies their names, and removes what an earlier copy has left beside them: a -wal
  // that is not of this copy would be played back into it. The names removed.
  Result<std::vector<std::string>> Finish();

 private:
  struct Copied {
    std::string temporary;  // empty where it has none, or its final name
    UniqueFd file;          // open as long as it has no name
    std::string name;
    bool wal = false;
  };

  Copier(std::string name, UniqueFd folder) : name_(std::move(name)), folder_(std::move(folder)) {}
  bool Create(Copied& copied) const;
  bool Name(Copied& copied) const;
  Status Place(Copied& copied);
  Status Sync() const;
  Status Remove(const std::string& name, bool& was_there);
  Status Fail(const std::string& name) const;

  std::string name_;
  UniqueFd folder_;
  std::vector<Copied> copied_;
};

}  // namespace lockscope::tools
