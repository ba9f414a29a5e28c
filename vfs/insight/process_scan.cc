#include "insight/process_scan.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "kernel/process.h"

namespace lockscope::insight {
namespace {

constexpr std::chrono::milliseconds kAtMost{500};

std::vector<std::int64_t> HoldersFirst(const Look& look) {
  std::set<std::int64_t> holders;
  if (const auto own = kernel::OwnPidInProc()) holders.insert(*own);
  for (const Database& database : look.databases()) {
    for (const auto& [pid, holder] : database.everything_held) {
      if (pid) holders.insert(*pid);
    }
    for (const auto& view : database.others) {
      if (view.process->pid) holders.insert(*view.process->pid);
    }
  }
  std::vector<std::int64_t> pids(holders.begin(), holders.end());
  for (const std::int64_t pid : kernel::AllProcesses()) {
    if (!holders.contains(pid)) pids.push_back(pid);
  }
  return pids;
}

}  // namespace

ProcessScan::ProcessScan(const Look& look) {
  for (const Database& database : look.databases()) {
    names_.push_back(database.path.substr(database.path.rfind('/') + 1));
  }
  if (!names_.empty()) processes_ = kernel::FilesNamed(names_, HoldersFirst(look), kAtMost);
}

std::vector<kernel::ProcessFiles> ProcessScan::Again(const std::vector<std::int64_t>& pids) const {
  return kernel::FilesNamed(names_, pids, kAtMost);
}

}  // namespace lockscope::insight
