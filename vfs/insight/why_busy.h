// The answer of lockscope_why(): the reason of a connection's last SQLITE_BUSY, or what stands in
// its way now. One paragraph; its first word is the reason.
#pragma once

#include <string>

#include "insight/look.h"
#include "insight/table.h"

namespace lockscope::insight {

// Of the connections that `asker` has to the databases of the look.
std::string WhyBusy(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
