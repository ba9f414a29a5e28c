// Refusal: what is asked about, in the moment in which a wait begins.
//
// Whoever can find out who is in the way lies above the ledger, and is asked through a pointer.
#pragma once

#include <cstdint>

#include "ledger/wait_notes.h"
#include "model/event.h"

namespace lockscope::ledger {

// A refusal that begins a wait, or one of a wait whose cause is not known yet.
struct Refusal {
  std::uint64_t connection = 0;
  const char* path = nullptr;
  Event event{};
  Upgrade upgrade = Upgrade::kNone;
  Ticks asked = 0;  // before the refused call: what is taken later was not in its way
  // How long its wait has lasted, or has since the last look, which may excuse a look of some
  // length; 0: that excuses none.
  Ticks waited = 0;
  bool is_told = false;  // something is told of its wait already
};

enum class Looked : std::uint8_t {
  kNot,     // there were too many looks lately
  kInVain,  // it tells no more than what is told of the wait already
  kNobody,  // whoever was in the way is gone
  kFound,
};

// Finds out who is in the way, bounded in time. Called by the thread that was refused, inside a
// call of SQLite; no mutex is held.
using RefusalExplainer = Looked (*)(const Refusal& refusal, RefusalCause& cause) noexcept;
void SetRefusalExplainer(RefusalExplainer explainer) noexcept;
RefusalExplainer CurrentRefusalExplainer() noexcept;

}  // namespace lockscope::ledger
