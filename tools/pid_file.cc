#include "pid_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>

#include "text.h"

namespace lockscope::tools {
namespace {

constexpr std::string_view kVerdict = "verdict ";

Status CannotOpen(const std::string& path) {
  return {SQLITE_CANTOPEN, path + ": " + std::generic_category().message(errno)};
}

struct flock WholeFile(short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The first line, which `text` loses.
std::string_view TakeLine(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

}  // namespace

Result<PidFile> PidFile::Claim(const std::string& path) {
  // A `hold --stop` has its look at the file only for a moment.
  for (int attempts = 1;; ++attempts) {
    constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    UniqueFd fd(open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0644));
    if (!fd.valid() && errno == EEXIST) {
      fd = UniqueFd(open(path.c_str(), kFlags));
      if (!fd.valid() && errno == ENOENT) continue;
    }
    if (!fd.valid()) return CannotOpen(path);
    PidFile file(path, std::move(fd));
    if (!file.IsOne()) return Status{SQLITE_MISUSE, path + " is there, and no pid file"};
    if (!file.Lock(F_WRLCK)) {
      if (errno != EACCES && errno != EAGAIN) return CannotOpen(path);
      if (const auto holder = file.Holder()) {
        return Status{SQLITE_BUSY, path + ": pid " + std::to_string(*holder) + " holds by it"};
      }
      constexpr int kMostAttempts = 100;
      if (attempts >= kMostAttempts) return Status{SQLITE_BUSY, path + " is locked"};
      usleep(10'000);
      continue;
    }
    // Otherwise removed by whoever stopped the holder before.
    if (!file.HasName()) continue;
    if (ftruncate(file.fd_.get(), 0) != 0) return CannotOpen(path);
    return file;
  }
}

Result<PidFile> PidFile::Find(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK));
  if (!fd.valid() && errno == ENOENT) {
    return Status{SQLITE_NOTFOUND, path + ": there is no such holder"};
  }
  if (!fd.valid()) return CannotOpen(path);
  PidFile file(path, std::move(fd));
  if (!file.IsOne()) return Status{SQLITE_MISUSE, path + " is no pid file"};
  return file;
}

bool PidFile::Lock(short type) {
  struct flock lock = WholeFile(type);
  return fcntl(fd_.get(), F_SETLK, &lock) == 0;
}

bool PidFile::KeepsHoldersOut() { return Lock(F_RDLCK) && HasName(); }

// A lock for reading is no holder's.
std::optional<pid_t> PidFile::Holder() const {
  struct flock lock = WholeFile(F_RDLCK);
  if (fcntl(fd_.get(), F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) return std::nullopt;
  return lock.l_pid > 0 ? lock.l_pid : 0;
}

std::string PidFile::Text() const {
  std::array<char, 8192> buffer{};
  const ssize_t count = pread(fd_.get(), buffer.data(), buffer.size(), 0);
  return count > 0 ? std::string(buffer.data(), static_cast<std::size_t>(count)) : std::string();
}

// What is in it may be somebody's, who named the wrong file. An empty one is a holder's that has no
// barrier yet.
bool PidFile::IsOne() const {
  struct stat facts = {};
  if (fstat(fd_.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return false;
  const std::string text = Text();
  std::string_view rest = text;
  if (rest.empty()) return facts.st_size == 0;
  if (!AllDigits(TakeLine(rest))) return false;
  return rest.empty() || TakeLine(rest).starts_with(kVerdict);
}

bool PidFile::HasName() const {
  struct stat named = {};
  struct stat open = {};
  return stat(path_.c_str(), &named) == 0 && fstat(fd_.get(), &open) == 0 &&
         named.st_dev == open.st_dev && named.st_ino == open.st_ino;
}

Status PidFile::Write(const std::string& text, bool from_the_beginning) {
  if (from_the_beginning && ftruncate(fd_.get(), 0) != 0) return CannotOpen(path_);
  if (lseek(fd_.get(), 0, SEEK_END) < 0 ||
      write(fd_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return CannotOpen(path_);
  }
  return {};
}

Status PidFile::WritePid() { return Write(std::to_string(getpid()) + "\n", true); }

void PidFile::WriteVerdict(const Verdict& verdict) {
  // Where the disk is full there is none, which counts as a failure.
  (void)Write(
      std::string(kVerdict) + std::to_string(verdict.status) + " " + Visible(verdict.text) + "\n",
      false);
}

std::optional<Verdict> PidFile::ReadVerdict() const {
  const std::string text = Text();
  std::string_view rest = text;
  TakeLine(rest);
  if (!rest.starts_with(kVerdict) || !rest.ends_with('\n')) return std::nullopt;
  std::string_view line = TakeLine(rest);
  line.remove_prefix(kVerdict.size());
  Verdict verdict;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), verdict.status);
  if (error != std::errc() || end == line.data() + line.size() || *end != ' ') return std::nullopt;
  verdict.text = line.substr(static_cast<std::size_t>(end - line.data()) + 1);
  return verdict;
}

void PidFile::Remove() {
  if (HasName()) unlink(path_.c_str());
}

}  // namespace lockscope::tools
