// Text of anybody on its way to a terminal.
//
//   1  what is Visible is UTF-8 without control characters, and stays as it is
//   2  JSON stays the value that it was
//   3  what is cut or broken into lines fits, and loses nothing but blanks
#include "text.h"

#include <algorithm>
#include <clocale>
#include <nlohmann/json.hpp>

#include "fuzz/check.h"
#include "fuzz/utf8.h"

namespace lockscope::fuzz {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostBytesToWrap = 32;  // wrapping takes the square of them

bool IsSafe(const std::string& text) {
  const auto characters = DecodeUtf8(text);
  if (!characters) return false;
  for (const char32_t code : *characters) {
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
    if (code >= 0x202a && code <= 0x202e) return false;  // turns the direction of writing
    if (code >= 0x2066 && code <= 0x2069) return false;
  }
  return true;
}

void CheckJson(std::string_view text) {
  const std::string json = Json::array({text}).dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string shown = tools::VisibleJson(json);
  FUZZ_CHECK(IsSafe(shown));
  FUZZ_CHECK(Json::parse(shown) == Json::parse(json));
}

void CheckCuts(const std::string& visible, std::size_t width) {
  const std::string cut = tools::Cut(visible, width);
  const std::string end = tools::CutFront(visible, width);
  FUZZ_CHECK(IsSafe(cut) && IsSafe(end));
  FUZZ_CHECK(tools::Width(cut) <= width);
  FUZZ_CHECK(tools::Width(end) <= width);
  if (tools::Width(visible) <= width) FUZZ_CHECK(cut == visible && end == visible);
}

void CheckWrapped(const std::string& visible, std::size_t width) {
  std::string joined;
  for (const std::string& line : tools::Wrap(visible, width)) {
    FUZZ_CHECK(IsSafe(line));
    // Of a line without room there is still a column, and of one of a column a wide character.
    const std::size_t room = std::max<std::size_t>(width, 1);
    FUZZ_CHECK(tools::Width(line) <= room || DecodeUtf8(line)->size() == 1);
    joined += line;
  }
  std::string expected = visible;
  std::erase(joined, ' ');
  std::erase(expected, ' ');
  FUZZ_CHECK(joined == expected);
}

void CheckText(std::string_view text, std::size_t width) {
  const std::string visible = tools::Visible(text);
  FUZZ_CHECK(IsSafe(visible));
  FUZZ_CHECK(tools::Visible(visible) == visible);
  CheckJson(text);
  CheckCuts(visible, width);
  CheckWrapped(tools::Visible(text.substr(0, kMostBytesToWrap)), width);
}

void TryVisibleText(Bytes bytes) {
  static const bool has_locale = std::setlocale(LC_CTYPE, "C.UTF-8") != nullptr;
  FUZZ_CHECK(has_locale);
  const std::size_t width = bytes.empty() ? 0 : bytes.back() % 100U;
  CheckText(AsText(bytes), width);
  CheckText(CharactersOf(bytes), width);
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryVisibleText)
