#include "ledger/registry_reader.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <system_error>
#include <utility>

#include "kernel/descriptors.h"
#include "kernel/process.h"
#include "ledger/registry.h"

namespace lockscope::ledger {
namespace {

constexpr std::int64_t kOpenFileDescriptionLock = -1;  // as ProbeLock tells its holder

std::uint64_t RecordOffset(std::uint32_t block, std::size_t record) {
  return BlockOffset(block) + kFirstRecord + record * sizeof(ConnectionRecord);
}

bool HoldsBlock(int fd, std::uint32_t block) {
  const auto conflict = kernel::ProbeLock(fd, true, kBlockByte + block, kBlockByte + block);
  // Owners write-lock it: whoever may only read the file can have no such lock.
  return conflict && conflict->write && conflict->pid == kOpenFileDescriptionLock;
}

bool AnyBlockHeld(int fd) {
  return kernel::ProbeLock(fd, true, kBlockByte, kBlockByte + kBlocksMax - 1).has_value();
}

// Ticks that are on another scale mean nothing here.
void ForgetTicks(SlotCopy& slot) {
  slot.last_call = slot.open_since = slot.want_since = slot.want_last = slot.want_gap = 0;
  slot.last_busy = 0;
  slot.shm_since.fill(0);
  slot.database_since.fill(0);
}

ProcessFacts FactsOf(const ProcessLayout<std::uint64_t>& words, std::uint64_t own_namespace) {
  ProcessFacts facts;
  facts.instance = words.instance;
  facts.own_pid = static_cast<std::int64_t>(words.pid);
  facts.pid_namespace = words.pid_namespace;
  facts.start_boottime_ns = words.start_boottime;
  const ProcessFlags flags = ProcessFlags::Unpack(words.flags);
  facts.guard = flags.guard;
  facts.same_ticks = flags.ticks == CurrentTickSource();
  facts.anchor = {.ticks = words.anchor_ticks,
                  .monotonic_ns = words.anchor_monotonic,
                  .realtime_ns = static_cast<std::int64_t>(words.anchor_realtime)};
  facts.application = kernel::Printable(LoadText(words.application));
  facts.command = kernel::Printable(LoadText(words.command));
  facts.sqlite_version = kernel::Printable(LoadText(words.sqlite_version));
  facts.sqlite_source_id = kernel::Printable(LoadText(words.sqlite_source));
  if (own_namespace != 0 && facts.pid_namespace == own_namespace) facts.pid = facts.own_pid;
  return facts;
}

// The pid namespace whose numbers /proc shows and we have; 0 for none: where /proc is another
// namespace's, what a process calls itself is somebody else's number there.
std::uint64_t NamespaceOfProc() {
  const bool same = kernel::OwnPidInProc() == static_cast<std::int64_t>(getpid());
  return same ? kernel::OwnPidNamespace().value_or(0) : 0;
}

// Whether the process that a lock stands for can be the one that wrote its name there.
bool MayBeAlive(const ProcessFacts& facts) {
  if (!facts.pid) return true;
  if (!kernel::MayExist(*facts.pid)) return false;
  const auto stat = kernel::StatOf(*facts.pid);
  if (!stat) return true;
  if (stat->ended) return false;
  return facts.start_boottime_ns == 0 ||
         stat->start_boottime_ns.value_or(facts.start_boottime_ns) == facts.start_boottime_ns;
}

}  // namespace

// ---- reading ----

RegistryReader::RegistryReader(const std::string& path, const FileId& database)
    : path_(path + kRegistrySuffix), database_path_(path), own_namespace_(NamespaceOfProc()) {
  HeaderState state = HeaderState::kForeign;
  try {
    state = Open(database);
  } catch (...) {
    CloseOpened(HeaderState::kForeign);
    throw;
  }
  if (state != HeaderState::kOurs) CloseOpened(state);
  if (!unavailable_.empty()) {
    unavailable_ = path_.substr(path_.rfind('/') + 1) + " " + unavailable_;
  }
}

RegistryReader::~RegistryReader() {
  if (fd_ >= 0) close(fd_);
}

// What is no registry may be a database, an empty one too.
void RegistryReader::CloseOpened(HeaderState state) {
  const int fd = std::exchange(fd_, -1);
  if (fd < 0) return;
  if (state == HeaderState::kForeign || state == HeaderState::kEmpty) {
    kernel::CloseOrKeep(fd);
  } else {
    close(fd);
  }
}

// kForeign too where it could not be read: unavailable_ says why, or there is none.
HeaderState RegistryReader::Open(const FileId& database) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  const auto failed = [this](int error) {
    unavailable_ = "cannot be read: " + std::generic_category().message(error);
    return HeaderState::kForeign;
  };
  struct stat facts {};
  struct stat database_facts {};
  if (lstat(path_.c_str(), &facts) != 0 || stat(database_path_.c_str(), &database_facts) != 0) {
    return errno != ENOENT ? failed(errno) : HeaderState::kForeign;
  }
  // What is certainly no sidecar is not even opened, as RegistryFile has it.
  unavailable_ = WhyUntrusted(facts, database_facts);
  if (!unavailable_.empty()) return HeaderState::kForeign;
  if (KnownForeign({.device = facts.st_dev, .inode = facts.st_ino})) {
    unavailable_ = Name(HeaderState::kForeign);
    return HeaderState::kForeign;
  }
  fd_ = open(path_.c_str(), kFlags);
  if (fd_ < 0) return errno != ENOENT ? failed(errno) : HeaderState::kForeign;
  if (fstat(fd_, &facts) != 0) return failed(errno);
  unavailable_ = WhyUntrusted(facts, database_facts);
  if (!unavailable_.empty()) return HeaderState::kForeign;
  const HeaderState state = JudgeFirstPage(fd_, database);
  unavailable_ = Name(state);
  return state;
}

// False at the end of the file too.
bool RegistryReader::ReadAt(std::uint64_t offset, void* to, std::size_t bytes) const {
  return pread(fd_, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

// The reader's rule of word.h, by system calls, which are not reordered.
template <class Layout>
bool RegistryReader::ReadPublished(std::uint64_t offset, Layout& copy, int attempts) const {
  for (int attempt = 0; attempt < attempts; ++attempt) {
    std::uint64_t before = 0;
    std::uint64_t after = 0;
    if (!ReadAt(offset, &before, sizeof before)) return false;
    if ((before & 1) == 0) {
      if (!ReadAt(offset + sizeof before, &copy, sizeof copy)) return false;
      if (!ReadAt(offset, &after, sizeof after)) return false;
      if (before == after) return true;
    }
    if (attempt > 10) Pause();
  }
  return false;
}

// A writer that is not running, or waits for its page to be written, is in mid-update for a while.
// One that has been stopped there, or a hostile one, holds nobody up for long.
void RegistryReader::Pause() const {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 200'000};
  if (pauses_left_ == 0) {
    sched_yield();
    return;
  }
  --pauses_left_;
  nanosleep(&kPause, nullptr);
}

// ---- who is alive ----

// Whether the block is held, and by the process of that instance.
bool RegistryReader::IsOf(std::uint32_t block, std::uint64_t wanted) const {
  constexpr std::uint64_t kInstance =
      sizeof(std::uint64_t) + offsetof(ProcessLayout<std::uint64_t>, instance);
  std::uint64_t instance = 0;
  return HoldsBlock(fd_, block) &&
         ReadAt(BlockOffset(block) + kInstance, &instance, sizeof instance) && instance == wanted;
}

std::shared_ptr<const ProcessFacts> RegistryReader::OwnerOf(std::uint32_t block, Alive* alive) {
  const std::uint64_t at = BlockOffset(block);
  ProcessLayout<std::uint64_t> words{};
  // What a dead owner has left in mid-update is not waited for.
  if (!ReadPublished(at, words, 1) && !(HoldsBlock(fd_, block) && ReadPublished(at, words))) {
    return nullptr;
  }
  if (words.instance == 0) return nullptr;
  // The name before and after the lock was seen: it is the holder's.
  if (words.instance == Registry::Process().instance() || !IsOf(block, words.instance)) {
    return nullptr;
  }
  if (ProcessFlags::Unpack(words.flags).hidden) return nullptr;
  auto& known = processes_[words.instance];
  if (known == nullptr) {
    known = std::make_shared<const ProcessFacts>(FactsOf(words, own_namespace_));
  }
  if (alive == nullptr) return known;
  // Once for all of its blocks.
  const auto [entry, first] = alive->emplace(words.instance, false);
  if (first) entry->second = MayBeAlive(*known);
  return entry->second ? known : nullptr;
}

std::vector<RegistryReader::Owner> RegistryReader::Owners(Dead dead) {
  std::vector<Owner> owners;
  if (fd_ < 0 || !AnyBlockHeld(fd_)) return owners;
  struct stat facts {};
  if (fstat(fd_, &facts) != 0) return owners;
  Alive alive;
  for (std::uint32_t block = 0; block < kBlocksMax; ++block) {
    if (BlockOffset(block + 1) > static_cast<std::uint64_t>(facts.st_size)) break;
    if (auto process = OwnerOf(block, dead == Dead::kAsked ? &alive : nullptr))
      owners.push_back({block, std::move(process)});
  }
  return owners;
}

// ---- records ----

namespace {

// A record begins with what is read of it at once.
constexpr std::size_t kSlotSequence =
    offsetof(ConnectionRecord, slot) + offsetof(ConnectionSlot, sequence);
constexpr std::size_t kSlotWordsAt =
    offsetof(ConnectionRecord, slot) + offsetof(ConnectionSlot, words);
constexpr std::size_t kSequencesBytes = kSlotSequence + sizeof(std::uint64_t);
constexpr std::size_t kTextsAt = offsetof(ConnectionRecord, slot) + offsetof(ConnectionSlot, sql);
static_assert(kTextsAt == kSlotWordsAt + sizeof(SlotCopy));
static_assert(offsetof(ConnectionRecord, identity) == 0);

using RecordHead = std::array<std::uint8_t, kSequencesBytes>;

std::uint64_t WordAt(const std::uint8_t* bytes, std::size_t offset) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes + offset, sizeof word);
  return word;
}

IdentityLayout<std::uint64_t> IdentityAt(const std::uint8_t* bytes) {
  IdentityLayout<std::uint64_t> words{};
  std::memcpy(&words, bytes + sizeof(std::uint64_t), sizeof words);
  return words;
}

RecordState StateOf(const IdentityLayout<std::uint64_t>& words) {
  const bool known = words.state <= static_cast<std::uint64_t>(RecordState::kClosed);
  return known ? static_cast<RecordState>(words.state) : RecordState::kFree;
}

// Neither the identity nor the slot is in mid-update.
bool AtRest(const RecordHead& head) {
  return ((WordAt(head.data(), 0) | WordAt(head.data(), kSlotSequence)) & 1) == 0;
}

bool SameSequences(const std::uint8_t* a, const RecordHead& b) {
  return WordAt(a, 0) == WordAt(b.data(), 0) &&
         WordAt(a, kSlotSequence) == WordAt(b.data(), kSlotSequence);
}

}  // namespace

ConnectionView RegistryReader::Identified(const Owner& owner,
                                          const IdentityLayout<std::uint64_t>& words) const {
  const IdentityFlags flags = IdentityFlags::Unpack(words.flags);
  ConnectionView view;
  view.process = owner.process;
  view.info = {.id = words.number,
               .database = {.device = words.database_device, .inode = words.database_inode},
               .posix_locks = flags.posix_locks,
               .posix_shm_locks = flags.posix_shm_locks,
               .barrier = flags.barrier,
               .immutable = flags.immutable,
               .unguarded = flags.unguarded,
               .publish = true,
               .thread = static_cast<std::int64_t>(words.thread),
               .opened = owner.process->same_ticks ? words.opened : 0};
  view.shm = {.device = words.shm_device, .inode = words.shm_inode};
  view.journal_mode = JournalModeOf(words.journal_mode);
  view.locking_mode = LockingModeOf(words.locking_mode);
  return view;
}

// kFree where it cannot be read.
RecordState RegistryReader::ReadIdentity(const Owner& owner, std::uint64_t record,
                                         ConnectionView& view) const {
  IdentityLayout<std::uint64_t> words{};
  if (!ReadPublished(record + offsetof(ConnectionRecord, identity), words)) {
    return RecordState::kFree;
  }
  view = Identified(owner, words);
  return StateOf(words);
}

// Those that the slot says it has, and whatever lies between them.
bool RegistryReader::ReadTexts(std::uint64_t record, const SlotCopy& slot) {
  std::size_t begin = sizeof texts_;
  std::size_t end = 0;
  for (std::size_t i = 0; i < kSqlSlots; ++i) {
    const std::uint64_t bytes = std::min<std::uint64_t>(slot.sql_bytes.at(i), kSqlBytes);
    if (bytes == 0) continue;
    begin = std::min(begin, i * kSqlBytes);
    end = i * kSqlBytes + static_cast<std::size_t>(bytes);
  }
  return end == 0 || ReadAt(record + kTextsAt + begin,
                            reinterpret_cast<std::uint8_t*>(&texts_) + begin, end - begin);
}

// The sequences before, everything, the sequences again: three system calls, four with texts. False
// where no connection is open there.
bool RegistryReader::ReadView(const Owner& owner, std::uint64_t offset, Texts texts,
                              ConnectionView& view) {
  constexpr int kAttempts = 50;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 10) Pause();
    RecordHead before{};
    RecordHead after{};
    if (!ReadAt(offset, before.data(), before.size())) return false;
    const bool identified = (WordAt(before.data(), 0) & 1) == 0;
    if (identified && StateOf(IdentityAt(before.data())) != RecordState::kOpen) return false;
    if (!AtRest(before)) continue;
    std::array<std::uint8_t, kTextsAt> head{};
    SlotCopy slot{};
    if (!ReadAt(offset, head.data(), head.size())) return false;
    std::memcpy(static_cast<void*>(&slot), head.data() + kSlotWordsAt, sizeof slot);
    if (texts == Texts::kWith && !ReadTexts(offset, slot)) return false;
    if (!ReadAt(offset, after.data(), after.size())) return false;
    if (!SameSequences(before.data(), after)) continue;
    const IdentityLayout<std::uint64_t> identity = IdentityAt(head.data());
    view = Identified(owner, identity);
    view.slot = slot;
    view.record = offset;
    if (texts == Texts::kWith) {
      view.info.path = database_path_;
      view.info.vfs = kernel::Printable(LoadText(identity.vfs));
      view.sql = TextsOf(slot, texts_);
    }
    view.held = HeldBits::Unpack(view.slot.held);
    if (!owner.process->same_ticks) ForgetTicks(view.slot);
    return true;
  }
  return false;
}

bool RegistryReader::Unchanged(const ConnectionView& view) {
  if (fd_ < 0 || view.process == nullptr || view.record < kRegistryPage) return false;
  const auto block = static_cast<std::uint32_t>((view.record - kRegistryPage) / kBlockBytes);
  ConnectionView now;
  return ReadView({.block = block, .process = view.process}, view.record, Texts::kWithout, now) &&
         now.info.id == view.info.id && now.slot.held == view.slot.held &&
         now.slot.call == view.slot.call && now.slot.last_call == view.slot.last_call &&
         IsOf(block, view.process->instance);
}

// What `read` finds in each owner's block, where it was that owner's to the end.
template <class Found, class Read>
std::vector<Found> RegistryReader::OfOwners(Read read, Dead dead) {
  std::vector<Found> all;
  std::vector<Found> of_block;
  for (const Owner& owner : Owners(dead)) {
    of_block.clear();
    for (std::size_t record = 0; record < kBlockRecords; ++record) {
      read(owner, RecordOffset(owner.block, record), of_block);
    }
    if (!IsOf(owner.block, owner.process->instance)) continue;
    std::move(of_block.begin(), of_block.end(), std::back_inserter(all));
  }
  return all;
}

std::vector<ConnectionView> RegistryReader::Views(Texts texts, Dead dead) {
  return OfOwners<ConnectionView>(
      [&](const Owner& owner, std::uint64_t record, std::vector<ConnectionView>& views) {
        ConnectionView view;
        if (ReadView(owner, record, texts, view)) views.push_back(std::move(view));
      },
      dead);
}

std::vector<ConnectionView> RegistryReader::Connections() {
  return Views(Texts::kWith, Dead::kAsked);
}

std::vector<ConnectionView> RegistryReader::ConnectionsAtAGlance() {
  return Views(Texts::kWithout, Dead::kNotAsked);
}

bool RegistryReader::ReadBarrier(const Owner& owner, std::uint64_t record,
                                 BarrierView& barrier) const {
  ConnectionView view;
  if (ReadIdentity(owner, record, view) != RecordState::kOpen || !view.info.barrier) return false;
  BarrierNoteLayout<std::uint64_t> words{};
  if (!ReadPublished(record + offsetof(ConnectionRecord, barrier), words)) return false;
  const bool known = words.state <= static_cast<std::uint64_t>(BarrierState::kLost);
  if (words.present != 1 || !known) return false;
  barrier.process = owner.process;
  barrier.connection = view.info.id;
  barrier.notice = {.token = kernel::Printable(LoadText(words.token)),
                    .label = kernel::Printable(LoadText(words.label)),
                    .kind = kernel::Printable(LoadText(words.kind)),
                    .members = {},
                    .since = owner.process->same_ticks ? words.since : 0,
                    .expires_monotonic_ns = words.expires,
                    .state = static_cast<BarrierState>(words.state)};
  std::string paths = LoadText(words.databases);
  while (!paths.empty()) {
    const std::size_t end = std::min(paths.find('\0'), paths.size());
    barrier.notice.members.push_back({.path = paths.substr(0, end), .database = {}});
    paths.erase(0, end + 1);
  }
  return true;
}

std::vector<BarrierView> RegistryReader::Barriers() {
  return OfOwners<BarrierView>(
      [&](const Owner& owner, std::uint64_t record, std::vector<BarrierView>& barriers) {
        BarrierView barrier;
        if (ReadBarrier(owner, record, barrier)) barriers.push_back(std::move(barrier));
      });
}

bool RegistryReader::ReadEvents(const Owner& owner, std::uint64_t record, EventRing& ring,
                                ConnectionEvents& events) const {
  const std::uint64_t at = record + offsetof(ConnectionRecord, ring);
  ConnectionView view;
  const RecordState state = ReadIdentity(owner, record, view);
  if (state == RecordState::kFree) return false;
  std::uint64_t head = 0;
  std::uint64_t now = 0;
  if (!ReadAt(at, &head, sizeof head) || !ReadAt(at, static_cast<void*>(&ring), sizeof ring) ||
      !ReadAt(at, &now, sizeof now)) {
    return false;
  }
  ConnectionView again;
  if (ReadIdentity(owner, record, again) == RecordState::kFree) return false;
  if (again.info.id != view.info.id) return false;
  events.process = owner.process;
  events.info = view.info;
  events.open = state == RecordState::kOpen;
  events.events = ring.Between(head, now, events.lost);
  if (owner.process->same_ticks) return true;
  for (RecordedEvent& event : events.events) event.at = event.duration_ticks = 0;
  return true;
}

std::vector<ConnectionEvents> RegistryReader::Events() {
  const auto ring = std::make_unique<EventRing>();
  return OfOwners<ConnectionEvents>(
      [&](const Owner& owner, std::uint64_t record, std::vector<ConnectionEvents>& all) {
        ConnectionEvents events;
        if (ReadEvents(owner, record, *ring, events)) all.push_back(std::move(events));
      });
}

bool RegistryReader::ReadNotes(const Owner& owner, std::uint64_t record,
                               ConnectionNotes& notes) const {
  ConnectionView view;
  const RecordState state = ReadIdentity(owner, record, view);
  if (state == RecordState::kFree) return false;
  RecoveryNotesLayout<std::uint64_t> recoveries;
  WaitNotesLayout<std::uint64_t> waits;
  // Most have none: that is one word each to ask for.
  const auto any = [&](std::size_t offset) {
    std::uint64_t written = 0;
    const std::uint64_t at = record + offset + offsetof(Published<WaitNotesLayout>, words);
    return ReadAt(at, &written, sizeof written) && written != 0;
  };
  constexpr std::size_t kRecoveries = offsetof(ConnectionRecord, recoveries);
  constexpr std::size_t kWaits = offsetof(ConnectionRecord, waits);
  if (any(kRecoveries) && ReadPublished(record + kRecoveries, recoveries)) {
    notes.recoveries = RecoveriesOf(recoveries);
  }
  if (any(kWaits) && ReadPublished(record + kWaits, waits)) notes.waits = WaitsOf(waits);
  if (notes.recoveries.empty() && notes.waits.empty()) return false;
  ConnectionView again;
  if (ReadIdentity(owner, record, again) == RecordState::kFree) return false;
  if (again.info.id != view.info.id) return false;
  notes.process = owner.process;
  notes.info = view.info;
  notes.open = state == RecordState::kOpen;
  if (owner.process->same_ticks) return true;
  for (RecoveryNote& note : notes.recoveries) note.started = note.ended = 0;
  for (WaitNote& note : notes.waits) note.began = note.last = note.ended = note.asked = 0;
  return true;
}

std::vector<ConnectionNotes> RegistryReader::Notes() {
  return OfOwners<ConnectionNotes>(
      [&](const Owner& owner, std::uint64_t record, std::vector<ConnectionNotes>& all) {
        ConnectionNotes notes;
        if (ReadNotes(owner, record, notes)) all.push_back(std::move(notes));
      });
}

void RegistryReader::AddStats(std::uint64_t offset, LockStats& copy, DatabaseStats& sum) const {
  if (!ReadAt(offset, static_cast<void*>(&copy), sizeof copy)) return;
  for (std::size_t i = 0; i < kStatKinds; ++i) {
    if (!copy.Empty(i)) copy.AddTo(sum.kinds.at(i), i);
  }
}

std::vector<DatabaseStats> RegistryReader::Stats() {
  const auto copy = std::make_unique<LockStats>();
  const auto of_blocks = OfOwners<DatabaseStats>(
      [&](const Owner& owner, std::uint64_t record, std::vector<DatabaseStats>& sums) {
        if (sums.empty()) {
          sums.push_back({.process = owner.process, .path = database_path_, .kinds = {}});
          AddStats(BlockOffset(owner.block) + kRegistryPage, *copy, sums.front());
        }
        ConnectionView view;
        if (ReadIdentity(owner, record, view) != RecordState::kOpen) return;
        AddStats(record + offsetof(ConnectionRecord, stats), *copy, sums.front());
      });
  std::map<std::uint64_t, DatabaseStats> by_instance;
  for (const DatabaseStats& of_block : of_blocks) {
    DatabaseStats& sum = by_instance[of_block.process->instance];
    sum.process = of_block.process;
    sum.path = of_block.path;
    for (std::size_t i = 0; i < kStatKinds; ++i) sum.kinds.at(i).Merge(of_block.kinds.at(i));
  }
  std::vector<DatabaseStats> all;
  all.reserve(by_instance.size());
  for (auto& [instance, of_process] : by_instance) all.push_back(std::move(of_process));
  return all;
}

}  // namespace lockscope::ledger
