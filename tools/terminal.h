// What stdout is: a terminal of some width, or a file or pipe that gets everything in full.
#pragma once

#include <cstddef>
#include <optional>

namespace lockscope::tools {

// Columns to fit into; null where stdout is no terminal: nothing is cut or wrapped then.
std::optional<std::size_t> TerminalWidth();

// Whether to use colours: on a terminal that has them, unless NO_COLOR is set.
bool UseColours();

}  // namespace lockscope::tools
