// UTF-8 decoded in another way than the code under test does it: what is written back must be the
// bytes that were read.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/check.h"

namespace lockscope::fuzz {

inline std::string EncodeUtf8(char32_t code) {
  const auto tail = [code](int shift) {
    return static_cast<char>(0x80U | (code >> shift & 0x3fU));
  };
  const auto lead = [code](unsigned mark, int shift) {
    return static_cast<char>(mark | code >> shift);
  };
  if (code < 0x80) return {static_cast<char>(code)};
  if (code < 0x800) return {lead(0xc0, 6), tail(0)};
  if (code < 0x10000) return {lead(0xe0, 12), tail(6), tail(0)};
  return {lead(0xf0, 18), tail(12), tail(6), tail(0)};
}

// The characters of `text`; null where it is no UTF-8.
inline std::optional<std::vector<char32_t>> DecodeUtf8(std::string_view text) {
  std::vector<char32_t> codes;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[i + at]); };
    const std::size_t length = byte(0) < 0x80 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
    if (text.size() - i < length) return std::nullopt;
    static constexpr std::array<unsigned, 5> kLeadMask = {0, 0x7f, 0x1f, 0x0f, 0x07};
    char32_t code = byte(0) & kLeadMask.at(length);
    for (std::size_t at = 1; at < length; ++at) code = code << 6 | (byte(at) & 0x3fU);
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return std::nullopt;
    if (EncodeUtf8(code) != text.substr(i, length)) return std::nullopt;
    codes.push_back(code);
    i += length;
  }
  return codes;
}

// Three of the bytes a character, also those that UTF-8 does not have, which are written by its
// pattern: a text of bytes by chance has few characters.
inline std::string CharactersOf(Bytes bytes) {
  std::string text;
  for (; bytes.size() >= 3; bytes = bytes.subspan(3)) {
    const std::uint32_t code = bytes[0] * 0x10000U + bytes[1] * 0x100U + bytes[2];
    text += EncodeUtf8(code & 0x1fffffU);
  }
  return text;
}

}  // namespace lockscope::fuzz
