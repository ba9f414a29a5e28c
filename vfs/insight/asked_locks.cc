#include "insight/asked_locks.h"

#include <utility>

#include "kernel/process.h"

namespace lockscope::insight {
namespace {

std::optional<int> DatabaseDescriptor(const Database& database,
                                      const kernel::OpenFiles& open_files) {
  const auto fd = kernel::ReadableDescriptor(database.path, database.id, open_files);
  return fd.ok() ? std::optional(fd.value()) : std::nullopt;
}

std::optional<int> ShmDescriptor(const Database& database, const kernel::OpenFiles& open_files) {
  if (!database.shm.known()) return std::nullopt;
  const auto fd = kernel::ReadableDescriptor(database.path + "-shm", database.shm, open_files);
  return fd.ok() ? std::optional(fd.value()) : std::nullopt;
}

// Whether somebody outside our pid namespace holds what refuses such a lock on these bytes.
bool HeldOutside(int fd, bool write, const ByteRange& bytes) {
  const auto conflict = kernel::ProbeLock(fd, write, bytes.first, bytes.last);
  return conflict && conflict->pid == 0;
}

class Asking {
 public:
  Asking(int database_fd, std::optional<int> shm_fd, std::int64_t own_pid)
      : database_fd_(database_fd), shm_fd_(shm_fd), own_pid_(own_pid) {}

  // Null where it cannot be asked.
  std::optional<ExclusiveLocks> Once() const {
    ExclusiveLocks locks;
    bool told = true;
    for (const ByteRange& bytes : {kReservedByte, kPendingByte, kSharedRange}) {
      told = told && AskDatabase(bytes, locks);
    }
    for (int offset = 0; shm_fd_ && offset < kShmLockCount; ++offset) {
      told = told && AskShm(*shm_fd_, offset, locks);
    }
    return told ? std::optional(std::move(locks)) : std::nullopt;
  }

 private:
  // Null for nobody, for this process, and for locks of open file descriptions, which are no
  // SQLite's.
  KernelHolder* HolderOf(const std::optional<kernel::Conflict>& conflict,
                         ExclusiveLocks& locks) const {
    if (!conflict || !conflict->write || conflict->pid < 0 || conflict->pid == own_pid_) {
      return nullptr;
    }
    const std::optional<std::int64_t> pid =
        conflict->pid != 0 ? std::optional(conflict->pid) : std::nullopt;
    KernelHolder& holder = locks.holders[pid];
    holder.pid = pid;
    return &holder;
  }

  // A read lock is refused by a write lock alone. The kernel merges a process's neighbouring locks,
  // and tells of all at once: whoever has PENDING without RESERVED never had both in between.
  bool AskDatabase(const ByteRange& bytes, ExclusiveLocks& locks) const {
    const auto answer = kernel::AskForLock(database_fd_, false, bytes.first, bytes.last);
    if (KernelHolder* holder = HolderOf(answer.conflict, locks)) {
      const ByteRange held{answer.conflict->first, answer.conflict->last};
      if (held.Overlaps(kReservedByte)) holder->reserved = true;
      if (held.Overlaps(kPendingByte)) holder->pending = true;
      if (held.Overlaps(kSharedRange)) holder->exclusive = holder->shared = true;
    }
    return answer.told;
  }

  // Likewise the write, checkpoint and recovery locks.
  bool AskShm(int fd, int offset, ExclusiveLocks& locks) const {
    const ByteRange byte = ShmByte(offset);
    const auto answer = kernel::AskForLock(fd, true, byte.first, byte.last);
    if (answer.conflict && !answer.conflict->write) {
      locks.shm_shared = static_cast<std::uint8_t>(locks.shm_shared | (1U << offset));
    } else if (KernelHolder* holder = HolderOf(answer.conflict, locks)) {
      const ByteRange held{answer.conflict->first, answer.conflict->last};
      for (int other = 0; other < kShmLockCount; ++other) {
        if (!held.Overlaps(ShmByte(other))) continue;
        holder->shm.at(static_cast<std::size_t>(other)) = LockMode::kExclusive;
      }
    }
    return answer.told;
  }

  const int database_fd_;
  const std::optional<int> shm_fd_;
  const std::int64_t own_pid_;
};

}  // namespace

KernelHolder AskForOutside(const Database& database, const kernel::OpenFiles& open_files) {
  KernelHolder outside;
  if (const auto fd = DatabaseDescriptor(database, open_files)) {
    outside.pending = HeldOutside(*fd, false, kPendingByte);
    outside.reserved = HeldOutside(*fd, false, kReservedByte);
    outside.exclusive = HeldOutside(*fd, false, kSharedRange);
    outside.shared = outside.exclusive || HeldOutside(*fd, true, kSharedRange);
  }
  const auto fd = ShmDescriptor(database, open_files);
  for (int offset = 0; fd && offset <= kOpenOffset; ++offset) {
    LockMode& mode = outside.shm.at(static_cast<std::size_t>(offset));
    if (HeldOutside(*fd, false, ShmByte(offset))) {
      mode = LockMode::kExclusive;
    } else if (HeldOutside(*fd, true, ShmByte(offset))) {
      mode = LockMode::kShared;
    }
  }
  return outside;
}

// Exclusive locks that are found twice in a row, by answers that each tell of one moment, were
// there in between but for a process that took and let go the very same ones twice meanwhile.
// Readers come and go all the while: a lock is told as shared where it was at either time, and
// where it is not, it was not at both.
std::optional<ExclusiveLocks> AskForExclusive(const Database& database,
                                              const kernel::OpenFiles& open_files,
                                              std::int64_t own_pid) {
  // The kernel answers with our pid namespace's numbers; everything else here has those of /proc.
  if (!database.id.known() || kernel::OwnPidInProc() != own_pid) return std::nullopt;
  const auto database_fd = DatabaseDescriptor(database, open_files);
  const auto shm_fd = ShmDescriptor(database, open_files);
  if (!database_fd || (database.shm.known() && !shm_fd)) return std::nullopt;
  const Asking asking(*database_fd, shm_fd, own_pid);
  constexpr int kTries = 8;
  std::optional<ExclusiveLocks> before = asking.Once();
  for (int i = 1; i < kTries && before; ++i) {
    std::optional<ExclusiveLocks> now = asking.Once();
    if (now && now->holders == before->holders) {
      // A borrowed descriptor may be closed by its owner at any time, and be of another file then.
      const bool same = kernel::IsFile(*database_fd, database.id) &&
                        (!shm_fd || kernel::IsFile(*shm_fd, database.shm));
      if (!same) return std::nullopt;
      now->shm_shared |= before->shm_shared;
      return now;
    }
    before = std::move(now);
  }
  return std::nullopt;
}

}  // namespace lockscope::insight
