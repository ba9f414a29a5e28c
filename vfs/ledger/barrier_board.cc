#include "ledger/barrier_board.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "model/fork_safe_mutex.h"

namespace lockscope::ledger {
namespace {

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kBarriers);
  return mutex;
}

// As for the ledger: made early, so that no fork meets its making.
[[maybe_unused]] const BarrierBoard& g_made_early = BarrierBoard::Process();

}  // namespace

const char* Name(BarrierState state) {
  static constexpr std::array<const char*, 3> kNames = {"held", "expired", "lost"};
  return kNames.at(static_cast<std::size_t>(state));
}

BarrierBoard::BarrierBoard() { ForkSafeMutex::OnFork(LockRank::kBarriers, ForgetInChild); }

BarrierBoard& BarrierBoard::Process() {
  static BarrierBoard* const board = new BarrierBoard();
  return *board;
}

void BarrierBoard::ForgetInChild() { Process().notices_.clear(); }

void BarrierBoard::Post(BarrierNotice notice) {
  const std::lock_guard lock(Mutex());
  notices_.push_back(std::move(notice));
}

void BarrierBoard::SetState(const std::string& token, BarrierState state) {
  const std::lock_guard lock(Mutex());
  for (BarrierNotice& notice : notices_) {
    if (notice.token == token) notice.state = state;
  }
}

void BarrierBoard::Remove(const std::string& token) {
  const std::lock_guard lock(Mutex());
  std::erase_if(notices_, [&token](const BarrierNotice& notice) { return notice.token == token; });
}

std::vector<BarrierNotice> BarrierBoard::All() {
  const std::lock_guard lock(Mutex());
  return notices_;
}

}  // namespace lockscope::ledger
