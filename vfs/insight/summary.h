// A database's state in a sentence or two: what the pragmas answer, and the first line of `why`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "insight/locks.h"
#include "insight/snapshots.h"

namespace lockscope::insight {

// "WAL, 4096-byte pages, 406,276 frames (1.7 GB), 517 checkpointed"
std::string DescribeDatabase(const Database& database);
// The same, then who pins the WAL: what PRAGMA lockscope_wal answers.
std::string DescribeWal(const Look& look, const Database& database);
// Who holds what: what PRAGMA lockscope_locks answers.
std::string DescribeLocks(const Look& look, const Database& database);

// "pid 4242 (python3 worker.py)", with ", connection 3" where it is known.
std::string DescribeHolder(const Look& look, const LockFacts& lock);
// " for 3 h 12 min"; where only the kernel saw it, the most it can be: " for at most 3 h 12 min
// (its process is no older)", since nothing can be older than its process. Empty where neither is
// known.
std::string DescribeAge(const Look& look, const LockFacts& lock);
// What a snapshot sees and pins, without its holder: "a read snapshot on read slot 1 at frame 517,
// 405,759 frames behind, for 3 h 12 min, explicit transaction".
std::string DescribeSnapshot(const Look& look, const Snapshot& snapshot);

// White space, line feeds among it, as single blanks: a statement as a line.
std::string OneLine(std::string_view text);
std::string WithCommas(std::uint64_t number);  // "406,276"
std::string HumanBytes(std::uint64_t bytes);   // "1.7 GB", decimal units
std::string HumanDuration(std::int64_t ms);    // "3 h 12 min", "12.4 s", "87 ms"
std::string HumanMicros(std::int64_t us);      // the same for short ones: "1.3 ms", "106 us"

}  // namespace lockscope::insight
