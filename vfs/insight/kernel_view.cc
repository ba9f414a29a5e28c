#include "insight/kernel_view.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <utility>

#include "insight/asked_locks.h"
#include "insight/pause.h"
#include "kernel/mounts.h"
#include "kernel/proc_locks.h"
#include "kernel/process.h"

namespace lockscope::insight {
namespace {

using kernel::PosixLock;

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

// ---- what the ledger explains ----

void ExplainHeld(const ledger::HeldBits& held, bool excl_vfs, KernelHolder& own) {
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
    ExplainHeld(view.held, excl_vfs, own);
    const auto found = database.slots_before.find(KeyOf(view));
    const ledger::SlotCopy before =
        found != database.slots_before.end() ? found->second : ledger::SlotCopy{};
    ExplainHeld(ledger::HeldBits::Unpack(before.held), excl_vfs, own);
    ExplainMeanwhile(before, view.slot, own);
  }
  return own;
}

namespace {

// The connections that other processes publish, as they told before the kernel was asked and after.
class Others {
 public:
  Others(std::vector<ledger::ConnectionView> before, std::vector<ledger::ConnectionView> after,
         const std::map<std::int64_t, KernelHolder>& holders)
      : before_(std::move(before)), after_(std::move(after)) {
    Recognise(holders);
    std::map<ConnectionKey, Pair> pairs;
    for (const auto& view : before_) pairs[KeyOf(view)].before = &view;
    for (const auto& view : after_) pairs[KeyOf(view)].after = &view;
    for (const auto& [key, pair] : pairs) {
      const ledger::ConnectionView* view = pair.after != nullptr ? pair.after : pair.before;
      by_pid_[view->process->pid].push_back(pair);
    }
  }

  bool Publish(std::optional<std::int64_t> pid) const { return by_pid_.count(pid) > 0; }

  // Takes from what a process holds whatever they explain.
  void Explain(std::optional<std::int64_t> pid, KernelHolder& holder) const {
    const auto found = by_pid_.find(pid);
    if (found == by_pid_.end()) return;
    for (const Pair& pair : found->second) {
      static const ledger::SlotCopy kNothing{};
      for (const ledger::ConnectionView* view : {pair.before, pair.after}) {
        if (view == nullptr) continue;
        const bool excl_vfs = view->info.posix_locks && !view->info.posix_shm_locks;
        ExplainHeld(view->held, excl_vfs, holder);
      }
      ExplainMeanwhile(pair.before != nullptr ? pair.before->slot : kNothing,
                       pair.after != nullptr ? pair.after->slot : kNothing, holder);
    }
  }

  const std::vector<ledger::ConnectionView>& before() const { return before_; }
  const std::vector<ledger::ConnectionView>& after() const { return after_; }

 private:
  struct Pair {
    const ledger::ConnectionView* before = nullptr;
    const ledger::ConnectionView* after = nullptr;
  };
  using Facts = std::shared_ptr<const ledger::ProcessFacts>;

  // A process in a pid namespace below ours has a number here too: that of the kernel's holder that
  // was started when it says, and has the number there that it says.
  void Recognise(const std::map<std::int64_t, KernelHolder>& holders) {
    std::map<std::uint64_t, Facts> known;
    for (auto* views : {&before_, &after_}) {
      for (ledger::ConnectionView& view : *views) {
        if (view.process->pid) continue;
        Facts& facts = known[view.process->instance];
        if (facts == nullptr) facts = WithPid(view.process, holders);
        view.process = facts;
      }
    }
  }

  static Facts WithPid(const Facts& facts, const std::map<std::int64_t, KernelHolder>& holders) {
    if (facts->start_boottime_ns == 0) return facts;
    for (const auto& [pid, holder] : holders) {
      if (kernel::ProcessStartBoottimeNs(pid) != facts->start_boottime_ns) continue;
      if (kernel::InnermostPid(pid) != facts->own_pid) continue;
      const auto pid_namespace = kernel::PidNamespaceOf(pid);
      if (pid_namespace && *pid_namespace != facts->pid_namespace) continue;
      auto recognised = std::make_shared<ledger::ProcessFacts>(*facts);
      recognised->pid = pid;
      return recognised;
    }
    return facts;
  }

  std::vector<ledger::ConnectionView> before_;
  std::vector<ledger::ConnectionView> after_;
  std::map<std::optional<std::int64_t>, std::vector<Pair>> by_pid_;
};

// What other processes hold on one database, as the kernel told.
struct Heard {
  std::optional<KernelWord> word{};  // null: it did not tell
  std::map<std::int64_t, KernelHolder> holders{};
  KernelHolder outside{};
};

// One database's part of a look at the kernel.
class KernelLook {
 public:
  KernelLook(Database& database, std::int64_t pid, const kernel::OpenFiles& open_files)
      : database_(database), pid_(pid), open_files_(open_files) {}

  // Just before the kernel is asked.
  void Begin() { before_ = database_.registry->ConnectionsAtAGlance(); }

  // Just after /proc/locks was read. True where it all fits together; a difference that only a
  // moment made is gone when both are called again.
  bool Finish(const std::optional<std::vector<PosixLock>>& locks) {
    Heard heard;
    database_.waiters.clear();
    if (locks) {
      heard.word = KernelWord::kListed;
      Collect(*locks, heard.holders);
    }
    if (database_.id.known()) heard.outside = AskForOutside(database_, open_files_);
    return Conclude(heard);
  }

  // Asks byte by byte.
  void Ask() {
    Heard heard;
    if (const auto asked = AskForExclusive(database_, open_files_, pid_)) {
      heard.word = KernelWord::kAsked;
      database_.shm_shared = asked->shm_shared;
      for (const auto& [pid, holder] : asked->holders) {
        if (pid) {
          heard.holders.emplace(*pid, holder);
        } else {
          heard.outside = holder;
        }
      }
    }
    Conclude(heard);
  }

 private:
  void Collect(const std::vector<PosixLock>& locks, std::map<std::int64_t, KernelHolder>& holders) {
    if (!database_.id.known()) return;
    const ProcLocksOf proc_locks(locks, kernel::OwnPidInProc().value_or(pid_));
    if (!device_) device_ = kernel::FindLockDevice(database_.path, database_.id.device);
    proc_locks.Collect({.id = database_.id, .device = *device_}, holders, database_.waiters);
    if (!database_.shm.known()) return;
    if (!shm_device_) {
      shm_device_ = kernel::FindLockDevice(database_.path + "-shm", database_.shm.device);
    }
    proc_locks.Collect({.id = database_.shm, .device = *shm_device_, .shm = true}, holders,
                       database_.waiters);
  }

  bool Conclude(const Heard& heard) {
    const Others others(std::move(before_), database_.registry->Connections(), heard.holders);
    Remember(others, heard);
    database_.holders.clear();
    const bool listed = heard.word == KernelWord::kListed;
    bool settled = !listed || NothingIsLost(database_, database_.others);
    for (const auto& [pid, holder] : heard.holders) settled = Add(others, pid, holder) && settled;
    settled = Add(others, pid_, database_.own_unexplained) && settled;
    return Add(others, std::nullopt, heard.outside) && settled;
  }

  void Remember(const Others& others, const Heard& heard) {
    database_.others = others.after();
    std::erase_if(database_.slots_before, [](const auto& entry) { return entry.first.first != 0; });
    for (const auto& view : others.before()) {
      database_.slots_before.emplace(KeyOf(view), view.slot);
    }
    database_.everything_held.clear();
    for (const auto& [pid, holder] : heard.holders) database_.everything_held.emplace(pid, holder);
    database_.everything_held.emplace(std::nullopt, heard.outside);
    database_.kernel_word = heard.word;
  }

  // Of one that publishes its connections, what they do not explain, however often it is asked.
  bool Add(const Others& others, std::optional<std::int64_t> pid, KernelHolder holder) {
    bool settled = true;
    if (others.Publish(pid)) {
      others.Explain(pid, holder);
      const auto [entry, first] = unexplained_.emplace(pid, holder);
      const KernelHolder before = entry->second;
      entry->second.KeepCommon(holder);
      holder = entry->second;
      // Twice the same is no moment's difference: a connection that it does not publish.
      settled = holder.Nothing() || (!first && holder == before);
    }
    if (!holder.Nothing()) database_.holders.push_back(holder);
    return settled;
  }

  Database& database_;
  std::int64_t pid_;
  const kernel::OpenFiles& open_files_;
  std::optional<kernel::LockDevice> device_;  // found when /proc/locks is read first
  std::optional<kernel::LockDevice> shm_device_;
  std::vector<ledger::ConnectionView> before_;
  std::map<std::optional<std::int64_t>, KernelHolder> unexplained_;
};

}  // namespace

void ReadKernelView(std::vector<Database>& databases, std::int64_t pid,
                    const kernel::OpenFiles& open_files, Pains pains) {
  std::vector<KernelLook> looks;
  looks.reserve(databases.size());
  for (Database& database : databases) looks.emplace_back(database, pid, open_files);
  if (pains == Pains::kFew) {
    for (KernelLook& look : looks) {
      look.Begin();
      look.Ask();
    }
    return;
  }
  // A process may be between a lock call and its record: that is over in a moment.
  constexpr std::array<long, 4> kPausesUs = {0, 500, 2000, 5000};
  for (const long pause_us : kPausesUs) {
    if (pause_us > 0 && pains != Pains::kUsual) return;
    if (pause_us > 0) Pause(pause_us);
    for (KernelLook& look : looks) look.Begin();
    const auto locks = kernel::ReadProcLocks();
    bool settled = true;
    for (KernelLook& look : looks) settled = look.Finish(locks) && settled;
    if (settled) return;
  }
}

}  // namespace lockscope::insight
