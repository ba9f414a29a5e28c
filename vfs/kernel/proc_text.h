// Reading /proc: whole files, fields, numbers.
#pragma once

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace lockscope::kernel {

inline constexpr std::size_t kProcTextBytesMax = std::size_t{64} << 20;

// The whole of a file in /proc, or its first `bytes_max` bytes. Null where it cannot be opened or
// an error interrupts the reading (as when the process ends meanwhile). For /proc only: the
// descriptor is closed again, which for a database would drop the process's locks.
std::optional<std::string> ReadProcText(const std::string& path,
                                        std::size_t bytes_max = kProcTextBytesMax);

// The numbers in a directory like /proc/self/fd, in no order. One of them may be the listing's own
// descriptor, closed by the time this returns. Null where it cannot be read.
std::optional<std::vector<int>> ListDescriptors(const std::string& directory);

// Cuts the first field off `rest`: what stands between blanks. Empty at the end.
std::string_view TakeField(std::string_view& rest) noexcept;

// Cuts the first line off `rest`, without its line feed. REQUIRES: `rest` is not empty.
std::string_view TakeLine(std::string_view& rest) noexcept;

// `text` as a number, where all of it is one that the type can hold.
template <class Integer>
std::optional<Integer> ParseNumber(std::string_view text, int base = 10) noexcept {
  Integer value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

}  // namespace lockscope::kernel
