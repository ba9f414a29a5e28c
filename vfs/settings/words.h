// Words of settings: compared as SQL compares names, in either case.
#pragma once

#include <algorithm>
#include <string_view>

namespace lockscope::settings {

// As a value: no word at all.
inline constexpr std::string_view kNoWord = "default";

inline bool SameWord(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; };
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [&](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace lockscope::settings
