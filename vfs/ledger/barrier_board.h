// BarrierBoard: what this process tells of its barriers. The barriers themselves are in barrier/;
// here is what a look at them needs.
//
// Threads: any. Fork: a child has none, since POSIX locks are not inherited.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ledger/clock.h"
#include "model/file_id.h"

namespace lockscope::ledger {

enum class BarrierState : std::uint8_t {
  kHeld,
  kExpired,  // let go when its time was over
  kLost,     // a lock was lost, or it gave itself up so that a recovery can run
};
const char* Name(BarrierState state);  // "held", "expired", "lost"

struct BarrierNotice {
  struct Member {
    std::string path;
    FileId database;
    std::uint64_t connection = 0;  // the number of the private connection
  };

  std::string token;
  std::string label;  // empty: none
  std::string kind;
  std::vector<Member> members;
  Ticks since = 0;
  std::uint64_t expires_monotonic_ns = 0;  // 0: never
  BarrierState state = BarrierState::kHeld;
};

class BarrierBoard {
 public:
  static BarrierBoard& Process();

  void Post(BarrierNotice notice);
  void SetState(const std::string& token, BarrierState state);
  void Remove(const std::string& token);
  // Oldest first.
  std::vector<BarrierNotice> All();

 private:
  BarrierBoard();
  static void ForgetInChild();

  std::vector<BarrierNotice> notices_;  // guarded by the mutex of kBarriers
};

}  // namespace lockscope::ledger
