#include "ledger/connection_slot.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

namespace lockscope::ledger {

bool ConnectionSlot::Read(SlotCopy& copy, SqlCopy* texts) const {
  constexpr int kAttempts = 200;
  const auto* source = reinterpret_cast<const Word*>(&words);
  auto* target = reinterpret_cast<std::uint64_t*>(&copy);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint64_t before = sequence.load(std::memory_order_acquire);
    if ((before & 1) == 0) {
      for (std::size_t i = 0; i < kSlotWords; ++i) target[i] = source[i].Load();
      for (std::size_t i = 0; texts != nullptr && i < kSqlSlots; ++i) {
        for (std::size_t word = 0; word < kSqlWords; ++word) {
          texts->at(i).at(word) = sql.at(i).at(word).Load();
        }
      }
      if (sequence.load(std::memory_order_relaxed) == before) return true;
    }
    if (attempt > 20) sched_yield();
  }
  return false;
}

std::array<std::string, kSqlSlots> TextsOf(const SlotCopy& copy, const SqlCopy& texts) {
  std::array<std::string, kSqlSlots> all;
  for (std::size_t i = 0; i < kSqlSlots; ++i) {
    const auto bytes =
        static_cast<std::size_t>(std::min<std::uint64_t>(copy.sql_bytes.at(i), kSqlBytes));
    all.at(i).assign(reinterpret_cast<const char*>(texts.at(i).data()), bytes);
  }
  return all;
}

}  // namespace lockscope::ledger
