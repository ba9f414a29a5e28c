// What the diagnosis says of waits: who is kept waiting now, by whom and why; and the requests that
// were given up lately.
#pragma once

#include <vector>

#include "insight/diagnosis.h"

namespace lockscope::insight {

// A wait of a second or more is a warning, called by its reason; a shorter one a fact, as are those
// that are over.
std::vector<Finding> WaitFindings(const Look& look, const Database& database);

}  // namespace lockscope::insight
