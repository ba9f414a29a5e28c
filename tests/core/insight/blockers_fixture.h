// Connections of this process and of others on one database, and what lockscope_blockers says.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/session.h"
#include "core/waiting_client.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/subprocess.h"
#include "support/temp_dir.h"

namespace lockscope::testing {

using Lines = std::vector<std::string>;

class Client : public WaitingClient {
 public:
  explicit Client(const std::string& path) : WaitingClient(path) {
    number_ = Db(":memory:")
                  .Value("select max(connection) from lockscope_connections(" + Quote(path) + ")");
  }
  // As it is in the tables.
  const std::string& number() const { return number_; }
  // As Exec, without waiting for a lock: for what is to be refused.
  int Refused(const std::string& sql) {
    sqlite3_busy_timeout(db().handle(), 0);
    return db().Try(sql).code;
  }

 private:
  std::string number_;
};

// A process that takes a lock on these bytes of `file`, waiting for it in the kernel, and keeps it.
class LockingProcess {
 public:
  LockingProcess(const std::string& file, std::uint64_t first, std::uint64_t last,
                 const std::string& kind = "LOCK_EX") {
    const std::string program =
        "import fcntl, signal, sys\n"
        "with open(sys.argv[1], 'r+b') as f:\n"
        "  fcntl.lockf(f, fcntl." +
        kind +
        ", int(sys.argv[3]), int(sys.argv[2]))\n"
        "  signal.pause()\n";
    pid_ = Spawn(
        {"python3", "-c", program, file, std::to_string(first), std::to_string(last - first + 1)},
        {});
  }
  ~LockingProcess() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  LockingProcess(const LockingProcess&) = delete;
  LockingProcess& operator=(const LockingProcess&) = delete;

  std::string pid() const { return std::to_string(pid_); }

 private:
  pid_t pid_;
};

class BlockersTest : public ::testing::Test {
 protected:
  void Make(const std::string& journal_mode) {
    CreateDatabase(path_, {.journal_mode = journal_mode});
  }
  Lines Blockers(const std::string& columns, const std::string& where = "1") {
    return look_.Lines("select " + columns + " from lockscope_blockers(" + Quote(path_) +
                       ") where " + where);
  }
  // "WHO wants WHAT, WHO holds WHAT": connections by their number, others by their pid.
  Lines Pairs() {
    return Blockers(
        "coalesce(blocked_connection, blocked_pid, 'next') || ' wants ' || wants || ', ' ||"
        "coalesce(blocker_connection, blocker_pid) || ' holds ' || holds");
  }
  static std::string Pair(const std::string& blocked, const std::string& wants,
                          const std::string& blocker, const std::string& holds) {
    return blocked + " wants " + wants + ", " + blocker + " holds " + holds;
  }
  static std::string Pid(const Actor& actor) { return std::to_string(actor.pid()); }
  bool SomebodyWaits() { return !Blockers("1", "age_ms is not null").empty(); }
  // The advice of the one row of which this is true.
  std::string Advice(const std::string& where) {
    const Lines lines = Blockers("advice", where);
    EXPECT_EQ(lines.size(), 1U) << where << ::testing::PrintToString(Pairs());
    return lines.empty() ? "" : lines.front();
  }
  void ExpectAdvice(const std::string& where, const std::string& words) {
    EXPECT_NE(Advice(where).find(words), std::string::npos) << Advice(where);
  }

  TempDir dir_;
  std::string path_ = dir_ / "a.db";
  Db look_{":memory:"};
};

}  // namespace lockscope::testing
