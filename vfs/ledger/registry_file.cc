#include "ledger/registry_file.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include "kernel/descriptors.h"
#include "kernel/retrying.h"
#include "ledger/sidecar_room.h"

namespace lockscope::ledger {

using kernel::Retrying;

namespace {

constexpr std::uint64_t kMutexWaitNs = 250'000'000;
// Whoever has waited in vain once (for a process that was stopped at the wrong moment, it seems)
// does not wait again so soon.
constexpr std::uint64_t kNoWaitNs = 10'000'000'000;
// Guarded by the registry's mutex.
struct VainWait {
  FileId file;
  std::uint64_t until_ns = 0;
};
constinit VainWait g_vain_wait{};

std::uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

Status Because(std::string reason) { return {SQLITE_CANTOPEN, std::move(reason)}; }

// "cannot be opened: Permission denied"
Status Failed(const char* what, int error) {
  return Because(std::string(what) + ": " + std::generic_category().message(error));
}

FileId IdOf(const struct stat& facts) { return {.device = facts.st_dev, .inode = facts.st_ino}; }

// ---- locks ----

flock RangeLock(short type, std::uint64_t first, std::uint64_t bytes) {
  flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = static_cast<off_t>(bytes);
  return lock;
}

// 0, or errno. Never waits.
int TryLock(int fd, short type, std::uint64_t first, std::uint64_t bytes = 1) {
  flock lock = RangeLock(type, first, bytes);
  return Retrying([&] { return fcntl(fd, F_OFD_SETLK, &lock); }) == 0 ? 0 : errno;
}

// Whether another open file description, or a process by other means, has a lock there.
bool HeldByOther(int fd, std::uint64_t first, std::uint64_t bytes) {
  flock lock = RangeLock(F_WRLCK, first, bytes);
  return Retrying([&] { return fcntl(fd, F_OFD_GETLK, &lock); }) != 0 || lock.l_type != F_UNLCK;
}

class MutexByte {
 public:
  MutexByte(int fd, const FileId& file) : fd_(fd) {
    const std::uint64_t begun = MonotonicNs();
    const bool may_wait = g_vain_wait.file != file || begun >= g_vain_wait.until_ns;
    while (true) {
      error_ = TryLock(fd_, F_WRLCK, kMutexByte);
      const bool busy = error_ == EAGAIN || error_ == EACCES;
      if (!busy || !may_wait) return;
      const std::uint64_t now = MonotonicNs();
      if (now - begun > kMutexWaitNs) {
        g_vain_wait = {.file = file, .until_ns = now + kNoWaitNs};
        return;
      }
      constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 100'000};
      nanosleep(&kPause, nullptr);
    }
  }
  ~MutexByte() {
    if (held()) TryLock(fd_, F_UNLCK, kMutexByte);
  }
  MutexByte(const MutexByte&) = delete;
  MutexByte& operator=(const MutexByte&) = delete;

  bool held() const { return error_ == 0; }
  Status Refusal() const {
    const bool busy = error_ == EAGAIN || error_ == EACCES;
    return busy ? Because("is busy: a process that was entering or leaving it does not go on")
                : Failed("cannot be locked", error_);
  }

 private:
  int fd_;
  int error_ = 0;
};

}  // namespace

// ---- opening ----

RegistryFile::RegistryFile(RegistryFile&& other) noexcept
    : path_(std::move(other.path_)),
      id_(other.id_),
      fd_(std::exchange(other.fd_, -1)),
      made_(other.made_),
      zeros_(other.zeros_),
      room_(other.room_),
      blocks_(std::move(other.blocks_)) {}

void RegistryFile::Close() noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

namespace {

constexpr int kOpenFlags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

// Standard input, output or error, where the application has closed them, are nothing to have a
// file under: others write there. Both descriptors are of one open file description.
int Above2(int fd) {
  if (fd < 0 || fd > 2) return fd;
  const int above = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  const int error = errno;
  close(fd);
  errno = error;
  return above;
}

}  // namespace

// Makes it, with the database's mode and, where that can be, owner.
Status RegistryFile::Create(const struct stat& database) {
  const mode_t mode = database.st_mode & 0666;
  fd_ = Above2(Retrying([&] { return open(path_.c_str(), kOpenFlags | O_CREAT | O_EXCL, mode); }));
  if (fd_ < 0) return errno == EEXIST ? Status{} : Failed("cannot be made", errno);
  made_ = true;
  struct stat facts {};
  if (fstat(fd_, &facts) != 0) return Failed("cannot be made", errno);
  const bool owned = facts.st_uid == database.st_uid && facts.st_gid == database.st_gid;
  // What is not allowed is left: then it is ours, with the directory's group.
  if (!owned && geteuid() == 0) (void)!fchown(fd_, database.st_uid, database.st_gid);
  if (!owned && geteuid() != 0) (void)!fchown(fd_, static_cast<uid_t>(-1), database.st_gid);
  if ((facts.st_mode & 0777) != mode) (void)!fchmod(fd_, mode);
  return {};
}

namespace {

Status Check(const struct stat& sidecar, const struct stat& database) {
  const std::string why = WhyUntrusted(sidecar, database);
  return why.empty() ? Status{} : Because(why);
}

// Whether this process has the file open through another descriptor.
bool OpenElsewhere(const FileId& id) {
  const auto open_files = kernel::OpenFiles::Scan();
  return open_files.known() && open_files.Find(id).size() > 1;
}

}  // namespace

// What is certainly no sidecar is not even opened: it may be a database that this process has locks
// on, which closing would drop, or a pipe or a device.
//
// Leaves fd_ < 0, without an error, where somebody else made or removed it in between.
Status RegistryFile::Open(const struct stat& database) {
  struct stat found {};
  if (lstat(path_.c_str(), &found) == 0) {
    if (Status status = Check(found, database); !status.ok()) return status;
    if (KnownForeign(IdOf(found))) return Because(Name(HeaderState::kForeign));
  }
  fd_ = Above2(Retrying([&] { return open(path_.c_str(), kOpenFlags); }));
  if (fd_ < 0 && errno == ENOENT) return Create(database);
  if (fd_ < 0 && errno == ELOOP) return Because("is a symbolic link");
  return fd_ < 0 ? Failed("cannot be opened", errno) : Status{};
}

Status RegistryFile::CheckOpened(const struct stat& database) {
  struct stat facts {};
  if (fstat(fd_, &facts) != 0) return Failed("cannot be read", errno);
  if (Status status = Check(facts, database); !status.ok()) return status;
  id_ = IdOf(facts);
  // Before it gets a lock of ours: a database that has this name would take that for its PENDING.
  const HeaderState state = JudgeFirstPage(fd_, id_);
  // An empty file is a database too.
  const bool of_others = state == HeaderState::kEmpty && !made_ && OpenElsewhere(id_);
  const bool foreign = state == HeaderState::kForeign || of_others;
  return foreign ? Because(Name(HeaderState::kForeign)) : Status{};
}

void RegistryFile::CloseForeign() noexcept {
  try {
    kernel::CloseOrKeep(fd_);
  } catch (const std::bad_alloc&) {
    // It stays open.
  }
  fd_ = -1;
}

bool RegistryFile::Current() const {
  struct stat facts {};
  return lstat(path_.c_str(), &facts) == 0 && IdOf(facts) == id_;
}

bool RegistryFile::AnyOwner() const { return HeldByOther(fd_, kBlockByte, kBlocksMax); }

// REQUIRES: the mutex byte is held, and it is a registry or empty.
Status RegistryFile::UnlinkIfOurs() const {
  if (!Current() || unlink(path_.c_str()) == 0 || errno == ENOENT) return {};
  return Failed("cannot be removed", errno);
}

// What was made for nothing is not left behind. REQUIRES: the mutex byte is held.
void RegistryFile::UnlinkIfUnused(const FileId& database) const {
  const HeaderState state = JudgeFirstPage(fd_, database);
  const bool unused = state == HeaderState::kEmpty || state == HeaderState::kOurs;
  if (unused && !AnyOwner()) (void)UnlinkIfOurs();
}

// The first page, under the mutex byte.
Result<RegistryFile::Step> RegistryFile::Begin(const FileId& database) {
  const HeaderState state = JudgeFirstPage(fd_, database);
  switch (state) {
    case HeaderState::kOurs:
      return Step::kDone;
    case HeaderState::kForeign:
      return Because(Name(state));
    case HeaderState::kOtherVersion:
    case HeaderState::kOtherDatabase:
      if (AnyOwner()) return Because(Name(state) + ", and in use there");
      if (Status status = UnlinkIfOurs(); !status.ok()) {
        return Because(Name(state) + ", and " + status.message);
      }
      return Step::kAgain;
    case HeaderState::kEmpty:
      if (AnyOwner()) return Because(Name(HeaderState::kForeign));  // somebody has wiped it
      break;
  }
  if (!WriteInPlace(fd_)) return Because(kCopiesOnWrite);
  struct stat facts {};
  if (fstat(fd_, &facts) != 0) return Failed("cannot be read", errno);
  // For all that most processes need, at once.
  const std::uint64_t room = BlockOffset(0) + kFirstRecord + sizeof(ConnectionRecord);
  if (Status status = Allocate(0, room); !status.ok()) return status;
  if (facts.st_size == 0) {
    zeros_ = true;
    room_ = room;
  }
  std::array<char, kRegistryPage> page{};
  const RegistryHeader header = HeaderFor(database);
  std::memcpy(page.data(), &header, sizeof header);
  const ssize_t written = Retrying([&] { return pwrite(fd_, page.data(), page.size(), 0); });
  if (written != static_cast<ssize_t>(page.size())) return Failed("cannot be written", errno);
  return Step::kDone;
}

Result<RegistryFile::Step> RegistryFile::BeginAndClaim(const FileId& database) {
  auto step = Begin(database);
  if (!step.ok() || step.value() == Step::kAgain) return step;
  const auto block = ClaimLocked();
  if (!block.ok()) return block.status();
  return Step::kDone;
}

Result<RegistryFile> RegistryFile::Enter(const std::string& path, const FileId& database) {
  struct stat facts {};
  if (stat(path.c_str(), &facts) != 0 || IdOf(facts) != database) {
    return Because("cannot be: the database is no longer of this name");
  }
  // The database itself may be mounted from elsewhere.
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  const std::string why = WhyUnfit(directory.empty() ? "." : directory);
  if (!why.empty()) return Because(why);
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(kRegistryPage)) {
    return Because("is laid out for memory pages of 4,096 bytes, which this machine has not");
  }
  if (!DescriptorsToSpare()) return Because("needs a descriptor, and there are few left");
  // Each try that fails has met another process that came or went.
  constexpr int kTries = 50;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    RegistryFile file(path + kRegistrySuffix);
    if (Status status = file.Open(facts); !status.ok()) return status;
    if (file.fd_ < 0) continue;
    if (Status status = file.CheckOpened(facts); !status.ok()) {
      file.CloseForeign();
      return status;
    }
    const MutexByte mutex(file.fd_, file.id_);
    if (!mutex.held()) return mutex.Refusal();
    if (!file.Current()) continue;
    try {
      const auto step = file.BeginAndClaim(database);
      if (step.ok() && step.value() == Step::kAgain) continue;
      if (step.ok()) return file;
      file.UnlinkIfUnused(database);
      return step.status();
    } catch (const std::bad_alloc&) {
      file.UnlinkIfUnused(database);
      throw;
    }
  }
  return Because("cannot be entered: others come and go all the time");
}

// ---- blocks ----

// Rounded to whole pages: what is mapped is written page by page. REQUIRES: the mutex byte is held
// where it can make the file longer.
Status RegistryFile::Allocate(std::uint64_t offset, std::uint64_t bytes) const {
  const std::uint64_t first = offset / kRegistryPage * kRegistryPage;
  const std::uint64_t end = (offset + bytes + kRegistryPage - 1) / kRegistryPage * kRegistryPage;
  if (end <= room_) return {};
  if (!WithinFileLimit(end)) return Because("would be larger than files may be here");
  struct stat before {};
  if (fstat(fd_, &before) != 0) return Failed("cannot be read", errno);
  const auto size = static_cast<std::uint64_t>(before.st_size);
  if (!HasRoom(fd_, end - first)) return Failed("cannot be given room", ENOSPC);
  const auto start = static_cast<off_t>(first);
  const auto length = static_cast<off_t>(end - first);
  if (Retrying([&] { return fallocate(fd_, 0, start, length); }) == 0) return {};
  const bool given = errno == EOPNOTSUPP && WriteZeros(fd_, offset, bytes);
  if (given) return {};  // a file system without: what was written has its place
  const int error = errno;
  // Some file systems have given what they had, which others need. What lies behind the old end is
  // nobody's, since only who holds the mutex byte makes the file longer.
  struct stat now {};
  const bool longer = size < end && fstat(fd_, &now) == 0 && now.st_size > before.st_size;
  if (longer) (void)!ftruncate(fd_, before.st_size);
  return Failed("cannot be given room", error);
}

// The file ends where its last block does, whether there is room for all of that or not.
Status RegistryFile::Extend(std::uint64_t bytes, std::uint64_t size) const {
  if (size >= bytes) return {};
  if (!WithinFileLimit(bytes)) return Because("would be larger than files may be here");
  const int result = Retrying([&] { return ftruncate(fd_, static_cast<off_t>(bytes)); });
  return result == 0 ? Status{} : Failed("cannot be given room", errno);
}

// The block is within the file already, so that this makes it no longer.
Status RegistryFile::MakeRoom(std::uint32_t block, std::size_t record) const {
  return Allocate(BlockOffset(block) + kFirstRecord + record * sizeof(ConnectionRecord),
                  sizeof(ConnectionRecord));
}

Result<RegistryFile::Block> RegistryFile::Claim() {
  const MutexByte mutex(fd_, id_);
  if (!mutex.held()) return mutex.Refusal();
  return ClaimLocked();
}

void RegistryFile::GiveBack(std::uint32_t block) noexcept {
  TryLock(fd_, F_UNLCK, kBlockByte + block);
  std::erase_if(blocks_, [block](const Block& of) { return of.number == block; });
}

// Nobody may find the last owner's name, or its connections, under our lock. Where nothing was
// written there is no place, and none is taken.
bool RegistryFile::Forget(std::uint32_t block) const {
  constexpr std::size_t kIdentity = offsetof(ConnectionRecord, identity);
  // A sequence that a dead writer has left odd would be waited for.
  constexpr std::array kWords = {
      kIdentity, kIdentity + sizeof(std::uint64_t) + offsetof(IdentityLayout<std::uint64_t>, state),
      offsetof(ConnectionRecord, slot) + offsetof(ConnectionSlot, sequence)};
  if (!WriteZeros(fd_, BlockOffset(block), sizeof(Published<ProcessLayout>))) return false;
  for (std::size_t record = 0; record < kBlockRecords; ++record) {
    for (const std::size_t at : kWords) {
      const std::uint64_t offset =
          BlockOffset(block) + kFirstRecord + record * sizeof(ConnectionRecord) + at;
      std::uint64_t word = 0;
      const ssize_t bytes =
          Retrying([&] { return pread(fd_, &word, sizeof word, static_cast<off_t>(offset)); });
      if (bytes < 0) return false;
      if (bytes > 0 && word != 0 && !WriteZeros(fd_, offset, sizeof word)) return false;
    }
  }
  return true;
}

// REQUIRES: the mutex byte is held: nobody else claims meanwhile, only owners go.
Result<RegistryFile::Block> RegistryFile::ClaimLocked() {
  struct stat facts {};
  if (fstat(fd_, &facts) != 0) return Failed("cannot be read", errno);
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  const std::uint64_t existing =
      size > kRegistryPage ? (size - kRegistryPage + kBlockBytes - 1) / kBlockBytes : 0;
  // The neighbour of our last one first: the kernel then has one lock for both.
  const std::uint32_t first = blocks_.empty() ? 0 : blocks_.back().number + 1;
  for (std::uint32_t i = 0; i < kBlocksMax; ++i) {
    const std::uint32_t block = (first + i) % kBlocksMax;
    const bool ours = std::any_of(blocks_.begin(), blocks_.end(),
                                  [block](const Block& of) { return of.number == block; });
    if (block > existing || ours) continue;
    if (HeldByOther(fd_, kBlockByte + block, 1)) continue;
    if (Status status = Allocate(BlockOffset(block), kFirstRecord); !status.ok()) return status;
    if (Status status = Extend(BlockOffset(block + 1), size); !status.ok()) return status;
    const bool zeros = size <= BlockOffset(block) || (block == 0 && zeros_);
    if (!zeros && !Forget(block)) return Failed("cannot be written", errno);
    blocks_.reserve(blocks_.size() + 1);
    if (const int error = TryLock(fd_, F_WRLCK, kBlockByte + block); error != 0) {
      return Failed("cannot be locked", error);
    }
    blocks_.push_back({.number = block, .zeros = zeros});
    return blocks_.back();
  }
  return Because("is full");
}

// ---- going ----

void RegistryFile::Leave() noexcept {
  if (fd_ < 0) return;
  if (!blocks_.empty()) {
    const MutexByte mutex(fd_, id_);
    TryLock(fd_, F_UNLCK, kBlockByte, kBlocksMax);
    blocks_.clear();
    if (mutex.held() && !AnyOwner()) (void)UnlinkIfOurs();
  }
  Close();
}

void RegistryFile::Abandon() noexcept {
  blocks_.clear();
  Close();
}

}  // namespace lockscope::ledger
