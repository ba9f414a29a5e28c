#include "insight/look.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "insight/kernel_view.h"
#include "insight/pause.h"
#include "kernel/mounts.h"
#include "kernel/own_locks.h"
#include "kernel/process.h"

namespace lockscope::insight {
namespace {

using kernel::OpenFiles;

// Reads the beginning of a file; empty where it cannot be read.
std::vector<std::uint8_t> ReadHead(const std::string& path, const FileId& id, std::size_t bytes,
                                   const OpenFiles& open_files) {
  std::vector<std::uint8_t> head(bytes);
  // A borrowed descriptor may be closed by its owner at any time: then there is another way.
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const auto fd = attempt == 0 ? kernel::ReadableDescriptor(path, id, open_files)
                                 : kernel::ReadableDescriptor(path, id, OpenFiles::Scan());
    if (!fd.ok()) return {};
    if (const auto read = kernel::ReadAt(fd.value(), id, 0, head)) {
      head.resize(*read);
      return head;
    }
  }
  return {};
}

ledger::DatabaseFilter Belongs(const std::string& path, const FileId& id) {
  return [path, id](const std::string& other_path, const FileId& other_id) {
    return other_path == path || (id.known() && other_id == id);
  };
}

// A writer changes the two copies of the header one after the other: what is torn now is whole in a
// moment, unless the writer died there.
std::optional<format::WalIndex> ReadWalIndex(Database& database, const OpenFiles& open_files) {
  constexpr int kAttempts = 10;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::vector<std::uint8_t> head;
    if (database.shm.known()) {
      head = ReadHead(database.path + "-shm", database.shm, format::kWalIndexHeadBytes, open_files);
    } else {
      std::array<std::uint8_t, format::kWalIndexHeadBytes> bytes{};
      if (!ledger::Ledger::Process().CopyWalIndex(Belongs(database.path, database.id), bytes)) {
        return std::nullopt;
      }
      head.assign(bytes.begin(), bytes.end());
    }
    const format::WalIndex wal_index = format::DecodeWalIndex(head);
    database.wal_index_state = wal_index.state;
    if (wal_index.valid()) return wal_index;
    if (wal_index.state != format::WalIndexState::kTorn) return std::nullopt;
    Pause(200);
  }
  return std::nullopt;
}

void ReadFiles(Database& database, const OpenFiles& open_files) {
  if (const auto facts = kernel::StatPath(database.path)) {
    database.id = facts->id;
    database.bytes = facts->bytes;
    database.written_ns = facts->written_ns;
    const auto head = ReadHead(database.path, facts->id, format::kDatabaseHeaderBytes, open_files);
    database.header = format::DecodeDatabaseHeader(head);
  }
  if (const auto facts = kernel::StatPath(database.path + "-shm")) {
    if (S_ISREG(facts->mode)) database.shm = facts->id;
  }
  if (const auto facts = kernel::StatPath(database.path + "-wal")) {
    database.wal_exists = true;
    database.wal_bytes = facts->bytes;
    database.wal_written_ns = facts->written_ns;
  }
  const std::string journal = database.path + "-journal";
  if (const auto facts = kernel::StatPath(journal); facts && S_ISREG(facts->mode)) {
    database.journal.exists = true;
    database.journal.id = facts->id;
    database.journal.bytes = facts->bytes;
    database.journal.written_ns = facts->written_ns;
    const auto head = ReadHead(journal, facts->id, format::kJournalHeaderBytes, open_files);
    database.journal.content_may_be_hot = format::JournalContentMayBeHot(facts->bytes, head);
    const format::JournalHeader header = format::DecodeJournalHeader(head);
    if (header.magic) database.journal.initial_pages = header.initial_pages;
  }
}

void ReadWalState(Database& database, const OpenFiles& open_files) {
  const bool mapped = std::any_of(database.own.begin(), database.own.end(),
                                  [](const auto& view) { return view.held.wal_open; });
  const bool in_header = database.header && database.header->wal();
  // A database that was created in WAL mode has no header of its own until its first checkpoint.
  const bool maybe = in_header || mapped || (database.bytes == 0 && database.wal_exists);
  if (maybe) database.wal_index = ReadWalIndex(database, open_files);
  database.wal_mode = in_header || mapped || database.wal_index.has_value();
}

// ---- own locks: what the ledger says against what the kernel says ----

void ReadOwnLocks(Database& database) {
  constexpr int kTries = 3;
  std::set<FileId> files = {database.id, database.shm};
  for (const auto& view : database.own) files.insert({view.info.database, view.shm});
  for (int attempt = 0; attempt < kTries; ++attempt) {
    database.own_locks.clear();
    const OpenFiles open_files = OpenFiles::Scan();
    bool told = true;
    for (const FileId& file : files) {
      if (!file.known()) continue;
      const auto& locks = database.own_locks[file] = kernel::OwnLocksOn(file, open_files);
      told = told && locks.has_value();
    }
    if (told) return;
  }
}

void ReadOwn(Database& database, std::int64_t pid, Pains pains) {
  constexpr std::array<long, 5> kPausesUs = {0, 500, 2000, 5000, 10000};
  const auto belongs = Belongs(database.path, database.id);
  ledger::Ledger& ledger = ledger::Ledger::Process();
  std::optional<KernelHolder> unexplained;
  for (const long pause_us : kPausesUs) {
    if (pause_us > 0 && pains != Pains::kUsual) break;
    if (pause_us > 0) Pause(pause_us);
    const std::uint64_t closings = ledger.Closings();
    database.slots_before.clear();
    database.own = ledger.Connections(belongs);
    for (const auto& view : database.own) database.slots_before.emplace(KeyOf(view), view.slot);
    ReadOwnLocks(database);
    database.own = ledger.Connections(belongs);
    const KernelHolder now = OwnUnexplained(database, pid);
    // What a connection held that has been closed meanwhile, nobody tells any more.
    const bool conclusive = now.Nothing() || ledger.Closings() == closings;
    if (conclusive && unexplained) unexplained->KeepCommon(now);
    if (conclusive && !unexplained) unexplained = now;
    if (conclusive && unexplained->Nothing() && NothingIsLost(database, database.own)) break;
  }
  database.own_unexplained = unexplained.value_or(KernelHolder{});
}

}  // namespace

// Whether the kernel knows every lock that the ledger has. They may differ for a moment, between a
// lock call's return and its recording; a difference that stays is one.
bool NothingIsLost(const Database& database, const std::vector<ledger::ConnectionView>& views) {
  for (const auto& view : views) {
    for (int offset = 0; offset < kShmLockCount; ++offset) {
      const LockMode mode = view.held.Shm(offset);
      if (mode != LockMode::kNone && database.InKernel(view, ShmResource(offset), mode) == false) {
        return false;
      }
    }
    if (view.held.database != LockMode::kNone &&
        database.InKernel(view, Resource::kDatabase, view.held.database) == false) {
      return false;
    }
  }
  return true;
}

// ---- KernelHolder, Database ----

ConnectionKey KeyOf(const ledger::ConnectionView& view) {
  return {view.process != nullptr ? view.process->instance : 0, view.info.id};
}

std::vector<const ledger::ConnectionView*> Database::Connections() const {
  std::vector<const ledger::ConnectionView*> all;
  all.reserve(own.size() + others.size());
  for (const auto& view : own) all.push_back(&view);
  for (const auto& view : others) all.push_back(&view);
  return all;
}

bool KernelHolder::Nothing() const {
  return !pending && !reserved && !shared &&
         std::all_of(shm.begin(), shm.end(), [](LockMode mode) { return mode == LockMode::kNone; });
}

void KernelHolder::KeepCommon(const KernelHolder& other) {
  pending = pending && other.pending;
  reserved = reserved && other.reserved;
  shared = shared && other.shared;
  exclusive = exclusive && other.exclusive;
  for (std::size_t i = 0; i < shm.size(); ++i) shm[i] = std::min(shm[i], other.shm[i]);
}

LockMode KernelHolder::DatabaseMode() const {
  if (exclusive) return LockMode::kExclusive;
  if (pending) return LockMode::kPending;
  if (reserved) return LockMode::kReserved;
  return shared ? LockMode::kShared : LockMode::kNone;
}

std::uint32_t Database::PageBytes() const {
  if (wal_index && wal_index->page_size != 0) return wal_index->page_size;
  return header ? header->page_size : 0;
}

std::uint32_t Database::Pages() const {
  if (wal_index && wal_index->database_pages != 0) return wal_index->database_pages;
  return header ? header->database_pages : 0;
}

std::optional<bool> Database::Verified(const ledger::ConnectionView& view, Resource resource,
                                       LockMode mode) const {
  const auto held = InKernel(view, resource, mode);
  const auto call = ledger::CallUnderWay::Unpack(view.slot.call);
  return held == false && call.releasing && call.Covers(resource) ? std::nullopt : held;
}

namespace {

// Exclusive without RESERVED is held on PENDING and SHARED's bytes alone: the last decide.
// unix-excl write-locks these for whatever level it holds, and nothing else.
bool OnSharedRange(const ledger::ConnectionView& view, Resource resource, LockMode mode) {
  const bool excl_vfs = view.info.posix_locks && !view.info.posix_shm_locks;
  return resource == Resource::kDatabase && (mode == LockMode::kExclusive || excl_vfs);
}

bool OwnHeld(const ledger::ConnectionView& view, Resource resource, LockMode mode,
             const std::vector<kernel::PosixLock>& locks) {
  const ByteRange needed =
      OnSharedRange(view, resource, mode) ? kSharedRange : ProtocolBytes(resource, mode);
  const bool write = mode != LockMode::kShared;
  return std::any_of(locks.begin(), locks.end(), [&](const kernel::PosixLock& lock) {
    return !lock.waiting && lock.bytes.Contains(needed) && (lock.write || !write);
  });
}

bool OtherHeld(const ledger::ConnectionView& view, Resource resource, LockMode mode,
               const KernelHolder& holder) {
  if (IsShm(resource)) return holder.shm.at(static_cast<std::size_t>(ShmOffset(resource))) >= mode;
  if (OnSharedRange(view, resource, mode)) {
    return mode == LockMode::kShared ? holder.shared : holder.exclusive;
  }
  if (mode == LockMode::kReserved) return holder.reserved;
  return mode == LockMode::kPending ? holder.pending : holder.shared;
}

// Whether nothing happened to the lock between two copies of its connection's slot.
bool Unmoved(const ledger::SlotCopy& before, const ledger::SlotCopy& after, Resource resource,
             LockMode mode) {
  const auto since = [&](const ledger::SlotCopy& slot) {
    if (resource == Resource::kWalOpen) return slot.open_since;
    return IsShm(resource) ? slot.shm_since.at(static_cast<std::size_t>(ShmOffset(resource)))
                           : slot.database_since.at(ledger::LevelIndex(mode));
  };
  // An upgrade and its end in between may have moved the lock to another descriptor.
  return since(before) == since(after) && before.held == after.held &&
         before.last_call == after.last_call;
}

}  // namespace

std::optional<bool> Database::InKernel(const ledger::ConnectionView& view, Resource resource,
                                       LockMode mode) const {
  const bool shm_lock = IsShm(resource);
  if (shm_lock ? !view.info.posix_shm_locks : !view.info.posix_locks) return std::nullopt;
  bool held = false;
  if (view.process == nullptr || view.process->pid == own_pid) {
    const auto found = own_locks.find(shm_lock ? view.shm : view.info.database);
    if (found == own_locks.end() || !found->second) return std::nullopt;
    held = OwnHeld(view, resource, mode, *found->second);
  } else {
    // Of a file that has this name no longer, the kernel was not asked.
    if ((shm_lock ? view.shm : view.info.database) != (shm_lock ? shm : id)) return std::nullopt;
    if (!kernel_word) return std::nullopt;
    if (*kernel_word == KernelWord::kAsked && mode == LockMode::kShared &&
        MaySomebodyShare(resource)) {
      return std::nullopt;
    }
    const auto found = everything_held.find(view.process->pid);
    held = found != everything_held.end() && OtherHeld(view, resource, mode, found->second);
    if (!held && !view.process->pid && HeldByVisible(resource)) return std::nullopt;
  }
  if (held) return true;
  // Lost only if the ledger had the very same lock before the kernel was asked.
  const auto before = slots_before.find(KeyOf(view));
  if (before == slots_before.end() || !Unmoved(before->second, view.slot, resource, mode)) {
    return std::nullopt;
  }
  if (view.process == nullptr || !view.process->pid) return false;
  const ByteRange needed =
      OnSharedRange(view, resource, mode) ? kSharedRange : ProtocolBytes(resource, mode);
  return HeldByAsking(view, needed, shm_lock);
}

// Where the kernel was asked, who shares what is not known.
bool Database::MaySomebodyShare(Resource resource) const {
  const bool asked_for = resource >= ShmResource(0) && resource < Resource::kWalOpen;
  return !asked_for || (shm_shared >> ShmOffset(resource) & 1) != 0;
}

// What /proc/locks does not have is asked for: the list is read page by page while it changes, and
// on some file systems names the device otherwise than we think.
std::optional<bool> Database::HeldByAsking(const ledger::ConnectionView& view,
                                           const ByteRange& range, bool shm_lock) const {
  const auto fd = kernel::ReadableDescriptor(shm_lock ? path + "-shm" : path, shm_lock ? shm : id,
                                             OpenFiles::Scan());
  if (!fd.ok()) return std::nullopt;
  const auto conflict = kernel::ProbeLock(fd.value(), true, range.first, range.last);
  if (conflict && conflict->pid == view.process->pid) return true;
  // Of several the kernel names one. Where that one's lines were found, the list can be believed.
  if (conflict && !everything_held.contains(conflict->pid)) return std::nullopt;
  // The kernel was asked now, and the connection some time ago.
  return registry->Unchanged(view) ? std::optional(false) : std::nullopt;
}

// Of several locks on a byte the kernel tells one to who asks: then one that is outside our pid
// namespace may stand behind it.
bool Database::HeldByVisible(Resource resource) const {
  const auto has = [resource](const KernelHolder& holder) {
    if (resource == Resource::kDatabase) return holder.DatabaseMode() != LockMode::kNone;
    return holder.shm.at(static_cast<std::size_t>(ShmOffset(resource))) != LockMode::kNone;
  };
  const bool visible =
      std::any_of(everything_held.begin(), everything_held.end(),
                  [&](const auto& entry) { return entry.first && has(entry.second); });
  return visible || !own.empty() || has(own_unexplained);
}

// ---- Look ----

Look::Look()
    : now_(ledger::ClockAnchor::Take()), timeline_(ledger::ProcessAnchor(), now_), pid_(getpid()) {}

namespace {

double NsPerTick(const ledger::ClockAnchor& begin, const ledger::ClockAnchor& now) {
  return static_cast<double>(now.monotonic_ns - begin.monotonic_ns) /
         static_cast<double>(now.ticks - begin.ticks);
}

// Where ages are counted from: our own beginning, or that of the process which began first of all
// with the same ticks. The longer the line, the better it tells the counter's rate; a command has
// just begun. Others' word is taken where it agrees with what we have seen ourselves.
ledger::ClockAnchor OldestAnchor(const std::vector<Database>& databases,
                                 const ledger::ClockAnchor& now) {
  constexpr double kTolerance = 0.02;
  const ledger::ClockAnchor own = ledger::ProcessAnchor();
  if (own.ticks >= now.ticks || own.monotonic_ns >= now.monotonic_ns) return own;
  const double rate = NsPerTick(own, now);
  ledger::ClockAnchor oldest = own;
  for (const Database& database : databases) {
    for (const auto& view : database.others) {
      const ledger::ClockAnchor& anchor = view.process->anchor;
      if (!view.process->same_ticks || anchor.ticks >= oldest.ticks) continue;
      if (anchor.monotonic_ns >= oldest.monotonic_ns) continue;
      const double theirs = NsPerTick(anchor, now);
      if (theirs > rate * (1 - kTolerance) && theirs < rate * (1 + kTolerance)) oldest = anchor;
    }
  }
  return oldest;
}

}  // namespace

Look Look::At(const std::vector<std::string>& paths, Pains pains) {
  ledger::PrepareClock();
  kernel::CloseKeptDeleted();
  Look look;
  const OpenFiles open_files = OpenFiles::Scan();
  for (const std::string& path : paths) {
    Database& database = look.databases_.emplace_back();
    database.path = path;
    database.own_pid = look.pid_;
    ReadFiles(database, open_files);
    database.registry = std::make_unique<ledger::RegistryReader>(path, database.id);
  }
  for (Database& database : look.databases_) {
    ReadOwn(database, look.pid_, pains);
    ReadWalState(database, open_files);
  }
  ReadKernelView(look.databases_, look.pid_, open_files, pains);
  // Ages are told as of the end of the look, so that nothing recorded meanwhile lies in the future.
  look.now_ = ledger::ClockAnchor::Take();
  look.timeline_ = ledger::Timeline(OldestAnchor(look.databases_, look.now_), look.now_);
  return look;
}

std::optional<std::int64_t> Look::PidOf(const ledger::ConnectionView& view) const {
  return view.process != nullptr ? view.process->pid : pid_;
}

std::optional<std::string> Look::ProcessName(std::optional<std::int64_t> pid,
                                             const ledger::ConnectionView* view) const {
  if (!pid) {
    const bool told = view != nullptr && view->process != nullptr;
    return told && !view->process->command.empty() ? view->process->command
                                                   : "outside this pid namespace";
  }
  const auto found = process_names_.find(*pid);
  if (found != process_names_.end()) return found->second;
  return process_names_.emplace(*pid, kernel::ProcessName(*pid)).first->second;
}

std::optional<std::int64_t> Look::AgeMs(ledger::Ticks ticks) const {
  if (ticks == 0) return std::nullopt;
  return static_cast<std::int64_t>(timeline_.AgeNs(ticks) / 1'000'000);
}

std::optional<std::string> Look::Since(ledger::Ticks ticks) const {
  if (ticks == 0) return std::nullopt;
  return ledger::FormatUtc(timeline_.RealtimeNs(ticks));
}

}  // namespace lockscope::insight
