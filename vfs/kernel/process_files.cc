#include "kernel/process_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <optional>
#include <set>
#include <utility>

#include "kernel/proc_locks.h"
#include "kernel/proc_text.h"

namespace lockscope::kernel {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

std::string_view Basename(std::string_view path) { return path.substr(path.rfind('/') + 1); }

// Where a descriptor leads; empty for what is no file with a path.
std::string LinkOf(const std::string& link) {
  std::array<char, PATH_MAX> text{};
  const ssize_t bytes = readlink(link.c_str(), text.data(), text.size());
  if (bytes <= 0 || text.front() != '/') return {};
  return {text.data(), static_cast<std::size_t>(bytes)};
}

bool IsOneOf(std::span<const std::string> names, std::string_view path) {
  const std::string_view base = Basename(path);
  return std::any_of(names.begin(), names.end(),
                     [base](const std::string& name) { return base.starts_with(name); });
}

// The line "flags:", octal, as open() takes them.
bool IsWritable(std::string_view fdinfo) {
  while (!fdinfo.empty()) {
    std::string_view line = TakeLine(fdinfo);
    if (TakeField(line) != "flags:") continue;
    const auto flags = ParseNumber<unsigned>(TakeField(line), 8);
    return flags && (*flags & 3U) != 0;  // O_ACCMODE: not O_RDONLY
  }
  return false;
}

// Null where it is closed meanwhile, no regular file, or may not be seen.
std::optional<OpenedFile> Describe(const std::string& process, int fd, std::string path) {
  const std::string number = std::to_string(fd);
  struct stat status = {};
  // The link leads stat() to the open file itself, whatever its name is by now.
  if (stat((process + "fd/" + number).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return std::nullopt;
  }
  const auto fdinfo = ReadProcText(process + "fdinfo/" + number);
  if (!fdinfo) return std::nullopt;
  OpenedFile file{.fd = fd,
                  .path = std::move(path),
                  .id = {.device = status.st_dev, .inode = status.st_ino},
                  .deleted = status.st_nlink == 0,
                  .writable = IsWritable(*fdinfo),
                  .locked = !ParseFdinfoLocks(*fdinfo).empty()};
  // A name may end so by itself.
  if (file.deleted && file.path.ends_with(kDeleted)) {
    file.path.resize(file.path.size() - kDeleted.size());
  }
  return file;
}

std::vector<OpenedFile> FilesOf(std::int64_t pid, std::span<const std::string> names) {
  const std::string process = "/proc/" + std::to_string(pid) + "/";
  std::vector<OpenedFile> files;
  const auto descriptors = ListDescriptors(process + "fd");
  if (!descriptors) return files;
  for (const int fd : *descriptors) {
    std::string path = LinkOf(process + "fd/" + std::to_string(fd));
    if (path.empty() || !IsOneOf(names, path)) continue;
    if (auto file = Describe(process, fd, std::move(path))) files.push_back(std::move(*file));
  }
  std::sort(files.begin(), files.end(),
            [](const OpenedFile& a, const OpenedFile& b) { return a.fd < b.fd; });
  return files;
}

bool HasOurMounts(std::int64_t pid) {
  struct stat ours = {};
  struct stat theirs = {};
  return stat("/proc/self/ns/mnt", &ours) == 0 &&
         stat(("/proc/" + std::to_string(pid) + "/ns/mnt").c_str(), &theirs) == 0 &&
         ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

bool IsSqlite(std::string_view path) {
  const std::string_view base = Basename(path);
  return base.starts_with("libsqlite3") || base.starts_with("libsqlcipher");
}

}  // namespace

std::vector<std::int64_t> AllProcesses() {
  const auto numbers = ListDescriptors("/proc");
  if (!numbers) return {};
  return {numbers->begin(), numbers->end()};
}

std::vector<ProcessFiles> FilesNamed(std::span<const std::string> names,
                                     const std::vector<std::int64_t>& pids,
                                     std::chrono::milliseconds at_most) {
  const auto end = std::chrono::steady_clock::now() + at_most;
  std::vector<ProcessFiles> all;
  for (const std::int64_t pid : pids) {
    if (std::chrono::steady_clock::now() >= end) break;
    auto files = FilesOf(pid, names);
    if (files.empty()) continue;
    all.push_back({.pid = pid, .same_mounts = HasOurMounts(pid), .files = std::move(files)});
  }
  return all;
}

std::vector<std::string> MappedSqlites(std::int64_t pid) {
  const auto maps = ReadProcText("/proc/" + std::to_string(pid) + "/maps");
  return maps ? SqlitesIn(*maps) : std::vector<std::string>{};
}

std::vector<std::string> SqlitesIn(std::string_view maps) {
  std::set<std::pair<std::string_view, std::string_view>> seen;
  std::vector<std::string> libraries;
  while (!maps.empty()) {
    std::string_view line = TakeLine(maps);
    for (int field = 0; field < 3; ++field) TakeField(line);  // addresses, rights, offset
    const std::string_view device = TakeField(line);
    const std::string_view inode = TakeField(line);
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    if (inode == "0" || !IsSqlite(line)) continue;
    if (seen.emplace(device, inode).second) libraries.emplace_back(line);
  }
  return libraries;
}

}  // namespace lockscope::kernel
