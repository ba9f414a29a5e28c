// ScratchFolder: files for a command to read, which go away with this process, however it ends.
//
// Ordinary files: tools that look closely at a path, as rsync does since 3.5, follow none into
// /proc/PID/fd. A process of its own waits until this one is gone, killed or not, and removes them.
#pragma once

#include <string>
#include <string_view>

#include "unique_fd.h"

namespace lockscope::tools {

class ScratchFolder {
 public:
  // A folder below $TMPDIR, else /tmp, for this user alone. Throws std::system_error. Forks:
  // REQUIRES that SQLite has not been used yet.
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  static constexpr const char* kManifest = "manifest.json";
  static constexpr const char* kFiles = "files";

  // Writes one of the two; its path. Throws std::system_error.
  std::string Write(const char* name, std::string_view text) const;

 private:
  void Remove() const;
  [[noreturn]] void Watch(int watched) const;

  std::string path_;
  UniqueFd alive_;  // closed with this process
};

}  // namespace lockscope::tools
