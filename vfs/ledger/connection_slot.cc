#include "ledger/connection_slot.h"

#include <sched.h>

#include <cstring>

namespace lockscope::ledger {

bool ConnectionSlot::Read(SlotCopy& copy) const {
  constexpr int kAttempts = 200;
  const auto* source = reinterpret_cast<const Word*>(&words);
  auto* target = reinterpret_cast<std::uint64_t*>(&copy);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint64_t before = sequence.load(std::memory_order_acquire);
    if ((before & 1) == 0) {
      for (std::size_t i = 0; i < kSlotWords; ++i) target[i] = source[i].Load();
      if (sequence.load(std::memory_order_relaxed) == before) return true;
    }
    if (attempt > 20) sched_yield();
  }
  return false;
}

}  // namespace lockscope::ledger
