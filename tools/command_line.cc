#include "command_line.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

namespace lockscope::tools {
namespace {

bool StartsAnother(const std::vector<std::string>& words) {
  static constexpr std::array<std::string_view, 2> kCommands = {"shell", "exec"};
  return !words.empty() &&
         std::find(kCommands.begin(), kCommands.end(), words.front()) != kCommands.end();
}

bool InBrackets(const std::string& word) { return word.starts_with('[') && word.ends_with(']'); }

}  // namespace

CommandLine Split(int argc, const char* const* argv) {
  CommandLine line;
  if (argc > 1) line.own.assign(argv + 1, argv + argc);
  if (StartsAnother(line.own)) {
    const auto dashes = std::find(line.own.begin(), line.own.end(), "--");
    if (dashes != line.own.end()) {
      line.dashes = true;
      line.for_others.assign(std::next(dashes), line.own.end());
      line.own.erase(dashes, line.own.end());
    }
  }
  for (std::string& word : line.own) {
    if (InBrackets(word)) word.insert(0, "./");
  }
  return line;
}

}  // namespace lockscope::tools
