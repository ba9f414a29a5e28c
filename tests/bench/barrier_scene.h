// Scene: two databases of the torture's bank in WAL mode, writers on them in processes of their own
// with plain SQLite, and a connection with lockscope's functions beside them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "support/temp_dir.h"
#include "torture/process.h"
#include "torture/roles.h"

namespace lockscope::bench {

inline constexpr double kNsPerMs = 1e6;

struct Load {
  const char* name;
  bool steady;  // the writers never pause, and are all alike
  bool others;  // the checkpointer and the readers
};

struct BarrierCase {
  const char* kind;
  const char* schemas;
  int databases;
};

// One in the life of a process: the roles are forked first.
class Scene {
 public:
  Scene(const Load& load, int seed);
  ~Scene();
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  std::string Acquire(const BarrierCase& of);
  void Release(const std::string& token);

  // Until the write locks of the first one or two databases look free, one right after the other:
  // watched without a pause and without any lock. Throws where the kernel cannot be asked, and
  // after 10 s.
  void WaitUntilWritersLookFree(int databases) const;

  // By the writers, so far.
  std::int64_t Commits();

  // How long each write lock was held that connections of this process, new since the last call,
  // have taken and let go, as the shim recorded it.
  std::vector<double> WriteLocksHeldMs();

  const torture::BankFiles& files() const { return setting_.files; }

 private:
  torture::SharedState& state() { return memory_.state(); }

  testing::TempDir folder_;
  const torture::Setting setting_;
  torture::SharedMemory memory_;
  std::vector<torture::Child> roles_;
  std::vector<int> shms_;  // open for the life of the process: a close would end SQLite's locks
  std::unique_ptr<torture::Sql> db_;
  std::unique_ptr<torture::Sql> looker_;
  std::int64_t newest_connection_ = 0;
};

}  // namespace lockscope::bench
