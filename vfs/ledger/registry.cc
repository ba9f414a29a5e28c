#include "ledger/registry.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <utility>

#include "kernel/process.h"
#include "model/fork_safe_mutex.h"
#include "settings/settings.h"

namespace lockscope::ledger {
namespace {

constexpr unsigned kAllUsed = (1U << kBlockRecords) - 1;

ForkSafeMutex& Mutex() {
  static constinit ForkSafeMutex mutex(LockRank::kRegistry);
  return mutex;
}

// As for the ledger: made early, so that no fork meets its making.
[[maybe_unused]] const Registry& g_made_early = Registry::Process();

constinit std::atomic<const HostSqlite*> g_host{nullptr};
const HostSqlite kUnknownHost;

std::uint64_t RandomNumber() {
  std::uint64_t number = 0;
  if (getrandom(&number, sizeof number, GRND_NONBLOCK) != sizeof number || number == 0) {
    number = Now() ^ static_cast<std::uint64_t>(getpid()) << 32;
  }
  return number | 1;
}

// ---- what a process tells of itself ----

// What does not change while the process lives.
struct ProcessFactSheet {
  pid_t pid = 0;
  std::uint64_t pid_namespace = 0;
  std::uint64_t start_boottime_ns = 0;
  std::string command;
};

ProcessFactSheet LookAtSelf() {
  ProcessFactSheet self;
  self.pid = getpid();
  self.pid_namespace = kernel::OwnPidNamespace().value_or(0);
  const std::int64_t in_proc = kernel::OwnPidInProc().value_or(self.pid);
  self.start_boottime_ns = kernel::ProcessStartBoottimeNs(in_proc).value_or(0);
  self.command = kernel::ProcessName(in_proc).value_or("");
  return self;
}

// REQUIRES: the mutex is held.
const ProcessFactSheet& Self() {
  static auto* const sheet = new ProcessFactSheet();
  if (sheet->pid != getpid()) *sheet = LookAtSelf();
  return *sheet;
}

}  // namespace

// What comes from the settings, whose mutex is to be taken before the registry's.
struct Registry::Chosen {
  std::string application = settings::Application().value_or("");
};

void Registry::Tell(Published<ProcessLayout>& process, std::uint64_t instance,
                    const Chosen& chosen) {
  const ProcessFactSheet& self = Self();
  const ClockAnchor& anchor = ProcessAnchor();
  const ProcessFlags flags{.hidden = settings::HiddenByProcess(),
                           .guard = settings::WalResetGuardWord(),
                           .ticks = CurrentTickSource()};
  auto& words = process.words;
  const Update update(process.sequence);
  words.instance.Store(instance);
  words.pid.Store(static_cast<std::uint64_t>(self.pid));
  words.pid_namespace.Store(self.pid_namespace);
  words.start_boottime.Store(self.start_boottime_ns);
  words.flags.Store(flags.Pack());
  words.anchor_ticks.Store(anchor.ticks);
  words.anchor_monotonic.Store(anchor.monotonic_ns);
  words.anchor_realtime.Store(static_cast<std::uint64_t>(anchor.realtime_ns));
  StoreText(words.application, chosen.application);
  StoreText(words.command, self.command);
  StoreText(words.sqlite_version, CurrentHostSqlite().version);
  StoreText(words.sqlite_source, CurrentHostSqlite().source_id);
}

namespace {

void Retract(Published<ProcessLayout>& process) {
  const Update update(process.sequence);
  process.words.instance.Store(0);
}

}  // namespace

void SetHostSqlite(HostSqlite host) {
  if (g_host.load() != nullptr) return;
  auto fresh = std::make_unique<const HostSqlite>(std::move(host));
  const HostSqlite* nobody = nullptr;
  if (g_host.compare_exchange_strong(nobody, fresh.get())) (void)fresh.release();  // for life
}

const HostSqlite& CurrentHostSqlite() {
  const HostSqlite* host = g_host.load();
  return host != nullptr ? *host : kUnknownHost;
}

Registry::Registry() : instance_(RandomNumber()) {
  ForkSafeMutex::OnFork(LockRank::kRegistry, ForgetInChild);
}

Registry& Registry::Process() {
  static Registry* const registry = new Registry();
  return *registry;
}

void Registry::ForgetInChild() {
  Registry& registry = Process();
  for (const auto& sidecar : registry.sidecars_) {
    sidecar->file.Abandon();
    for (const Block& block : sidecar->blocks) registry.Unmap(block.mapped);
  }
  registry.sidecars_.clear();
  // Records that were inherited are written to still: their addresses are not for others.
  registry.addresses_.clear();
  registry.instance_ = RandomNumber();
}

std::uint64_t Registry::instance() {
  const std::lock_guard lock(Mutex());
  return instance_;
}

// ---- memory ----

void* Registry::ReserveAddresses() {
  if (!addresses_.empty()) {
    void* address = addresses_.back();
    addresses_.pop_back();
    return address;
  }
  void* address = mmap(nullptr, kBlockBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return address == MAP_FAILED ? nullptr : address;
}

// Zeros take the place of the block, for those who came too late to know better than to write
// there. Where the kernel has none to give, the addresses are not ours to use again: the block may
// be mapped yet, or somebody else's memory may come to lie there. REQUIRES: Reserve(), but in a
// forked child.
void Registry::Unmap(RegistryBlock* mapped) {
  void* zeros = mmap(mapped, kBlockBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (zeros != MAP_FAILED && addresses_.size() < addresses_.capacity())
    addresses_.push_back(mapped);
}

namespace {

// Has pages written to before anybody relies on it: many faults at once, and an error where a fault
// would be SIGBUS. Kernels before 5.14 do not know how.
Status Touch(const void* begin, std::size_t bytes) {
#if defined(MADV_POPULATE_WRITE)
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t page = address & ~(kRegistryPage - 1);
  void* first = reinterpret_cast<void*>(page);  // NOLINT(performance-no-int-to-ptr)
  if (madvise(first, address + bytes - page, MADV_POPULATE_WRITE) != 0 &&
      (errno == EFAULT || errno == ENOMEM)) {
    return {SQLITE_CANTOPEN, "cannot be written: " + std::generic_category().message(errno)};
  }
#endif
  return {};
}

}  // namespace

// All that Map() and Drop() will need of memory, so that they cannot fail for want of it.
void Registry::Reserve(Sidecar& sidecar) {
  std::size_t mapped = sidecar.blocks.size();
  for (const auto& other : sidecars_) mapped += other->blocks.size();
  addresses_.reserve(addresses_.size() + mapped + 1);
  sidecar.blocks.reserve(sidecar.blocks.size() + 1);
  (void)Self();
}

// REQUIRES: Reserve().
Status Registry::Map(Sidecar& sidecar, const RegistryFile::Block& block, const Chosen& chosen) {
  const auto failed = [] {
    return Status{SQLITE_NOMEM, "cannot be mapped: " + std::generic_category().message(errno)};
  };
  void* address = ReserveAddresses();
  if (address == nullptr) return failed();
  void* mapped = mmap(address, kBlockBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                      sidecar.file.fd(), static_cast<off_t>(BlockOffset(block.number)));
  if (mapped == MAP_FAILED) {
    Status status = failed();
    Unmap(static_cast<RegistryBlock*>(address));
    return status;
  }
  auto* fresh = static_cast<RegistryBlock*>(mapped);
  if (Status status = Touch(fresh, kFirstRecord); !status.ok()) {
    Unmap(fresh);
    return status;
  }
  if (!block.zeros) {
    // Whatever a dead process, or a hostile one, has left there.
    std::memset(static_cast<void*>(&fresh->closed), 0, sizeof fresh->closed);
  }
  // Not where another owner's has been.
  auto& process = fresh->page.process;
  process.sequence.store(RandomNumber() & ~std::uint64_t{1}, std::memory_order_relaxed);
  Tell(process, instance_, chosen);
  sidecar.blocks.push_back({.mapped = fresh, .number = block.number, .zeros = block.zeros});
  return {};
}

// ---- entering ----

Registry::Sidecar* Registry::Find(const std::string& path, const FileId& database) {
  for (const auto& sidecar : sidecars_) {
    if (sidecar->path == path && sidecar->database == database && sidecar->file.Current()) {
      return sidecar.get();
    }
  }
  return nullptr;
}

Registry::Lease Registry::Enter(const std::string& path, const FileId& database,
                                Totals (*totals)(const std::string& path)) {
  if (!database.known()) return {.refusal = "no file of that name"};
  try {
    const Chosen chosen;
    const std::lock_guard lock(Mutex());
    Lease lease = EnterLocked(path, database, chosen);
    if (lease.first && totals != nullptr) AddTotals(lease, totals, path);
    if (!lease.refusal.empty()) {
      lease.refusal = path.substr(path.rfind('/') + 1) + kRegistrySuffix + " " + lease.refusal;
    }
    return lease;
  } catch (const std::bad_alloc&) {
    return {.refusal = "no memory"};
  }
}

Registry::Lease Registry::EnterLocked(const std::string& path, const FileId& database,
                                      const Chosen& chosen) {
  Sidecar* sidecar = Find(path, database);
  if (sidecar == nullptr) {
    sidecars_.reserve(sidecars_.size() + 1);
    auto file = RegistryFile::Enter(path, database);
    if (!file.ok()) return {.refusal = file.status().message};
    auto fresh = std::make_unique<Sidecar>(
        Sidecar{.path = path, .database = database, .file = std::move(file.value()), .blocks = {}});
    Reserve(*fresh);
    if (const Status status = Map(*fresh, fresh->file.blocks().front(), chosen); !status.ok()) {
      return {.refusal = status.message};
    }
    sidecar = fresh.get();
    sidecars_.push_back(std::move(fresh));
  }
  auto block = std::find_if(sidecar->blocks.begin(), sidecar->blocks.end(),
                            [](const Block& of) { return of.used != kAllUsed; });
  if (block == sidecar->blocks.end()) {
    Reserve(*sidecar);
    const auto claimed = sidecar->file.Claim();
    if (!claimed.ok()) return {.refusal = claimed.status().message};
    if (const Status status = Map(*sidecar, claimed.value(), chosen); !status.ok()) {
      sidecar->file.GiveBack(claimed.value().number);
      return {.refusal = status.message};
    }
    block = std::prev(sidecar->blocks.end());
  }
  unsigned index = 0;
  while ((block->used >> index & 1U) != 0) ++index;
  const unsigned bit = 1U << index;
  ConnectionRecord& record = block->mapped->records.at(index);
  if ((block->known & bit) != 0) {
    record.Clear();
  } else {
    if (const Status status = sidecar->file.MakeRoom(block->number, index); !status.ok()) {
      if (!sidecar->used) Drop(*sidecar);  // entered for nothing
      return {.refusal = status.message};
    }
    if (const Status status = Touch(&record, sizeof record); !status.ok()) {
      if (!sidecar->used) Drop(*sidecar);
      return {.refusal = status.message};
    }
    if (!block->zeros) std::memset(static_cast<void*>(&record), 0, sizeof record);
    block->known |= bit;
  }
  block->used |= bit;
  return {.record = &record, .first = !std::exchange(sidecar->used, true)};
}

// ---- leaving ----

void Registry::Drop(const Sidecar& sidecar) {
  const auto found = std::find_if(sidecars_.begin(), sidecars_.end(),
                                  [&sidecar](const auto& of) { return of.get() == &sidecar; });
  // In this order: whoever still writes to a record of ours must not meet the block's next owner.
  for (const Block& block : sidecar.blocks) {
    Retract(block.mapped->page.process);
    Unmap(block.mapped);
  }
  (*found)->file.Leave();
  sidecars_.erase(found);
}

Registry::Sidecar* Registry::SidecarOf(const ConnectionRecord* record) {
  for (const auto& sidecar : sidecars_) {
    for (const Block& block : sidecar->blocks) {
      const auto* first = block.mapped->records.data();
      if (record >= first && record < first + kBlockRecords) return sidecar.get();
    }
  }
  return nullptr;
}

// Before any other connection of ours can add to them by closing. Without memory others are told
// less.
void Registry::AddTotals(const Lease& lease, Totals (*totals)(const std::string& path),
                         const std::string& path) noexcept {
  try {
    LockStats& closed = SidecarOf(lease.record)->blocks.front().mapped->closed;
    for (const auto& [kind, counts] : totals(path)) closed.Add(kind, counts);
  } catch (const std::bad_alloc&) {
    return;
  }
}

void Registry::Leave(const ConnectionRecord* record) {
  const std::lock_guard lock(Mutex());
  Sidecar* sidecar = SidecarOf(record);
  if (sidecar == nullptr) return;
  bool unused = true;
  for (Block& block : sidecar->blocks) {
    const auto* first = block.mapped->records.data();
    if (record >= first && record < first + kBlockRecords) {
      block.used &= ~(1U << static_cast<unsigned>(record - first));
    }
    unused = unused && block.used == 0;
  }
  if (unused) {
    Drop(*sidecar);
    return;
  }
  LockStats& closed = sidecar->blocks.front().mapped->closed;
  for (std::size_t i = 0; i < kStatKinds; ++i) {
    if (!record->stats.Empty(i)) closed.Add(i, record->stats.Copy(i));
  }
}

void Registry::SettingsChanged() {
  // Again, where another thread has set the name meanwhile: the last word is to stand there.
  Chosen chosen;
  while (true) {
    {
      const std::lock_guard lock(Mutex());
      for (const auto& sidecar : sidecars_) {
        for (const Block& block : sidecar->blocks) {
          Tell(block.mapped->page.process, instance_, chosen);
        }
      }
    }
    Chosen now;
    if (now.application == chosen.application) return;
    chosen = std::move(now);
  }
}

}  // namespace lockscope::ledger
