// Lines, fields and numbers of a text in /proc: nothing is lost, nothing is there twice, and a
// number is what a base-N reader of the C library takes it for.
#include "kernel/proc_text.h"

#include <cerrno>
#include <cstdlib>

#include "fuzz/check.h"

namespace lockscope::fuzz {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

bool IsWithin(std::string_view part, std::string_view whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void CheckLines(std::string_view text) {
  std::string joined;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t before = rest.size();
    const std::string_view line = kernel::TakeLine(rest);
    FUZZ_CHECK(IsWithin(line, text));
    FUZZ_CHECK(line.find('\n') == std::string_view::npos);
    FUZZ_CHECK(rest.size() < before);
    joined += line;
    joined += '\n';
  }
  if (!text.empty() && !text.ends_with('\n')) joined.pop_back();
  FUZZ_CHECK(joined == text);
}

bool HasDigitOfItsOwn(std::string_view field) {
  // What strtoull() takes and a number in /proc never has.
  return !field.empty() && field.front() != '+' && field.find_first_of("xX") == field.npos &&
         field.find_first_of(std::string_view("\v\f\0", 3)) == field.npos;
}

void CheckNumber(std::string_view field, int base) {
  const auto number = kernel::ParseNumber<std::uint64_t>(field, base);
  const std::string text(field);
  char* end = nullptr;
  errno = 0;
  const auto expected = std::strtoull(text.c_str(), &end, base);
  const bool is_number =
      HasDigitOfItsOwn(field) && field.front() != '-' && errno == 0 && *end == '\0';
  FUZZ_CHECK(number.has_value() == is_number);
  FUZZ_CHECK(!number || *number == expected);
}

void CheckSigned(std::string_view field) {
  const auto wide = kernel::ParseNumber<std::int64_t>(field);
  const auto narrow = kernel::ParseNumber<int>(field);
  FUZZ_CHECK(!narrow || wide == *narrow);
  FUZZ_CHECK(!wide || narrow.has_value() == (*wide == static_cast<int>(*wide)));
  FUZZ_CHECK(!wide || kernel::ParseNumber<std::int64_t>(std::to_string(*wide)) == wide);
  if (wide && *wide >= 0 && !field.starts_with('-')) {
    FUZZ_CHECK(kernel::ParseNumber<std::uint64_t>(field) == static_cast<std::uint64_t>(*wide));
  }
}

void CheckFields(std::string_view text) {
  std::string joined;
  std::string_view rest = text;
  for (;;) {
    const std::size_t before = rest.size();
    const std::string_view field = kernel::TakeField(rest);
    FUZZ_CHECK(field.find_first_of(kBlanks) == std::string_view::npos);
    if (field.empty()) break;
    FUZZ_CHECK(IsWithin(field, text));
    FUZZ_CHECK(rest.size() < before);
    CheckNumber(field, 10);
    CheckNumber(field, 16);
    CheckSigned(field);
    joined += field;
  }
  FUZZ_CHECK(rest.empty());
  std::string without_blanks(text);
  std::erase_if(without_blanks, [](char c) { return kBlanks.find(c) != kBlanks.npos; });
  FUZZ_CHECK(joined == without_blanks);
}

void TryProcText(Bytes bytes) {
  CheckLines(AsText(bytes));
  CheckFields(AsText(bytes));
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryProcText)
