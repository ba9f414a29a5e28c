#include "ledger/connection.h"

#include <cstring>

namespace lockscope::ledger {
namespace {

constexpr std::uint8_t Bit(LockMode level) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(level));
}

constexpr std::uint8_t ShmMask(int offset, int count) {
  return static_cast<std::uint8_t>(((1U << count) - 1U) << offset);
}

// Without a statement to tell by, a refused request that is not repeated for so long has been given
// up: about two seconds of a usual counter.
constexpr Ticks kGivenUpTicks = Ticks{1} << 32;

}  // namespace

const char* Name(JournalMode mode) {
  static constexpr std::array<const char*, 6> kNames = {"delete", "truncate", "persist",
                                                        "memory", "off",      "wal"};
  return kNames.at(static_cast<std::size_t>(mode));
}

// ---- the parts of every recording: the caller holds an Update ----

inline void Connection::Publish(const CallContext& context, Ticks now) noexcept {
  held_.autocommit = context.autocommit;
  record_.slot.words.held.Store(held_.Pack());
  record_.slot.words.last_call.Store(now);
}

inline void Connection::TakeSql(SqlSlot slot, const CallContext& context) noexcept {
  const auto index = static_cast<std::size_t>(slot);
  auto& words = record_.slot.words;
  const StatementText* statement = context.statement;
  if (statement == nullptr || !statement->known()) {
    words.sql_bytes[index].Store(0);
    return;
  }
  const std::string_view text = statement->text();
  if (sql_source_[index] != statement || sql_version_[index] != statement->version()) {
    sql_source_[index] = statement;
    sql_version_[index] = statement->version();
    const char* from = text.data();  // kSqlBytes long: whole words may be copied
    for (std::size_t word = 0; word * 8 < text.size(); ++word) {
      std::uint64_t value = 0;
      std::memcpy(&value, from + word * 8, 8);
      words.sql[index][word].Store(value);
    }
  }
  words.sql_bytes[index].Store(text.size());
}

inline void Connection::CountGrant(Resource resource, LockMode mode, Ticks) noexcept {
  record_.stats[StatIndex(resource, mode)].acquired.Add(1);
}

inline void Connection::CountRelease(Resource resource, LockMode mode, Ticks since,
                                     Ticks now) noexcept {
  auto& kind = record_.stats[StatIndex(resource, mode)];
  kind.released.Add(1);
  kind.hold.Record(now > since ? now - since : 0);
}

// ---- refusals and waits ----

void Connection::ReviewWait(Ticks now, const CallContext& context) noexcept {
  auto& words = record_.slot.words;
  const bool same_statement = context.statement_number != 0
                                  ? context.statement_number == want_statement_
                                  : now - words.want_last.Own() < kGivenUpTicks;
  if (!same_statement) ForgetWait();
}

void Connection::EndWait(Resource resource, int count, LockMode mode, Ticks now) noexcept {
  auto& words = record_.slot.words;
  const auto wanted = Event::Unpack(words.want.Own());
  if (!wanted) return;
  const int first = static_cast<int>(resource);
  const int wanted_first = static_cast<int>(wanted->resource);
  const bool covers = first <= wanted_first && wanted_first < first + count && mode >= wanted->to;
  // Any read slot will do for a reader; which one it asks for changes as the WAL grows.
  const bool another_slot = IsReadSlot(resource) && IsReadSlot(wanted->resource) &&
                            mode == LockMode::kShared && wanted->to == LockMode::kShared;
  if (!covers && !another_slot) return;
  const Ticks since = words.want_since.Own();
  record_.stats[StatIndex(wanted->resource, wanted->to)].wait.Record(now > since ? now - since : 0);
  ForgetWait();
}

void Connection::Refused(const Event& wanted, Ticks duration, Ticks now,
                         const CallContext& context) noexcept {
  auto& words = record_.slot.words;
  for (int i = 0; i < wanted.count; ++i) {
    const auto resource = static_cast<Resource>(static_cast<int>(wanted.resource) + i);
    record_.stats[StatIndex(resource, wanted.to)].refused.Add(1);
  }
  {
    const Update update(record_.slot.sequence);
    words.busy_count.Add(1);
    words.last_busy.Store(now);
    const auto pending = Event::Unpack(words.want.Own());
    const bool again = words.want.Own() != 0 && pending && pending->resource == wanted.resource &&
                       pending->to == wanted.to && pending->count == wanted.count;
    if (again) {
      words.want_gap.Store(now - words.want_last.Own());
      words.want_refusals.Add(1);
    } else {
      words.want_since.Store(now);
      words.want_gap.Store(0);
      words.want_refusals.Store(1);
    }
    words.want_last.Store(now);
    words.want.Store(wanted.Pack());
    TakeSql(SqlSlot::kWant, context);
    want_statement_ = context.statement_number;
    Publish(context, now);
  }
  record_.ring.Append(wanted.Pack(), now, duration);
}

// ---- the database file ----

void Connection::DatabaseLocked(LockMode level, Ticks now, const CallContext& context) noexcept {
  const LockMode before = held_.database;
  if (record_.slot.words.want.Own() != 0) [[unlikely]] {
    ReviewWait(now, context);
    EndWait(Resource::kDatabase, 1, level, now);
  }
  if (level > before) {
    const Update update(record_.slot.sequence);
    held_.database = level;
    held_.database_levels = static_cast<std::uint8_t>(held_.database_levels | Bit(level));
    record_.slot.words.database_since[LevelIndex(level)].Store(now);
    TakeSql(SqlSlot::kDatabase, context);
    Publish(context, now);
  }
  if (level > before) CountGrant(Resource::kDatabase, level, now);
  record_.ring.Append(Event{.operation = Operation::kLock, .from = before, .to = level}.Pack(), now);
}

void Connection::DatabaseRefused(LockMode wanted, LockMode actual, int result,
                                 Ticks duration, Ticks now,
                                 const CallContext& context) noexcept {
  const LockMode before = held_.database;
  if (record_.slot.words.want.Own() != 0) ReviewWait(now, context);
  if (actual > before) {
    const Update update(record_.slot.sequence);
    held_.database = actual;
    held_.database_levels = static_cast<std::uint8_t>(held_.database_levels | Bit(actual));
    record_.slot.words.database_since[LevelIndex(actual)].Store(now);
    TakeSql(SqlSlot::kDatabase, context);
    CountGrant(Resource::kDatabase, actual, now);
  }
  Refused(Event{.operation = Operation::kLock,
                .from = before,
                .to = wanted,
                .result = static_cast<std::uint16_t>(result)},
          duration, now, context);
}

void Connection::ReleaseLevelsAbove(LockMode level, Ticks now) noexcept {
  for (LockMode held : {LockMode::kExclusive, LockMode::kPending, LockMode::kReserved,
                        LockMode::kShared}) {
    if (held <= level || !held_.Holds(held)) continue;
    CountRelease(Resource::kDatabase, held,
                 record_.slot.words.database_since[LevelIndex(held)].Own(), now);
    held_.database_levels = static_cast<std::uint8_t>(held_.database_levels & ~Bit(held));
  }
  held_.database = level;
}

void Connection::DatabaseUnlocked(LockMode level, int result, Ticks now,
                                  const CallContext& context) noexcept {
  const LockMode before = held_.database;
  if (record_.slot.words.want.Own() != 0) [[unlikely]] ReviewWait(now, context);
  if (level < before) {
    const Update update(record_.slot.sequence);
    ReleaseLevelsAbove(level, now);
    Publish(context, now);
  }
  record_.ring.Append(Event{.operation = Operation::kUnlock,
                            .from = before,
                            .to = level,
                            .result = static_cast<std::uint16_t>(result)}
                          .Pack(),
                      now);
}

void Connection::ReservedChecked(bool reserved, int result, Ticks now) noexcept {
  record_.ring.Append(Event{.operation = Operation::kCheckReserved,
                            .from = held_.database,
                            .to = reserved ? LockMode::kReserved : LockMode::kNone,
                            .result = static_cast<std::uint16_t>(result)}
                          .Pack(),
                      now);
}

// ---- the wal-index ----

void Connection::ShmLocked(int offset, int count, LockMode mode, Ticks now,
                           const CallContext& context, const SnapshotFacts& facts) noexcept {
  const Resource resource = ShmResource(offset);
  auto& words = record_.slot.words;
  if (words.want.Own() != 0) [[unlikely]] {
    ReviewWait(now, context);
    EndWait(resource, count, mode, now);
  }
  {
    const Update update(record_.slot.sequence);
    auto& mask = mode == LockMode::kShared ? held_.shm_shared : held_.shm_exclusive;
    mask = static_cast<std::uint8_t>(mask | ShmMask(offset, count));
    for (int i = offset; i < offset + count; ++i) {
      words.shm_since[static_cast<std::size_t>(i)].Store(now);
    }
    if (mode == LockMode::kShared) {
      words.snapshot_frame.Store(facts.max_frame);
      words.snapshot_salts.Store(facts.salts);
      TakeSql(SqlSlot::kRead, context);
    } else if (!IsReadSlot(resource)) {
      TakeSql(SqlSlotOf(resource), context);
    }
    Publish(context, now);
  }
  for (int i = offset; i < offset + count; ++i) CountGrant(ShmResource(i), mode, now);
  record_.ring.Append(Event{.operation = Operation::kShmLock,
                            .resource = resource,
                            .count = static_cast<std::uint8_t>(count),
                            .to = mode}
                          .Pack(),
                      now);
}

void Connection::ShmRefused(int offset, int count, LockMode mode, int result,
                            Ticks duration, Ticks now, const CallContext& context) noexcept {
  if (record_.slot.words.want.Own() != 0) ReviewWait(now, context);
  Refused(Event{.operation = Operation::kShmLock,
                .resource = ShmResource(offset),
                .count = static_cast<std::uint8_t>(count),
                .from = held_.Shm(offset),
                .to = mode,
                .result = static_cast<std::uint16_t>(result)},
          duration, now, context);
}

void Connection::ShmUnlocked(int offset, int count, LockMode mode, int result, Ticks now,
                             const CallContext& context) noexcept {
  auto& words = record_.slot.words;
  const LockMode before = held_.Shm(offset);
  const std::uint8_t released = static_cast<std::uint8_t>(
      (held_.shm_shared | held_.shm_exclusive) & ShmMask(offset, count));
  if (words.want.Own() != 0) [[unlikely]] ReviewWait(now, context);
  if (result == 0) {
    const Update update(record_.slot.sequence);
    held_.shm_shared = static_cast<std::uint8_t>(held_.shm_shared & ~released);
    held_.shm_exclusive = static_cast<std::uint8_t>(held_.shm_exclusive & ~released);
    Publish(context, now);
  }
  if (result == 0) {
    for (int i = offset; i < offset + count; ++i) {
      if ((released >> static_cast<unsigned>(i) & 1U) == 0) continue;
      CountRelease(ShmResource(i), mode, words.shm_since[static_cast<std::size_t>(i)].Own(), now);
    }
  }
  record_.ring.Append(Event{.operation = Operation::kShmUnlock,
                            .resource = ShmResource(offset),
                            .count = static_cast<std::uint8_t>(count),
                            .from = before,
                            .result = static_cast<std::uint16_t>(result)}
                          .Pack(),
                      now);
}

void Connection::ShmMapped(Ticks now) noexcept {
  {
    const Update update(record_.slot.sequence);
    held_.wal_open = true;
    record_.slot.words.open_since.Store(now);
    record_.slot.words.held.Store(held_.Pack());
  }
  CountGrant(Resource::kWalOpen, LockMode::kShared, now);
  record_.ring.Append(Event{.operation = Operation::kShmMap,
                            .resource = Resource::kWalOpen,
                            .to = LockMode::kShared}
                          .Pack(),
                      now);
}

void Connection::ShmUnmapped(Ticks now) noexcept {
  if (!held_.wal_open) return;
  const Ticks since = record_.slot.words.open_since.Own();
  {
    // SQLite has let every slot go by now; a VFS that is told to unmap lets go of the rest itself.
    const Update update(record_.slot.sequence);
    for (int i = 0; i < kShmLockCount; ++i) {
      if (const LockMode mode = held_.Shm(i); mode != LockMode::kNone) {
        CountRelease(ShmResource(i), mode,
                     record_.slot.words.shm_since[static_cast<std::size_t>(i)].Own(), now);
      }
    }
    held_.shm_shared = 0;
    held_.shm_exclusive = 0;
    held_.wal_open = false;
    record_.slot.words.held.Store(held_.Pack());
  }
  CountRelease(Resource::kWalOpen, LockMode::kShared, since, now);
  record_.ring.Append(Event{.operation = Operation::kShmUnmap,
                            .resource = Resource::kWalOpen,
                            .from = LockMode::kShared}
                          .Pack(),
                      now);
}

void Connection::ReleaseEverything(Ticks now) noexcept {
  ShmUnmapped(now);
  if (held_.database != LockMode::kNone) DatabaseUnlocked(LockMode::kNone, 0, now, CallContext{});
}

// REQUIRES: no reader is inside record_ (the ledger's mutex is held) and no writer uses it.
void Connection::Reset() {
  held_ = HeldBits{};
  want_statement_ = 0;
  sql_version_.fill(0);
  sql_source_.fill(nullptr);
  journal_mode_.store(JournalMode::kDelete);
  {
    const Update update(record_.slot.sequence);
    auto* words = reinterpret_cast<Word*>(&record_.slot.words);
    constexpr std::size_t kHead = kSlotWords - kSqlSlots * kSqlWords;
    for (std::size_t i = 0; i < kHead; ++i) words[i].Store(0);  // texts of 0 bytes need no clearing
  }
  record_.ring.Clear();
  record_.stats.Clear();
  info_ = ConnectionInfo{};
  shm_ = FileId{};
  wal_index_ = nullptr;
}

}  // namespace lockscope::ledger
