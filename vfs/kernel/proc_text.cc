#include "kernel/proc_text.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace lockscope::kernel {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::size_t kFirstReadBytes = 4096;
constexpr std::size_t kReadBytes = 65536;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { closedir(directory); }
};

// A descriptor of a file in /proc. These may be closed: nobody holds locks on them.
class ProcDescriptor {
 public:
  explicit ProcDescriptor(const std::string& path) noexcept
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY)) {}
  ~ProcDescriptor() {
    if (fd_ >= 0) close(fd_);
  }
  ProcDescriptor(const ProcDescriptor&) = delete;
  ProcDescriptor& operator=(const ProcDescriptor&) = delete;

  bool ok() const noexcept { return fd_ >= 0; }

  // Appends up to `bytes_max` bytes. The count, 0 at the end; -1 on an error.
  ssize_t Append(std::string& text, std::size_t bytes_max) const {
    const std::size_t used = text.size();
    text.resize(used + bytes_max);
    ssize_t count = 0;
    do {
      count = read(fd_, text.data() + used, bytes_max);
    } while (count < 0 && errno == EINTR);
    text.resize(used + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return count;
  }

 private:
  int fd_;
};

}  // namespace

std::optional<std::string> ReadProcText(const std::string& path, std::size_t bytes_max) {
  const ProcDescriptor file(path);
  if (!file.ok()) return std::nullopt;
  std::string text;
  std::size_t chunk = kFirstReadBytes;
  while (text.size() < bytes_max) {
    const ssize_t count = file.Append(text, std::min(chunk, bytes_max - text.size()));
    if (count < 0) return std::nullopt;
    if (count == 0) break;
    chunk = kReadBytes;
  }
  return text;
}

std::optional<std::vector<int>> ListDescriptors(const std::string& directory) {
  const std::unique_ptr<DIR, CloseDirectory> listing(opendir(directory.c_str()));
  if (!listing) return std::nullopt;
  std::vector<int> descriptors;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(listing.get());
    if (entry == nullptr) break;
    if (const auto fd = ParseNumber<int>(entry->d_name)) descriptors.push_back(*fd);
  }
  if (errno != 0) return std::nullopt;
  return descriptors;
}

std::string_view TakeField(std::string_view& rest) noexcept {
  rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
  const std::string_view field = rest.substr(0, rest.find_first_of(kBlanks));
  rest.remove_prefix(field.size());
  return field;
}

std::string_view TakeLine(std::string_view& rest) noexcept {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  return line;
}

}  // namespace lockscope::kernel
