// What /proc tells of a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

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

}  // namespace lockscope::kernel
