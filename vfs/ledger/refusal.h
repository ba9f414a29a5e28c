// Refusal: what is asked about, in the moment in which a wait begins.
//
// Whoever can find out who is in the way lies above the ledger, and is asked through a pointer.
#pragma once

#include <cstdint>

#include "ledger/wait_notes.h"
#include "model/event.h"

namespace lockscope::ledger {

// A refusal that begins a wait, or SQLITE_BUSY_SNAPSHOT.
struct Refusal {
  std::uint64_t connection = 0;
  const char* path = nullptr;
  Event event{};
  Upgrade upgrade = Upgrade::kNone;
  Ticks asked = 0;   // before the refused call: what is taken later was not in its way
  Ticks waited = 0;  // since the first call of its wait; 0: it is the first, or of the same tick
};

enum class Looked : std::uint8_t {
  kNot,     // there were too many looks lately
  kInVain,  // it tells less than what is known of the wait
  kNobody,  // whoever was in the way is gone, which is all that is known of the wait
  kFound,
};

// Finds out who is in the way, bounded in time. Called by the thread that was refused, inside a
// call of SQLite; no mutex is held.
using RefusalExplainer = Looked (*)(const Refusal& refusal, RefusalCause& cause) noexcept;
void SetRefusalExplainer(RefusalExplainer explainer) noexcept;
RefusalExplainer CurrentRefusalExplainer() noexcept;

}  // namespace lockscope::ledger
