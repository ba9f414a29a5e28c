// What the shim asks when a request is refused: one look at who is in the way, and what it finds.
//
// Bounded: a look is made once a wait, without patience, and all looks together take a tenth of the
// process's time at most, but for a burst of 50 ms. Beyond that the reason stays unknown.
#pragma once

#include "ledger/refusal.h"

namespace lockscope::insight {

bool LookAtRefusal(const ledger::Refusal& refusal, ledger::RefusalCause& cause) noexcept;

}  // namespace lockscope::insight
