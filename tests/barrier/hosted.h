// Hosted: what the barrier tests are written with. A host is a connection with lockscope, of this
// process (Db) or of another (HostProcess); everybody else is an Actor, a process of plain SQLite.
//
//   EachRound([](const TempDir& dir) {
//     CreateDatabase(dir / "a.db");
//     Db host(dir / "a.db");
//     const std::string token = host.Value(BarrierSql());
//     …
//     EXPECT_EQ(Verdict(CopyListed(host, token, dir / "copy", Copy::kExact)), "ok 0 200");
//     EXPECT_EQ(Released(host, token), "1");
//   });
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/session.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {

// LOCKSCOPE_ROUNDS of the environment; without it 5.
int Rounds();

// Runs a case that many times, each in a new folder; stops at the first round that fails.
template <typename Case>
void EachRound(const Case& one) {
  for (int round = 1; round <= Rounds(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const TempDir dir;
    one(dir);
    if (::testing::Test::HasFailure() || ::testing::Test::IsSkipped()) return;
  }
}

// ---- Barriers ----------------------------------------------------------------------------------

// "select lockscope_barrier('snapshot', 5000, '', 0)", for what is given.
struct Barrier {
  std::string kind = "snapshot";
  int timeout_ms = 5000;
  std::string schemas = {};
  int max_hold_ms = 0;
};
std::string BarrierSql(const Barrier& barrier = {});

// "1", or SQLite's code and message: "4 barrier violated: expired".
std::string Checked(Db& host, const std::string& token);
std::string Released(Db& host, const std::string& token);
std::string Answered(const Reply& reply);

// A host on a new database that holds no lock on it, though it has loaded the schema, which recent
// SQLites do before any SELECT, also one without FROM. It read while the database was not in WAL
// mode yet, where a connection keeps SHARED from its first read on.
class UnreadDb : public Db {
 public:
  UnreadDb(const std::string& file, const std::string& journal_mode);
};

// A process that has lockscope loaded: connections that it opens go through the shim.
class HostProcess : public Actor {
 public:
  explicit HostProcess(const Options& options = {});
};

// All locks of a process on the database and its -shm, as the kernel has them.
std::vector<std::string> KernelLocks(const std::string& path, pid_t pid);
inline std::vector<std::string> OwnKernelLocks(const std::string& path) {
  return KernelLocks(path, getpid());
}

// ---- Copies ------------------------------------------------------------------------------------

struct ListedFile {
  std::string schema;
  std::string path;
  std::string role;
  std::int64_t bytes = 0;
  std::int64_t frames = 0;  // 0 for none
};
std::vector<ListedFile> ListedFiles(Db& host, const std::string& token);
// "database wal" and the like.
std::string Roles(const std::vector<ListedFile>& files);

enum class Copy {
  kExact,  // the listed bytes
  kWhole,  // the whole of each listed file, as cp does it
};
// Bytes `start` … `end` of a file, by a child process, to the same place of another.
void CopyRange(const std::string& from, const std::string& to, std::int64_t start,
               std::int64_t end);
// The files of a barrier into a new folder. Returns the copy of the first database.
std::string CopyListed(Db& host, const std::string& token, const std::string& folder, Copy how);
std::string CopyFiles(const std::vector<ListedFile>& files, const std::string& folder, Copy how);

// A database of CreateDatabase opened as anybody would, in a process of its own: what the integrity
// check says, the sum of all v (0 where no transaction is torn), the count of rows.
std::string Verdict(const std::string& path);

// ---- Others at work ----------------------------------------------------------------------------

// As many transactions, each moving some v between rows and adding one row.
std::string TransactionsSql(int count = 1);

// ---- Time --------------------------------------------------------------------------------------

class StopWatch {
 public:
  std::chrono::milliseconds Elapsed() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begun_);
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begun_ = Clock::now();
};

}  // namespace lockscope::testing
