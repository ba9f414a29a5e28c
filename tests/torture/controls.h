// Controls: the same torture with what people do without lockscope, and with it, as one table.
#pragma once

#include "options.h"

namespace lockscope::torture {

// Prints a Markdown table. Each method runs in a process of its own. False where one could not run,
// or where lockscope's own copies were not all good.
bool RunControls(const Options& options);

}  // namespace lockscope::torture
