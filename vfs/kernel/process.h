// What /proc tells of a process, and how this folder reads /proc.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace lockscope::kernel {

// This process's number as /proc knows it: not getpid()'s where /proc was mounted by another pid
// namespace, as some containers do. Null where there is no /proc.
std::optional<std::int64_t> OwnPidInProc();

inline constexpr std::size_t kProcessNameChars = 200;

// The command line, its NULs as spaces, control characters as '?', cut at kProcessNameChars
// characters (not bytes: UTF-8 is never cut in the middle; bytes that are no UTF-8 become '?').
// A kernel-style name in brackets, "[name]", where the command line is empty (kernel threads,
// zombies). Null where there is no such process or it may not be read. A program may have written
// anything into its command line.
std::optional<std::string> ProcessName(std::int64_t pid);

// When the process started: nanoseconds on CLOCK_BOOTTIME (field 22 of /proc/PID/stat), cut to
// whole clock ticks, usually 10 ms. Null as above.
std::optional<std::uint64_t> ProcessStartBoottimeNs(std::int64_t pid);

// --- Reading /proc

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
