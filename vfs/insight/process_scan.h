// ProcessScan: which processes have the files of a look's databases open, read once for all of
// them.
//
// Databases are found by their inode. A process is asked only about files whose names begin as a
// database's does: one that opened it by a hard link of another name is not found.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "insight/look.h"
#include "kernel/process_files.h"

namespace lockscope::insight {

class ProcessScan {
 public:
  // Reads for half a second at most: those seen to hold locks first, then all others.
  explicit ProcessScan(const Look& look);

  const std::vector<kernel::ProcessFiles>& processes() const { return processes_; }
  // The same of these processes, as they are now.
  std::vector<kernel::ProcessFiles> Again(const std::vector<std::int64_t>& pids) const;

 private:
  std::vector<std::string> names_;
  std::vector<kernel::ProcessFiles> processes_;
};

}  // namespace lockscope::insight
