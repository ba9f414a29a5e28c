// What the shim asks when a request is refused: one look at who is in the way, and what it finds.
//
// Bounded: a look is made once a wait, without patience; more only while the reason is unknown,
// each after twice as many refusals. Where refusals are many most of the waits are over at once and
// interest nobody: looks take a hundredth of the process's time at most, but for a burst of 5 ms;
// beyond that a wait that has lasted fifty times as long as a look takes is looked into all the
// same.
#pragma once

#include "ledger/refusal.h"

namespace lockscope::insight {

bool LookAtRefusal(const ledger::Refusal& refusal, ledger::RefusalCause& cause) noexcept;

}  // namespace lockscope::insight
