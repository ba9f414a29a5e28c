// Spans of time as they are written on a command line.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace lockscope::tools {

// "300ms", "5s", "2m", "1h"; a bare number is seconds; fractions with a point: "0.5s". Rounded to
// the nearest millisecond, but what is above 0 stays above 0. Null for anything else, among it a
// sign, an exponent, a blank, and what is longer than thirty years or so.
std::optional<std::chrono::milliseconds> ParseTimeSpan(std::string_view text);

}  // namespace lockscope::tools
