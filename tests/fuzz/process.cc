// What a process may have written into its own command line, and into the name in its stat: what is
// shown of it is UTF-8 without control characters, and never too long.
#include "kernel/process.h"

#include <string>

#include "fuzz/check.h"
#include "fuzz/utf8.h"

namespace lockscope::fuzz {
namespace {

constexpr std::size_t kBytesRead = (kernel::kProcessNameChars + 1) * 4;

std::string WithoutTrailingBlanks(std::string text) {
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

void CheckCommandLine(std::string_view command) {
  const std::string shown = kernel::ShownCommandLine(command);
  const auto characters = DecodeUtf8(shown);
  FUZZ_CHECK(characters.has_value());
  FUZZ_CHECK(characters->size() <= kernel::kProcessNameChars);
  for (const char32_t code : *characters) {
    FUZZ_CHECK(code >= 0x20 && !(code >= 0x7f && code < 0xa0));
  }
  FUZZ_CHECK(kernel::ShownCommandLine(shown) == shown);
  // The beginning that is read is enough. (Empty arguments that fill all of it look like its end.)
  FUZZ_CHECK(WithoutTrailingBlanks(kernel::ShownCommandLine(command.substr(0, kBytesRead))) ==
             WithoutTrailingBlanks(shown));
}

void CheckStat(std::string_view stat) {
  const auto ticks = kernel::StartTicks(stat);
  FUZZ_CHECK(ticks == kernel::StartTicks(stat));
  // A name in front, whatever it looks like, is not taken for a field.
  FUZZ_CHECK(kernel::StartTicks("1 (a) R 1 2" + std::string(stat)) == ticks ||
             stat.find(')') == stat.npos);
  const std::string fields = ") R 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 ";
  FUZZ_CHECK(kernel::StartTicks(std::string(stat) + fields + "64311 0\n") == 64311U);
}

void TryProcess(Bytes bytes) {
  CheckCommandLine(AsText(bytes));
  CheckCommandLine(CharactersOf(bytes));
  CheckStat(AsText(bytes));
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryProcess)
