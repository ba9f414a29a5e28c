#include "ledger/connection.h"

#include <algorithm>
#include <cstring>

namespace lockscope::ledger {
namespace {

constexpr std::uint8_t Bit(LockMode level) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(level));
}

// REQUIRES: 0 <= offset, offset + count <= kShmLockCount, as SQLite asserts.
constexpr std::uint8_t ShmMask(int offset, int count) {
  const unsigned bits = 0xffU >> (static_cast<unsigned>(kShmLockCount - count) & 7U);
  return static_cast<std::uint8_t>(bits << (static_cast<unsigned>(offset) & 7U));
}
static_assert(ShmMask(0, 8) == 0xff && ShmMask(3, 1) == 0x08 && ShmMask(4, 4) == 0xf0);

// Of wal-index locks, in HeldBits::Pack().
constexpr std::uint64_t ShmBits(int offset, int count, LockMode mode) {
  const int shift = mode == LockMode::kShared ? kHeldSharedShift : kHeldExclusiveShift;
  return std::uint64_t{ShmMask(offset, count)} << shift;
}
constexpr std::uint64_t ShmBits(int offset, int count) {
  return ShmBits(offset, count, LockMode::kShared) | ShmBits(offset, count, LockMode::kExclusive);
}

constexpr std::uint8_t Without(std::uint8_t bits, std::uint8_t mask) {
  return static_cast<std::uint8_t>(bits & ~mask);
}

// Without a statement to tell by, a refused request that is not repeated for so long has been given
// up.
constexpr Ticks kGivenUpTicks = Ticks{1} << 32;

}  // namespace

ConnectionRecord& Connection::Nobodys() noexcept {
  static constinit ConnectionRecord record;
  return record;
}

Connection::Connection() noexcept : record_(&Nobodys()) {
  static_assert(sizeof record_ + sizeof id_ + sizeof sql_id_ + sizeof written_statement_ <= 64);
}

const char* Name(JournalMode mode) {
  static constexpr std::array<const char*, 6> kNames = {"delete", "truncate", "persist",
                                                        "memory", "off",      "wal"};
  return kNames.at(static_cast<std::size_t>(mode));
}

// REQUIRES: an Update is under way.
inline void Connection::Publish(std::uint64_t held, const CallContext& context,
                                Ticks now) noexcept {
  record().slot.words.held.Store(hot::WithAutocommit(held, context.autocommit));
  record().slot.words.last_call.Store(now);
}

// REQUIRES: an Update is under way.
inline void Connection::TakeSql(SqlSlot slot, const StatementText* statement) noexcept {
  const std::uint64_t text = statement != nullptr ? statement->id() : 0;
  if (sql_id_[static_cast<std::size_t>(slot)] != text) CopySql(slot, statement);
}

// REQUIRES: an Update is under way.
void Connection::CopySql(SqlSlot slot, const StatementText* statement) noexcept {
  const auto index = static_cast<std::size_t>(slot);
  auto& words = record().slot.words;
  if (statement == nullptr || !statement->known()) {
    sql_id_[index] = 0;
    words.sql_bytes[index].Store(0);
    return;
  }
  sql_id_[index] = statement->id();
  const std::string_view text = statement->text();
  for (std::size_t word = 0; word * 8 < text.size(); ++word) {
    std::uint64_t value = 0;
    std::memcpy(&value, text.data() + word * 8, 8);  // the buffer behind it is whole words long
    record().slot.sql[index][word].Store(value);
  }
  words.sql_bytes[index].Store(text.size());
}

// ---- refusals and waits ----

void Connection::ReviewWait(Ticks now, const CallContext& context) noexcept {
  auto& words = record().slot.words;
  const bool same_statement = context.statement_number != 0
                                  ? context.statement_number == want_statement_
                                  : now - words.want_last.Own() < kGivenUpTicks;
  if (!same_statement) ForgetWait(WaitOutcome::kBusy, now);
}

void Connection::ForgetWait(WaitOutcome outcome, Ticks now) noexcept {
  record().slot.words.want.Store(0);
  if (waiting_is_noted_) [[unlikely]]
    EndNote(outcome, now);
}

namespace {

// Whether the grant is what was waited for.
bool IsWhatWas(const Event& wanted, Resource resource, int count, LockMode mode) {
  const int first = static_cast<int>(resource);
  const int wanted_first = static_cast<int>(wanted.resource);
  if (first <= wanted_first && wanted_first < first + count && mode >= wanted.to) return true;
  // Any read slot will do for a reader; which one it asks for changes as the WAL grows. One that
  // was told of a recovery has asked for its lock only to be told.
  const bool reads = wanted.to == LockMode::kShared &&
                     (IsReadSlot(wanted.resource) || wanted.resource == Resource::kWalRecover);
  return reads && IsReadSlot(resource) && mode == LockMode::kShared;
}

}  // namespace

void Connection::EndWait(Resource resource, int count, LockMode mode, Ticks now) noexcept {
  auto& words = record().slot.words;
  const auto wanted = Event::Unpack(words.want.Own());
  if (!wanted || !IsWhatWas(*wanted, resource, count, mode)) return;
  const Ticks since = words.want_since.Own();
  record()
      .stats.wait(StatIndex(wanted->resource, wanted->to))
      .Record(now > since ? now - since : 0);
  ForgetWait(WaitOutcome::kAcquired, now);
}

// REQUIRES: an Update is under way.
void Connection::StoreWant(const Event& wanted, Ticks now, const CallContext& context) noexcept {
  auto& words = record().slot.words;
  const auto pending = refused();
  if (pending && pending->AsksTheSame(wanted)) {
    words.want_gap.Store(now - words.want_last.Own());
    words.want_refusals.Add(1);
  } else {
    words.want_since.Store(now);
    words.want_gap.Store(0);
    words.want_refusals.Store(1);
  }
  words.want_last.Store(now);
  words.want.Store(wanted.Pack());
  TakeSql(SqlSlot::kWant, context.statement);
  want_statement_ = context.statement_number;
}

void Connection::Refused(const Event& wanted, Ticks duration, Ticks now,
                         const CallContext& context) noexcept {
  auto& words = record().slot.words;
  for (int i = 0; i < wanted.count; ++i) {
    const auto resource = static_cast<Resource>(static_cast<int>(wanted.resource) + i);
    record().stats.counters(StatIndex(resource, wanted.to)).refused.Add(1);
  }
  {
    const Update update(record().slot.sequence);
    words.busy_count.Add(1);
    words.last_busy.Store(now);
    StoreWant(wanted, now, context);
    Publish(words.held.Own(), context, now);
  }
  if (duration == kNotMeasured) {
    record().ring.Append(wanted.Pack(), now);
  } else {
    record().ring.AppendMeasured(wanted.Pack(), now, duration);
  }
}

// ---- the database file ----

void Connection::DatabaseLocked(LockMode level, Ticks now, const CallContext& context) noexcept {
  HeldBits bits = held();
  const LockMode before = bits.database;
  if (HasRefusal()) [[unlikely]] {
    ReviewWait(now, context);
    EndWait(Resource::kDatabase, 1, level, now);
  }
  if (level > before) {
    const Update update(record().slot.sequence);
    bits.database = level;
    bits.database_levels = static_cast<std::uint8_t>(bits.database_levels | Bit(level));
    record().slot.words.database_since[LevelIndex(level)].Store(now);
    TakeSql(SqlSlot::kDatabase, context.statement);
    if (level == LockMode::kShared) shared_sql_id_ = recorded_text(SqlSlot::kDatabase);
    Publish(bits.Pack(), context, now);
  }
  if (before == LockMode::kNone) read_statement_ = context.statement_number;
  if (level > before) CountGrant(Resource::kDatabase, level);
  record().ring.Append(Event{.operation = Operation::kLock, .from = before, .to = level}.Pack(),
                       now);
}

void Connection::DatabaseRefused(LockMode wanted, LockMode actual, int result, Ticks duration,
                                 Ticks now, const CallContext& context) noexcept {
  HeldBits bits = held();
  const LockMode before = bits.database;
  if (HasRefusal()) ReviewWait(now, context);
  if (actual > before) {
    const Update update(record().slot.sequence);
    bits.database = actual;
    bits.database_levels = static_cast<std::uint8_t>(bits.database_levels | Bit(actual));
    record().slot.words.database_since[LevelIndex(actual)].Store(now);
    TakeSql(SqlSlot::kDatabase, context.statement);
    Publish(bits.Pack(), context, now);
  }
  if (actual > before) CountGrant(Resource::kDatabase, actual);
  Refused(Event{.operation = Operation::kLock,
                .from = before,
                .to = wanted,
                .result = static_cast<std::uint16_t>(result)},
          duration, now, context);
}

void Connection::ReleaseLevelsAbove(LockMode level, HeldBits& held, Ticks now) noexcept {
  for (LockMode released :
       {LockMode::kExclusive, LockMode::kPending, LockMode::kReserved, LockMode::kShared}) {
    if (released <= level || !held.Holds(released)) continue;
    CountRelease(Resource::kDatabase, released,
                 record().slot.words.database_since[LevelIndex(released)].Own(), now);
    held.database_levels = Without(held.database_levels, Bit(released));
  }
  held.database = level;
  if (level < LockMode::kExclusive) held.rolled_back = false;
}

void Connection::DatabaseUnlocked(LockMode level, int result, Ticks now,
                                  const CallContext& context) noexcept {
  const HeldBits held_before = held();
  HeldBits bits = held_before;
  const LockMode before = bits.database;
  if (HasRefusal()) [[unlikely]]
    ReviewWait(now, context);
  if (level < before) {
    ReleaseLevelsAbove(level, bits, now);
    const Update update(record().slot.sequence);
    // What is left is not by the statement that had made it more.
    if (level == LockMode::kShared && recorded_text(SqlSlot::kDatabase) != shared_sql_id_) {
      CopySql(SqlSlot::kDatabase, nullptr);
    }
    Publish(bits.Pack(), context, now);
  }
  record().ring.Append(Event{.operation = Operation::kUnlock,
                             .from = before,
                             .to = level,
                             .result = static_cast<std::uint16_t>(result)}
                           .Pack(),
                       now);
  if (level < before) TellOfRelease(held_before, level, now);
  if (level == LockMode::kNone && waiting_is_noted_) [[unlikely]]
    ReviewNote(now);
}

// Who wanted EXCLUSIVE only to roll a hot journal back, and has read since it was refused, found
// the journal gone: another has done it.
void Connection::ReviewNote(Ticks now) noexcept {
  const auto wanted = Event::Unpack(record().slot.words.want.Own());
  if (!wanted || wanted->resource != Resource::kDatabase || wanted->from != LockMode::kShared)
    return;
  const Ticks read_since = record().slot.words.database_since[LevelIndex(LockMode::kShared)].Own();
  if (wanted->to == LockMode::kExclusive && read_since > record().slot.words.want_last.Own()) {
    ForgetWait(WaitOutcome::kAcquired, now);
  }
}

// A writer has kept others out since RESERVED, and is told of once; in WAL mode SHARED is no
// snapshot.
void Connection::TellOfRelease(const HeldBits& before, LockMode level, Ticks now) noexcept {
  const auto since = [this](LockMode of) {
    return record().slot.words.database_since[LevelIndex(of)].Own();
  };
  if (before.database > LockMode::kShared && level <= LockMode::kShared) {
    const bool reserved = before.Holds(LockMode::kReserved);
    Released(Resource::kDatabase, before.database,
             since(reserved ? LockMode::kReserved : before.database), now);
    wrote_until_ = now;
  }
  const bool of_wal = record().slot.words.open_since.Own() >= since(LockMode::kShared);
  if (level == LockMode::kNone && !of_wal) {
    Released(Resource::kDatabase, LockMode::kShared,
             std::max(since(LockMode::kShared), wrote_until_), now);
  }
}

void Connection::ReservedChecked(bool reserved, int result, Ticks now) noexcept {
  record().ring.Append(Event{.operation = Operation::kCheckReserved,
                             .from = held().database,
                             .to = reserved ? LockMode::kReserved : LockMode::kNone,
                             .result = static_cast<std::uint16_t>(result)}
                           .Pack(),
                       now);
}

// ---- the wal-index ----

void Connection::ShmLocked(int offset, int count, LockMode mode, Ticks now,
                           const CallContext& context, const SnapshotFacts& facts) noexcept {
  if (HasRefusal()) [[unlikely]] {
    ReviewWait(now, context);
    EndWait(ShmResource(offset), count, mode, now);
  }
  ShmGranted(offset, count, mode, now, context, facts);
}

void Connection::ShmLockedInVain(int offset, Ticks now, const CallContext& context) noexcept {
  if (HasRefusal()) ReviewWait(now, context);
  ShmGranted(offset, 1, LockMode::kExclusive, now, context, {});
}

inline void Connection::ShmGranted(int offset, int count, LockMode mode, Ticks now,
                                   const CallContext& context,
                                   const SnapshotFacts& facts) noexcept {
  const Resource resource = ShmResource(offset);
  auto& words = record().slot.words;
  const bool shared = mode == LockMode::kShared;
  const bool read_slot = IsReadSlot(resource);
  {
    const Update update(record().slot.sequence);
    for (int i = offset; i < offset + count; ++i) {
      words.shm_since[static_cast<std::size_t>(i)].Store(now);
    }
    // Exclusively, a read slot is taken to set its mark: by the reader, who then asks for it
    // shared, or by a checkpoint, whose statement the checkpoint lock tells.
    if (shared || !read_slot) TakeSql(SqlSlotOf(resource), context.statement);
    if (shared && read_slot) {
      read_statement_ = context.statement_number;
      words.snapshot_frame.Store(facts.max_frame);
      words.snapshot_salts.Store(facts.salts);
    }
    Publish(words.held.Own() | ShmBits(offset, count, mode), context, now);
  }
  for (int i = offset; i < offset + count; ++i) CountGrant(ShmResource(i), mode);
  record().ring.Append(Event{.operation = Operation::kShmLock,
                             .resource = resource,
                             .count = static_cast<std::uint8_t>(count),
                             .to = mode}
                           .Pack(),
                       now);
}

void Connection::ShmRefused(int offset, int count, LockMode mode, int result, Ticks duration,
                            Ticks now, const CallContext& context) noexcept {
  if (HasRefusal()) ReviewWait(now, context);
  Refused(Event{.operation = Operation::kShmLock,
                .resource = ShmResource(offset),
                .count = static_cast<std::uint8_t>(count),
                .from = held().Shm(offset),
                .to = mode,
                .result = static_cast<std::uint16_t>(result)},
          duration, now, context);
}

void Connection::ShmUnlocked(int offset, int count, LockMode mode, int result, Ticks now,
                             const CallContext& context) noexcept {
  if (HasRefusal()) [[unlikely]]
    ReviewWait(now, context);
  // A checkpoint that was refused a slot goes on without, or ends: with its lock its waiting is
  // over.
  if (mode == LockMode::kExclusive && ShmResource(offset) == Resource::kWalCheckpoint) {
    ForgetWait(WaitOutcome::kBusy, now);
  }
  auto& words = record().slot.words;
  const LockMode before = held().Shm(offset);
  if (result == 0) {
    const std::uint64_t all = words.held.Own();
    {
      const Update update(record().slot.sequence);
      Publish(all & ~ShmBits(offset, count), context, now);
    }
    for (int i = offset; i < offset + count; ++i) {
      if ((all & ShmBits(i, 1)) != 0) ReleaseShm(i, mode, now);
    }
  }
  record().ring.Append(Event{.operation = Operation::kShmUnlock,
                             .resource = ShmResource(offset),
                             .count = static_cast<std::uint8_t>(count),
                             .from = before,
                             .result = static_cast<std::uint16_t>(result)}
                           .Pack(),
                       now);
}

void Connection::TellOfShmHold(const hot::ShmLock& lock, Ticks since, Ticks now) const noexcept {
  TellOfHold({id(), ShmResource(lock.offset), lock.mode, since, now});
}

void Connection::ReleaseShm(int offset, LockMode mode, Ticks now) noexcept {
  const Ticks since = record().slot.words.shm_since[static_cast<std::size_t>(offset)].Own();
  CountRelease(ShmResource(offset), mode, since, now);
  Released(ShmResource(offset), mode, since, now);
}

void Connection::ShmMapped(Ticks now) noexcept {
  {
    const Update update(record().slot.sequence);
    record().slot.words.open_since.Store(now);
    record().slot.words.held.Store(record().slot.words.held.Own() | kHeldWalOpen);
  }
  CountGrant(Resource::kWalOpen, LockMode::kShared);
  record().ring.Append(
      Event{
          .operation = Operation::kShmMap, .resource = Resource::kWalOpen, .to = LockMode::kShared}
          .Pack(),
      now);
}

void Connection::ShmUnmapped(Ticks now) noexcept {
  HeldBits bits = held();
  if (!bits.wal_open) return;
  // SQLite has let every slot go by now; a VFS that is told to unmap lets go of the rest itself.
  for (int i = 0; i < kShmLockCount; ++i) {
    const LockMode mode = bits.Shm(i);
    if (mode == LockMode::kNone) continue;
    ReleaseShm(i, mode, now);
  }
  bits.shm_shared = 0;
  bits.shm_exclusive = 0;
  bits.wal_open = false;
  {
    const Update update(record().slot.sequence);
    record().slot.words.held.Store(bits.Pack());
  }
  CountRelease(Resource::kWalOpen, LockMode::kShared, record().slot.words.open_since.Own(), now);
  record().ring.Append(Event{.operation = Operation::kShmUnmap,
                             .resource = Resource::kWalOpen,
                             .from = LockMode::kShared}
                           .Pack(),
                       now);
}

void Connection::ReleaseEverything(Ticks now) noexcept {
  ShmUnmapped(now);
  if (held().database != LockMode::kNone) DatabaseUnlocked(LockMode::kNone, 0, now, CallContext{});
}

// REQUIRES: no writer uses it.
void Connection::Reset() {
  want_statement_ = 0;
  read_statement_ = 0;
  shared_sql_id_ = 0;
  written_statement_ = 0;
  wrote_until_ = 0;
  waiting_is_noted_ = false;
  sql_id_.fill(0);
  info_ = ConnectionInfo{};
  shm_ = FileId{};
  wal_index_ = nullptr;
}

void ConnectionRecord::Clear() {
  const auto zero = [](void* words, std::size_t count) {
    auto* word = static_cast<Word*>(words);
    for (std::size_t i = 0; i < count; ++i) word[i].Store(0);
  };
  {
    const Update update(identity.sequence);
    zero(&identity.words, sizeof identity.words / sizeof(Word));
  }
  {
    const Update update(barrier.sequence);
    barrier.words.present.Store(0);
  }
  {
    const Update update(slot.sequence);
    zero(&slot.words, kSlotWords);  // texts of 0 bytes need no clearing
  }
  {
    const Update update(recoveries.sequence);
    recoveries.words.written.Store(0);
  }
  {
    const Update update(waits.sequence);
    waits.words.written.Store(0);
  }
  ring.Clear();
  stats.Clear();
}

}  // namespace lockscope::ledger
