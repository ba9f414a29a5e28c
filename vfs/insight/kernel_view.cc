#include "insight/kernel_view.h"

#include <algorithm>
#include <map>

#include "kernel/mounts.h"
#include "kernel/proc_locks.h"
#include "kernel/process.h"

namespace lockscope::insight {
namespace {

using kernel::PosixLock;

constexpr int kOpenOffset = kShmLockCount;  // byte 128, as an offset

ByteRange ShmByte(int offset) { return ProtocolBytes(ShmResource(offset), LockMode::kShared); }

LockMode Stronger(LockMode a, LockMode b) { return std::max(a, b); }

// Adds one line to what its process holds. Lines are merged by the kernel: every byte is looked
// for.
void AddDatabaseLock(const PosixLock& lock, KernelHolder& holder) {
  if (lock.write && lock.bytes.Overlaps(kPendingByte)) holder.pending = true;
  if (lock.write && lock.bytes.Overlaps(kReservedByte)) holder.reserved = true;
  if (lock.bytes.Overlaps(kSharedRange)) {
    holder.shared = true;
    if (lock.write) holder.exclusive = true;
  }
}

void AddShmLock(const PosixLock& lock, KernelHolder& holder) {
  for (int offset = 0; offset <= kOpenOffset; ++offset) {
    if (!lock.bytes.Overlaps(ShmByte(offset))) continue;
    LockMode& mode = holder.shm.at(static_cast<std::size_t>(offset));
    mode = Stronger(mode, lock.write ? LockMode::kExclusive : LockMode::kShared);
  }
}

void AddWaiter(const PosixLock& lock, bool shm, std::vector<KernelWaiter>& waiters) {
  if (shm) {
    for (int offset = 0; offset < kShmLockCount; ++offset) {
      if (!lock.bytes.Overlaps(ShmByte(offset))) continue;
      waiters.push_back(
          {lock.pid, ShmResource(offset), lock.write ? LockMode::kExclusive : LockMode::kShared});
    }
    return;
  }
  const bool shared_range = lock.bytes.Overlaps(kSharedRange);
  if (lock.bytes.Overlaps(kReservedByte) && lock.write && !shared_range) {
    waiters.push_back({lock.pid, Resource::kDatabase, LockMode::kReserved});
  } else if (shared_range || lock.bytes.Overlaps(kPendingByte)) {
    waiters.push_back(
        {lock.pid, Resource::kDatabase, lock.write ? LockMode::kExclusive : LockMode::kShared});
  }
}

// One file of one database, as /proc/locks names it.
struct LockedFile {
  FileId id;
  kernel::LockDevice device;
  bool shm = false;
};

class ProcLocksOf {
 public:
  ProcLocksOf(const std::vector<PosixLock>& locks, std::int64_t own_pid)
      : locks_(locks), own_pid_(own_pid) {}

  void Collect(const LockedFile& file, std::map<std::int64_t, KernelHolder>& holders,
               std::vector<KernelWaiter>& waiters) const {
    for (const PosixLock& lock : locks_) {
      if (lock.inode != file.id.inode || lock.device != file.device.device) continue;
      if (lock.pid == own_pid_ && !lock.waiting) continue;  // read from fdinfo, which is exact
      // Where several file systems share the device, the process must be seen to have this very
      // file.
      if (file.device.shared && Confirmed(lock, file.id) == false) continue;
      if (lock.waiting) {
        AddWaiter(lock, file.shm, waiters);
        continue;
      }
      KernelHolder& holder = holders[lock.pid];
      holder.pid = lock.pid;
      file.shm ? AddShmLock(lock, holder) : AddDatabaseLock(lock, holder);
    }
  }

 private:
  static std::optional<bool> Confirmed(const PosixLock& lock, const FileId& id) {
    return lock.waiting ? kernel::ProcessHasOpen(lock.pid, id.device, id.inode)
                        : kernel::ProcessHoldsLock(lock.pid, id.device, id.inode, &lock);
  }

  const std::vector<PosixLock>& locks_;
  std::int64_t own_pid_;
};

// ---- locks that /proc/locks leaves out ----

// Whether somebody outside our pid namespace holds what refuses such a lock on these bytes.
bool HeldOutside(int fd, bool write, const ByteRange& bytes) {
  const auto conflict = kernel::ProbeLock(fd, write, bytes.first, bytes.last);
  return conflict && conflict->pid == 0;
}

KernelHolder ProbeOutside(const Database& database, const kernel::OpenFiles& open_files) {
  KernelHolder outside;
  const auto database_fd = kernel::ReadableDescriptor(database.path, database.id, open_files);
  if (database_fd.ok()) {
    const int fd = database_fd.value();
    outside.pending = HeldOutside(fd, false, kPendingByte);
    outside.reserved = HeldOutside(fd, false, kReservedByte);
    outside.exclusive = HeldOutside(fd, false, kSharedRange);
    outside.shared = outside.exclusive || HeldOutside(fd, true, kSharedRange);
  }
  if (!database.shm.known()) return outside;
  const auto shm_fd = kernel::ReadableDescriptor(database.path + "-shm", database.shm, open_files);
  if (!shm_fd.ok()) return outside;
  for (int offset = 0; offset <= kOpenOffset; ++offset) {
    LockMode& mode = outside.shm.at(static_cast<std::size_t>(offset));
    if (HeldOutside(shm_fd.value(), false, ShmByte(offset))) {
      mode = LockMode::kExclusive;
    } else if (HeldOutside(shm_fd.value(), true, ShmByte(offset))) {
      mode = LockMode::kShared;
    }
  }
  return outside;
}

// ---- what the ledger explains ----

void Explain(const ledger::HeldBits& held, bool excl_vfs, KernelHolder& own) {
  if (held.database >= LockMode::kShared) {
    if (excl_vfs || held.database == LockMode::kExclusive) own.exclusive = false;
    if (!own.exclusive) own.shared = false;
  }
  if (held.Holds(LockMode::kReserved) || held.database >= LockMode::kReserved) own.reserved = false;
  if (held.database >= LockMode::kPending || excl_vfs) own.pending = false;
  for (int offset = 0; offset < kShmLockCount; ++offset) {
    LockMode& mode = own.shm.at(static_cast<std::size_t>(offset));
    if (held.Shm(offset) >= mode) mode = LockMode::kNone;
  }
  if (held.wal_open) own.shm.at(kOpenOffset) = LockMode::kNone;
}

// What was asked for, granted or let go between the two looks at the ledger, whatever came of it: a
// lock that lived in between leaves the time of its grant.
void ExplainMeanwhile(const ledger::SlotCopy& before, const ledger::SlotCopy& after,
                      KernelHolder& own) {
  const auto explains = [&](Resource resource, ledger::Ticks earlier, ledger::Ticks later) {
    return earlier != later || ledger::CallUnderWay::Unpack(before.call).Covers(resource) ||
           ledger::CallUnderWay::Unpack(after.call).Covers(resource);
  };
  for (int offset = 0; offset < kShmLockCount; ++offset) {
    const auto i = static_cast<std::size_t>(offset);
    if (explains(ShmResource(offset), before.shm_since.at(i), after.shm_since.at(i))) {
      own.shm.at(i) = LockMode::kNone;
    }
  }
  if (explains(Resource::kWalOpen, before.open_since, after.open_since)) {
    own.shm.at(kOpenOffset) = LockMode::kNone;
  }
  const bool same = std::equal(before.database_since.begin(), before.database_since.end(),
                               after.database_since.begin());
  if (explains(Resource::kDatabase, same ? 0 : 1, 0)) {
    own.shared = own.reserved = own.pending = own.exclusive = false;
  }
}

}  // namespace

KernelHolder OwnUnexplained(const Database& database, std::int64_t pid) {
  KernelHolder own;
  own.pid = pid;
  for (const auto& [file, locks] : database.own_locks) {
    if (!locks) continue;
    const bool shm = file == database.shm;
    if (!shm && file != database.id) continue;  // a file that is no longer of this name
    for (const PosixLock& lock : *locks) {
      if (lock.waiting) continue;
      shm ? AddShmLock(lock, own) : AddDatabaseLock(lock, own);
    }
  }
  for (const auto& view : database.own) {
    const bool excl_vfs = view.info.posix_locks && !view.info.posix_shm_locks;
    Explain(view.held, excl_vfs, own);
    const auto found = database.slots_before.find(view.info.id);
    const ledger::SlotCopy before =
        found != database.slots_before.end() ? found->second : ledger::SlotCopy{};
    Explain(ledger::HeldBits::Unpack(before.held), excl_vfs, own);
    ExplainMeanwhile(before, view.slot, own);
  }
  return own;
}

void ReadKernelView(std::vector<Database>& databases, std::int64_t pid,
                    const kernel::OpenFiles& open_files) {
  const auto locks = kernel::ReadProcLocks();
  for (Database& database : databases) {
    std::map<std::int64_t, KernelHolder> holders;
    if (locks && database.id.known()) {
      const ProcLocksOf proc_locks(*locks, kernel::OwnPidInProc().value_or(pid));
      proc_locks.Collect(
          {.id = database.id, .device = kernel::FindLockDevice(database.path, database.id.device)},
          holders, database.waiters);
      if (database.shm.known()) {
        const std::string shm = database.path + "-shm";
        proc_locks.Collect({.id = database.shm,
                            .device = kernel::FindLockDevice(shm, database.shm.device),
                            .shm = true},
                           holders, database.waiters);
      }
    }
    if (!database.own_unexplained.Nothing()) holders[pid] = database.own_unexplained;
    for (auto& [holder_pid, holder] : holders) {
      if (!holder.Nothing()) database.holders.push_back(holder);
    }
    if (database.id.known()) {
      KernelHolder outside = ProbeOutside(database, open_files);
      if (!outside.Nothing()) database.holders.push_back(outside);
    }
  }
}

}  // namespace lockscope::insight
