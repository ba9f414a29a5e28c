// A text in the form of /proc/self/mountinfo, asked for mounts that it has and for one that it may
// have.
#include "kernel/mounts.h"

#include <sys/sysmacros.h>

#include <string>

#include "fuzz/check.h"
#include "kernel/proc_text.h"

namespace lockscope::fuzz {
namespace {

using Device = std::optional<std::uint64_t>;
using kernel::MountDevice;

constexpr std::uint64_t kSomeMount = 27;
constexpr int kMostMounts = 16;

// The mount's device as its own line has it, the first of its number.
Device ByFirstLine(std::string_view text, std::uint64_t mount) {
  while (!text.empty()) {
    const std::string_view line = kernel::TakeLine(text);
    std::string_view rest = line;
    if (kernel::ParseNumber<std::uint64_t>(kernel::TakeField(rest)) == mount) {
      return MountDevice(line, mount);
    }
  }
  return std::nullopt;
}

std::string Line(std::uint64_t mount, std::uint64_t device) {
  return std::to_string(mount) + " 1 " + std::to_string(major(device)) + ":" +
         std::to_string(minor(device)) + " / / rw - ext4 /dev/root rw\n";
}

void CheckMount(std::string_view text, std::uint64_t mount) {
  const Device device = MountDevice(text, mount);
  FUZZ_CHECK(device == MountDevice(text, mount));
  FUZZ_CHECK(device == ByFirstLine(text, mount));
  // Lines of other mounts before it change nothing, those behind it neither.
  FUZZ_CHECK(device == MountDevice(Line(mount + 1, makedev(8, 1)) + std::string(text), mount));
  if (device) {
    FUZZ_CHECK(MountDevice(Line(mount, *device), mount) == device);
    FUZZ_CHECK(MountDevice(std::string(text) + "\n" + Line(mount, *device + 1), mount) == device);
  }
}

// Numbers written as the kernel writes them are read back.
void CheckNumbers(Bytes bytes) {
  const auto mount = TakeNumber<std::uint64_t>(bytes);
  const auto major_number = TakeNumber<unsigned>(bytes);
  const auto minor_number = TakeNumber<unsigned>(bytes);
  const Device device = makedev(major_number, minor_number);
  FUZZ_CHECK(MountDevice(Line(mount, *device), mount) == device);
  FUZZ_CHECK(!MountDevice(Line(mount, *device), mount + 1));
}

void TryMountinfo(Bytes bytes) {
  CheckNumbers(bytes);
  const std::string_view text = AsText(bytes);
  CheckMount(text, kSomeMount);
  std::string_view rest = text;
  for (int line = 0; line < kMostMounts && !rest.empty(); ++line) {
    std::string_view fields = kernel::TakeLine(rest);
    if (const auto mount = kernel::ParseNumber<std::uint64_t>(kernel::TakeField(fields))) {
      CheckMount(text, *mount);
    }
  }
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryMountinfo)
