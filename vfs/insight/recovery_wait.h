// Waiting until nothing is being recovered, and no hot journal waits for it.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "model/status.h"

namespace lockscope::insight {

// Of all these databases. Sleeps: it is woken where a journal's name or content changes in its
// folder, asks the kernel for one byte at a time about a WAL, and makes a whole look twice a second
// at most.
//
//   SQLITE_BUSY       not in time: says what is still going on
//   SQLITE_INTERRUPT  `interrupted`, asked every 50 ms or so, was true
Status WaitForRecovery(const std::vector<std::string>& paths, std::chrono::milliseconds timeout,
                       const std::function<bool()>& interrupted);

}  // namespace lockscope::insight
