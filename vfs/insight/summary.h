// A database's state in a sentence or two: what the pragmas answer, and the first line of `why`.
#pragma once

#include <string>

#include "insight/locks.h"

namespace lockscope::insight {

// "WAL, 4096-byte pages, 406,276 frames (1.7 GB), 517 checkpointed"
std::string DescribeDatabase(const Database& database);
// The same, then who pins the WAL: what PRAGMA lockscope_wal answers.
std::string DescribeWal(const Look& look, const Database& database);
// Who holds what: what PRAGMA lockscope_locks answers.
std::string DescribeLocks(const Look& look, const Database& database);

// "pid 4242 (python3 worker.py)", with ", connection 3" where it is known.
std::string DescribeHolder(const Look& look, const LockFacts& lock);

std::string WithCommas(std::uint64_t number);    // "406,276"
std::string HumanBytes(std::uint64_t bytes);     // "1.7 GB", decimal units
std::string HumanDuration(std::int64_t ms);      // "3 h 12 min", "12.4 s", "87 ms"

}  // namespace lockscope::insight
