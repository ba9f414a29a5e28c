#include "copier.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace lockscope::tools {
namespace {

Status Failed(const std::string& name, int error = errno) {
  return {SQLITE_IOERR, name + ": " + std::generic_category().message(error)};
}

Status OutOfDate(const ListedFile& file, const char* what) {
  return {SQLITE_ABORT, file.path + " " + what + ": the manifest is out of date"};
}

// The file listed, and no other.
Status OpenListed(const ListedFile& file, UniqueFd& source, mode_t& mode) {
  source =
      UniqueFd(open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW));
  if (!source.valid()) return Failed(file.path);
  struct stat facts = {};
  if (fstat(source.get(), &facts) != 0) return Failed(file.path);
  if (!S_ISREG(facts.st_mode)) return OutOfDate(file, "is no regular file");
  if (FileId{.device = facts.st_dev, .inode = facts.st_ino} != file.id) {
    return OutOfDate(file, "is another file than the one listed");
  }
  mode = facts.st_mode & 0777U;
  return {};
}

Status WriteAll(int fd, const char* bytes, std::size_t count, const std::string& name) {
  while (count > 0) {
    const ssize_t written = write(fd, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failed(name);
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
  return {};
}

// By the kernel, which shares blocks where the file system can, as long as it does any; how many
// bytes are left to copy.
std::uint64_t CopyInKernel(int from, int to, std::uint64_t bytes) {
  constexpr std::uint64_t kAtOnce = 1U << 30U;
  while (bytes > 0) {
    const auto count = static_cast<std::size_t>(std::min(bytes, kAtOnce));
    const ssize_t copied = copy_file_range(from, nullptr, to, nullptr, count, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied <= 0) break;
    bytes -= static_cast<std::uint64_t>(copied);
  }
  return bytes;
}

Status CopyBytes(const ListedFile& file, int from, int to, const std::string& name) {
  std::uint64_t left = CopyInKernel(from, to, file.bytes);
  std::vector<char> buffer(left > 0 ? 1U << 18U : 0);
  while (left > 0) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size()));
    const ssize_t got = read(from, buffer.data(), count);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(file.path);
    if (got == 0) return OutOfDate(file, "is shorter than listed");
    const auto got_bytes = static_cast<std::size_t>(got);
    if (Status status = WriteAll(to, buffer.data(), got_bytes, name); !status.ok()) return status;
    left -= got_bytes;
  }
  return {};
}

bool IsFile(int folder, const std::string& name, const FileId& id) {
  struct stat facts = {};
  return fstatat(folder, name.c_str(), &facts, 0) == 0 &&
         FileId{.device = facts.st_dev, .inode = facts.st_ino} == id;
}

// Calls `take` with one name after the other until one is not there yet. Short enough for every
// file system. False where it fails otherwise.
template <class Take>
bool TakeTemporaryName(std::string& name, const Take& take) {
  for (int number = 0;; ++number) {
    name = ".lockscope-" + std::to_string(getpid()) + "-" + std::to_string(number) + ".tmp";
    if (take(name)) return true;
    if (errno != EEXIST) return false;
  }
}

// A file without a name is given one through /proc.
bool CanBeNamed() { return access("/proc/self/fd", X_OK) == 0; }

bool GiveName(int file, int folder, const std::string& name) {
  const std::string link = "/proc/self/fd/" + std::to_string(file);
  return linkat(AT_FDCWD, link.c_str(), folder, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
}

}  // namespace

Result<Copier> Copier::Into(const std::string& folder) {
  const bool made = mkdir(folder.c_str(), 0777) == 0;
  if (!made && errno != EEXIST) {
    return Status{SQLITE_CANTOPEN, "cannot make the folder " + folder + ": " +
                                       std::generic_category().message(errno)};
  }
  UniqueFd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return Status{SQLITE_CANTOPEN,
                  "cannot copy into " + folder + ": " + std::generic_category().message(errno)};
  }
  if (made) {
    const UniqueFd parent(openat(fd.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // A folder that may not be read cannot be opened to be synced alone.
    const int synced = parent.valid() ? fsync(parent.get()) : syncfs(fd.get());
    if (synced != 0) return Failed(folder);
  }
  return Copier(folder, std::move(fd));
}

Copier::~Copier() {
  for (const Copied& copied : copied_) {
    if (!copied.temporary.empty()) unlinkat(folder_.get(), copied.temporary.c_str(), 0);
  }
}

Status Copier::Fail(const std::string& name) const { return Failed(name_ + "/" + name); }

Status Copier::Copy(const ListedFile& file) {
  UniqueFd source;
  mode_t mode = 0;
  if (Status status = OpenListed(file, source, mode); !status.ok()) return status;
  if (IsFile(folder_.get(), file.name, file.id)) {
    return {SQLITE_MISUSE, file.path + " cannot be copied onto itself"};
  }
  Copied& copied = copied_.emplace_back();
  copied.name = file.name;
  copied.wal = file.wal;
  if (!Create(copied)) return Fail(file.name);
  const int target = copied.file.get();
  const std::string shown = name_ + "/" + file.name;
  if (Status status = CopyBytes(file, source.get(), target, shown); !status.ok()) return status;
  if (fchmod(target, mode) != 0 || fsync(target) != 0) return Failed(shown);
  if (!copied.temporary.empty()) copied.file.Reset();
  return {};
}

// Each file without a name keeps a descriptor; of names there are enough.
bool Copier::Create(Copied& copied) const {
  constexpr std::size_t kMostWithoutName = 64;
  const int folder = folder_.get();
  if (copied_.size() <= kMostWithoutName && CanBeNamed()) {
    copied.file = UniqueFd(openat(folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600));
    if (copied.file.valid()) return true;
  }
  std::string temporary;
  const bool created = TakeTemporaryName(temporary, [&](const std::string& name) {
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    copied.file = UniqueFd(openat(folder, name.c_str(), kFlags, 0600));
    return copied.file.valid();
  });
  if (created) copied.temporary = temporary;
  return created;
}

Status Copier::Remove(const std::string& name, bool& was_there) {
  was_there = unlinkat(folder_.get(), name.c_str(), 0) == 0;
  return was_there || errno == ENOENT ? Status{} : Fail(name);
}

// A name can be given to a file that has none only where it is free; it can be taken from another
// file only by renaming.
bool Copier::Name(Copied& copied) const {
  const int folder = folder_.get();
  if (copied.temporary.empty()) {
    const int file = copied.file.get();
    if (GiveName(file, folder, copied.name)) return true;
    if (errno != EEXIST) return false;
    const auto give = [&](const std::string& name) { return GiveName(file, folder, name); };
    std::string temporary;
    if (!TakeTemporaryName(temporary, give)) return false;
    copied.temporary = temporary;
    // A file system need not have kept what had no name, and the old file is about to go.
    if (fsync(file) != 0) return false;
  }
  if (renameat(folder, copied.temporary.c_str(), folder, copied.name.c_str()) != 0) return false;
  copied.temporary.clear();
  return true;
}

Status Copier::Place(Copied& copied) {
  if (!Name(copied)) return Fail(copied.name);
  // Once more where it had no name yet: a file system need not have kept such a file.
  if (copied.file.valid() && fsync(copied.file.get()) != 0) return Fail(copied.name);
  copied.file.Reset();
  return {};
}

Status Copier::Sync() const { return fsync(folder_.get()) == 0 ? Status{} : Failed(name_); }

// A database and a WAL that do not belong together must never meet, also where the machine fails in
// between: where there is a file beside the database, before or after, the old database goes first
// and the new one comes last, and each is on the disk before the next step.
Result<std::vector<std::string>> Copier::Finish() {
  // Where a folder cannot be synced that is found out before anything is removed.
  if (Status status = Sync(); !status.ok()) return status;
  std::vector<std::string> removed;
  const auto wal_of = [this](const std::string& database) {
    return std::find_if(copied_.begin(), copied_.end(), [&database](const Copied& copied) {
      return copied.wal && copied.name == database + "-wal";
    });
  };
  for (Copied& database : copied_) {
    if (database.wal) continue;
    const auto wal = wal_of(database.name);
    std::vector<std::string> beside;
    for (const char* suffix : {"-wal", "-shm", "-journal"}) {
      struct stat facts = {};
      const std::string name = database.name + suffix;
      if (fstatat(folder_.get(), name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0) {
        beside.push_back(name);
      }
    }
    bool was_there = false;
    if (!beside.empty() || wal != copied_.end()) {
      if (Status status = Remove(database.name, was_there); !status.ok()) return status;
      if (was_there) {
        if (Status status = Sync(); !status.ok()) return status;
      }
    }
    for (const std::string& name : beside) {
      if (Status status = Remove(name, was_there); !status.ok()) return status;
      if (was_there && (wal == copied_.end() || wal->name != name)) removed.push_back(name);
    }
    if (wal != copied_.end()) {
      if (Status status = Place(*wal); !status.ok()) return status;
    }
    if (!beside.empty() || wal != copied_.end()) {
      if (Status status = Sync(); !status.ok()) return status;
    }
    if (Status status = Place(database); !status.ok()) return status;
  }
  if (Status status = Sync(); !status.ok()) return status;
  return removed;
}

}  // namespace lockscope::tools
