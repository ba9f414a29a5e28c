#include "text.h"

#include <wchar.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace lockscope::tools {
namespace {

constexpr std::string_view kEllipsis = "\u2026";

struct Character {
  char32_t code = 0;
  std::string_view bytes;
  bool valid = false;  // else: one byte that is no UTF-8
};

std::uint8_t ByteAt(std::string_view text, std::size_t index) {
  return static_cast<std::uint8_t>(text[index]);
}

// The first character. REQUIRES: `text` is not empty.
Character First(std::string_view text) {
  const std::uint8_t lead = ByteAt(text, 0);
  const Character broken{.code = lead, .bytes = text.substr(0, 1)};
  if (lead < 0x80) return {.code = lead, .bytes = text.substr(0, 1), .valid = true};
  if (lead < 0xc2 || lead > 0xf4) return broken;
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < length) return broken;
  char32_t code = lead & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((ByteAt(text, i) & 0xc0U) != 0x80) return broken;
    code = code << 6 | (ByteAt(text, i) & 0x3fU);
  }
  // Over-long forms, surrogates, and what Unicode does not have.
  static constexpr std::array<char32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest.at(length) || (code >= 0xd800 && code < 0xe000) || code > 0x10ffff) {
    return broken;
  }
  return {.code = code, .bytes = text.substr(0, length), .valid = true};
}

// C0, DEL and C1 speak to the terminal. The others change how their neighbours look, or look like
// nothing: marks and overrides of direction, zero-width characters, separators, tags.
bool MustBeWritten(char32_t code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true;
  if (code == 0xad || code == 0x61c || code == 0x180e || code == 0xfeff) return true;
  if (code >= 0x200b && code <= 0x200f) return true;
  if (code >= 0x2028 && code <= 0x202e) return true;
  if (code >= 0x2060 && code <= 0x206f) return true;
  return code >= 0xfff9 && code <= 0xfffb ? true : code >= 0xe0000 && code <= 0xe0fff;
}

template <class Number>
std::string Escape(const char* format, Number number) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), format, number);
  return text.data();
}

std::string WrittenOut(const Character& character) {
  if (!character.valid) return Escape("\\x%02x", static_cast<unsigned>(character.code));
  switch (character.code) {
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      break;
  }
  const auto code = static_cast<unsigned>(character.code);
  if (code < 0x80) return Escape("\\x%02x", code);
  return code <= 0xffff ? Escape("\\u%04x", code) : Escape("\\U%08x", code);
}

std::string JsonEscape(char32_t code) {
  if (code <= 0xffff) return Escape("\\u%04x", static_cast<unsigned>(code));
  const auto above = static_cast<unsigned>(code) - 0x10000U;
  return Escape("\\u%04x", 0xd800U + (above >> 10)) + Escape("\\u%04x", 0xdc00U + (above & 0x3ffU));
}

std::size_t WidthOf(char32_t code) {
  const int width = wcwidth(static_cast<wchar_t>(code));
  return width < 0 ? 1 : static_cast<std::size_t>(width);
}

// The longest beginning of `text` that takes at most `width` columns.
std::string_view Prefix(std::string_view text, std::size_t width) {
  std::size_t used = 0;
  std::size_t bytes = 0;
  while (bytes < text.size()) {
    const Character next = First(text.substr(bytes));
    used += WidthOf(next.code);
    if (used > width) break;
    bytes += next.bytes.size();
  }
  return text.substr(0, bytes);
}

}  // namespace

std::string Visible(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const Character next = First(text);
    if (!next.valid || MustBeWritten(next.code)) {
      shown += WrittenOut(next);
    } else {
      shown += next.bytes;
    }
    text.remove_prefix(next.bytes.size());
  }
  return shown;
}

std::string VisibleJson(std::string_view json) {
  std::string shown;
  while (!json.empty()) {
    const Character next = First(json);
    // Below 0x20 it is the white space between JSON's tokens.
    if (next.code >= 0x20 && MustBeWritten(next.code)) {
      shown += JsonEscape(next.code);
    } else {
      shown += next.bytes;
    }
    json.remove_prefix(next.bytes.size());
  }
  return shown;
}

std::size_t Width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character next = First(text);
    width += WidthOf(next.code);
    text.remove_prefix(next.bytes.size());
  }
  return width;
}

std::string Cut(std::string_view text, std::size_t width) {
  if (Width(text) <= width) return std::string(text);
  if (width == 0) return {};
  return std::string(Prefix(text, width - 1)) + std::string(kEllipsis);
}

std::string CutFront(std::string_view text, std::size_t width) {
  std::size_t left = Width(text);
  if (left <= width) return std::string(text);
  if (width == 0) return {};
  while (left > width - 1) {
    const Character next = First(text);
    left -= WidthOf(next.code);
    text.remove_prefix(next.bytes.size());
  }
  return std::string(kEllipsis) + std::string(text);
}

std::vector<std::string> Wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  while (Width(text) > width) {
    std::string_view line = Prefix(text, std::max<std::size_t>(width, 1));
    if (line.empty()) line = First(text).bytes;  // wider than the whole line
    const bool ends_a_word = line.size() < text.size() && text[line.size()] == ' ';
    const std::size_t blank = line.rfind(' ');
    if (!ends_a_word && blank != std::string_view::npos && blank > 0) line = line.substr(0, blank);
    lines.emplace_back(line);
    text.remove_prefix(line.size());
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  }
  if (!text.empty() || lines.empty()) lines.emplace_back(text);
  return lines;
}

}  // namespace lockscope::tools
