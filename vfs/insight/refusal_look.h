// What the shim asks when a request is refused: one look at who is in the way, and what it finds.
//
// Bounded: a look is made once a wait, in one moment; again only while the reason is unknown, when
// the wait has lasted twice as long as at the last one, or all that was told of it was another
// connection's commit between the refusals. Where refusals are many most of the waits are over at
// once and interest nobody: looks take a five hundredth of the process's time at most, those that
// have to list all locks a hundredth, but for a burst of four, and of 5 ms. Beyond that a wait that
// has lasted fifty times as long as such looks took lately, since the last one where a commit came
// between, is looked into all the same, when it is refused next.
#pragma once

#include "ledger/refusal.h"

namespace lockscope::insight {

ledger::Looked LookAtRefusal(const ledger::Refusal& refusal, ledger::RefusalCause& cause) noexcept;

}  // namespace lockscope::insight
