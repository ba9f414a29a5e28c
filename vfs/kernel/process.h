// What /proc tells of a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

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

// The same of a text in the form of /proc/PID/cmdline; empty where that is empty.
std::string ShownCommandLine(std::string_view cmdline);

// When the process started: nanoseconds on CLOCK_BOOTTIME (field 22 of /proc/PID/stat), cut to
// whole clock ticks, usually 10 ms. Null as above.
std::optional<std::uint64_t> ProcessStartBoottimeNs(std::int64_t pid);

// Field 22 of a text in the form of /proc/PID/stat: that time in clock ticks. Null where it is not
// there.
std::optional<std::uint64_t> StartTicks(std::string_view stat) noexcept;

// The inode that names the pid namespace of a process (/proc/PID/ns/pid). Null where that cannot be
// seen: another user's process, no /proc.
std::optional<std::uint64_t> PidNamespaceOf(std::int64_t pid);
// Of this process.
std::optional<std::uint64_t> OwnPidNamespace();

// A process's number in its own, innermost pid namespace (NSpid in /proc/PID/status). Null where
// that cannot be read.
std::optional<std::int64_t> InnermostPid(std::int64_t pid);

// False only where there is certainly no process of this number in our pid namespace.
bool MayExist(std::int64_t pid);

// What /proc/PID/stat tells, read once. Null where it cannot be read: there is no such process, or
// no such /proc.
struct ProcessStat {
  bool ended = false;  // all its threads, and it is merely waited for (a zombie)
  std::optional<std::uint64_t> start_boottime_ns;  // as ProcessStartBoottimeNs
};
std::optional<ProcessStat> StatOf(std::int64_t pid);

// At most kProcessNameChars characters of a text that anybody may have written, fit to be shown: as
// ProcessName() tells.
std::string Printable(std::string_view text);

// All of such a text, as UTF-8: U+FFFD stands for a zero, and for each byte of no character.
std::string WellFormed(std::string_view text);

}  // namespace lockscope::kernel
