#include "kernel/process.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <utility>

#include "kernel/proc_text.h"

namespace lockscope::kernel {
namespace {

constexpr std::size_t kUtf8BytesMax = 4;
// Enough for every character that is shown and one more, so that the cut is always made by
// characters: where the reading stops in the middle of one is never seen.
constexpr std::size_t kCommandBytesMax = (kProcessNameChars + 1) * kUtf8BytesMax;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

std::string ProcPath(std::int64_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

std::uint8_t ByteAt(std::string_view text, std::size_t index) {
  return static_cast<std::uint8_t>(text[index]);
}

// How many bytes the well-formed UTF-8 character at the start of `text` has; 0 where there is none.
// Over-long forms, surrogates and numbers beyond U+10FFFF are not well-formed.
std::size_t Utf8Length(std::string_view text) {
  const std::uint8_t lead = ByteAt(text, 0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((ByteAt(text, i) & 0xc0) != 0x80) return 0;
  }
  const std::uint8_t second = ByteAt(text, 1);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool too_high = (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90);
  return overlong || too_high ? 0 : length;
}

// C0, DEL, and C1 (U+0080 … U+009F), in which some terminals find escape sequences too.
bool IsControl(std::string_view character) {
  const std::uint8_t lead = ByteAt(character, 0);
  if (character.size() == 1) return lead < 0x20 || lead == 0x7f;
  return lead == 0xc2 && ByteAt(character, 1) < 0xa0;
}

std::string_view WithoutTrailing(std::string_view text, char last) {
  while (text.ends_with(last)) text.remove_suffix(1);
  return text;
}

std::optional<std::string> BracketedName(std::int64_t pid) {
  const auto name = ReadProcText(ProcPath(pid, "comm"), kCommandBytesMax);
  if (!name) return std::nullopt;
  return "[" + Printable(WithoutTrailing(*name, '\n')) + "]";
}

std::optional<std::uint64_t> TicksToNs(std::uint64_t ticks) {
  const long ticks_per_second = sysconf(_SC_CLK_TCK);
  if (ticks_per_second <= 0) return std::nullopt;
  const std::uint64_t ns_per_tick = kNsPerSecond / static_cast<std::uint64_t>(ticks_per_second);
  if (ticks > std::numeric_limits<std::uint64_t>::max() / ns_per_tick) return std::nullopt;
  return ticks * ns_per_tick;
}

std::optional<std::uint64_t> NamespaceAt(const std::string& path) {
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0) return std::nullopt;
  return facts.st_ino;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string shown;
  for (std::size_t chars = 0; chars < kProcessNameChars && !text.empty(); ++chars) {
    const std::size_t length = Utf8Length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (character.front() == '\0') {
      shown += ' ';
    } else if (length == 0 || IsControl(character)) {
      shown += '?';
    } else {
      shown += character;
    }
    text.remove_prefix(character.size());
  }
  return shown;
}

std::string WellFormed(std::string_view text) {
  std::string characters;
  characters.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = text.front() == '\0' ? 0 : Utf8Length(text);
    characters += length == 0 ? std::string_view("\xef\xbf\xbd") : text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return characters;
}

std::optional<std::string> ProcessName(std::int64_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto command = ReadProcText(ProcPath(pid, "cmdline"), kCommandBytesMax);
  if (!command) return std::nullopt;
  std::string name = ShownCommandLine(*command);
  return name.empty() ? BracketedName(pid) : std::move(name);
}

std::string ShownCommandLine(std::string_view cmdline) {
  return Printable(WithoutTrailing(cmdline, '\0'));
}

namespace {

// A text in the form of /proc/PID/stat from field 3 on; empty where it has none. Field 2 is the
// name in parentheses and may contain blanks and parentheses: what follows the last.
std::string_view AfterName(std::string_view stat) noexcept {
  const std::size_t name_end = stat.rfind(')');
  return name_end == std::string_view::npos ? std::string_view() : stat.substr(name_end + 1);
}

}  // namespace

std::optional<std::uint64_t> StartTicks(std::string_view stat) noexcept {
  std::string_view rest = AfterName(stat);
  for (int field = 3; field < 22; ++field) TakeField(rest);
  return ParseNumber<std::uint64_t>(TakeField(rest));
}

namespace {

// Of a text in the form of /proc/PID/stat.
bool HasEnded(std::string_view stat) noexcept {
  std::string_view rest = AfterName(stat);
  const std::string_view state = TakeField(rest);
  if (state != "Z" && state != "X") return false;
  for (int field = 4; field < 20; ++field) TakeField(rest);
  return TakeField(rest) == "1";  // else the first thread has ended, and others go on
}

}  // namespace

std::optional<ProcessStat> StatOf(std::int64_t pid) {
  const auto stat = pid > 0 ? ReadProcText(ProcPath(pid, "stat")) : std::nullopt;
  if (!stat) return std::nullopt;
  const auto ticks = StartTicks(*stat);
  return ProcessStat{.ended = HasEnded(*stat),
                     .start_boottime_ns = ticks ? TicksToNs(*ticks) : std::nullopt};
}

std::optional<std::uint64_t> ProcessStartBoottimeNs(std::int64_t pid) {
  const auto stat = StatOf(pid);
  return stat ? stat->start_boottime_ns : std::nullopt;
}

std::optional<std::uint64_t> PidNamespaceOf(std::int64_t pid) {
  return NamespaceAt(ProcPath(pid, "ns/pid"));
}

std::optional<std::uint64_t> OwnPidNamespace() { return NamespaceAt("/proc/self/ns/pid"); }

std::optional<std::int64_t> InnermostPid(std::int64_t pid) {
  const auto status = ReadProcText(ProcPath(pid, "status"));
  if (!status) return std::nullopt;
  std::string_view rest = *status;
  while (!rest.empty()) {
    std::string_view line = TakeLine(rest);
    if (TakeField(line) != "NSpid:") continue;
    std::optional<std::int64_t> innermost;
    while (true) {
      const std::string_view field = TakeField(line);
      if (field.empty()) return innermost;
      innermost = ParseNumber<std::int64_t>(field);
    }
  }
  return std::nullopt;
}

bool MayExist(std::int64_t pid) {
  if (pid <= 0 || pid > std::numeric_limits<pid_t>::max()) return false;
  return kill(static_cast<pid_t>(pid), 0) == 0 || errno != ESRCH;
}

std::optional<std::int64_t> OwnPidInProc() {
  std::array<char, 32> link{};
  const ssize_t bytes = readlink("/proc/self", link.data(), link.size());
  if (bytes <= 0) return std::nullopt;
  return ParseNumber<std::int64_t>(std::string_view(link.data(), static_cast<std::size_t>(bytes)));
}

}  // namespace lockscope::kernel
