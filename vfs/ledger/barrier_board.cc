#include "ledger/barrier_board.h"

#include <algorithm>
#include <array>
#include <mutex>

#include "ledger/ledger.h"
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

namespace {

// Not under this board's mutex, which comes after the ledger's.
void TellOthers(const BarrierNotice& notice) {
  for (const BarrierNotice::Member& member : notice.members) {
    Ledger::Process().NoteBarrier(member.connection, notice);
  }
}

}  // namespace

void BarrierBoard::Post(BarrierNotice notice) {
  TellOthers(notice);
  const std::lock_guard lock(Mutex());
  notices_.push_back(std::move(notice));
}

void BarrierBoard::SetState(const std::string& token, BarrierState state) {
  std::vector<BarrierNotice> changed;
  {
    const std::lock_guard lock(Mutex());
    for (BarrierNotice& notice : notices_) {
      if (notice.token != token) continue;
      notice.state = state;
      changed.push_back(notice);
    }
  }
  for (const BarrierNotice& notice : changed) TellOthers(notice);
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
