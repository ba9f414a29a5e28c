// ConnectionSlot: what one connection holds and asks for, now. Fixed layout, whole words, no
// pointers: it can lie in this process's memory or in a file that other processes read.
//
// The words that every read transaction writes come first: with the sequence they are two cache
// lines.
//
// Written by its own connection only, inside an Update of `sequence`; read by anybody as word.h
// tells. The same template gives the live form (of Words) and the form of a reader's copy (of plain
// integers).
//
//   words    field                what it holds
//   1        held                 packed, see HeldBits
//   1        last_call            ticks of the last lock call
//   1        snapshot_frame       mxFrame when the read lock was granted, or when the connection
//                                 itself committed since
//   1        snapshot_salts       the eight bytes of the salts of that moment, as they stand there
//   1        call                 the lock call under way, see CallUnderWay: whether its locks
//                                 are held yet, or still, only the kernel knows
//   1        want                 a refused request, packed as an Event; 0 for none
//   8        shm_since            ticks of the grant of each wal-index lock, by xShmLock's offset
//   4        database_since       ticks of the grant of SHARED, RESERVED, PENDING, EXCLUSIVE
//   1        open_since           ticks when the wal-index was opened
//   3        want_since, want_last, want_gap   ticks: first refusal, last one, between the last two
//   1        want_refusals        how often it was refused
//   1        sleeping             1 while the connection's thread is in xSleep because of it
//   1        busy_count           refused requests since the connection was opened
//   1        last_busy            ticks of the last of them; 0 for never
//   5        sql_bytes            length of the texts below; 0: not known
//   5 × 128  sql                  statement that took: the database lock, the read slot, the
//                                 write lock, the checkpoint or recovery lock; that made the
//                                 refused request
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "ledger/word.h"
#include "model/resource.h"

namespace lockscope::ledger {

enum class SqlSlot : std::uint8_t { kDatabase, kRead, kWrite, kCheckpoint, kWant };
inline constexpr std::size_t kSqlSlots = 5;
inline constexpr std::size_t kSqlWords = 128;
inline constexpr std::size_t kSqlBytes = kSqlWords * 8;

constexpr SqlSlot SqlSlotOf(Resource resource) {
  if (resource == Resource::kDatabase) return SqlSlot::kDatabase;
  if (IsReadSlot(resource)) return SqlSlot::kRead;
  return resource == Resource::kWalWrite ? SqlSlot::kWrite : SqlSlot::kCheckpoint;
}

enum class Autocommit : std::uint8_t { kUnknown = 0, kOff = 1, kOn = 2 };

// bit  0- 7  level of the database lock (LockMode)
// bit  8-15  which levels of it were granted one by one: bit N for LockMode N
// bit 16-23  wal-index locks held shared, by offset
// bit 24-31  wal-index locks held exclusively, by offset
// bit 32-39  Autocommit, as at the last lock call
// bit 40     the wal-index is mapped
// bit 41     EXCLUSIVE was taken to roll a hot journal back, and is kept though that is over
inline constexpr int kHeldLevelsShift = 8;
inline constexpr int kHeldSharedShift = 16;
inline constexpr int kHeldExclusiveShift = 24;
inline constexpr int kHeldAutocommitShift = 32;
inline constexpr std::uint64_t kHeldWalOpen = std::uint64_t{1} << 40;

struct HeldBits {
  LockMode database = LockMode::kNone;
  std::uint8_t database_levels = 0;
  std::uint8_t shm_shared = 0;
  std::uint8_t shm_exclusive = 0;
  Autocommit autocommit = Autocommit::kUnknown;
  bool wal_open = false;
  bool rolled_back = false;

  constexpr std::uint64_t Pack() const {
    return static_cast<std::uint64_t>(database) | static_cast<std::uint64_t>(database_levels) << 8 |
           static_cast<std::uint64_t>(shm_shared) << 16 |
           static_cast<std::uint64_t>(shm_exclusive) << 24 |
           static_cast<std::uint64_t>(autocommit) << 32 |
           static_cast<std::uint64_t>(wal_open) << 40 |
           static_cast<std::uint64_t>(rolled_back) << 41;
  }
  // Out-of-range values, which only a hostile source has, become the weakest.
  static constexpr HeldBits Unpack(std::uint64_t word) {
    const auto field = [word](int shift) { return static_cast<std::uint8_t>(word >> shift); };
    HeldBits bits;
    if (field(0) <= 4) bits.database = static_cast<LockMode>(field(0));
    bits.database_levels = field(8);
    bits.shm_shared = field(16);
    bits.shm_exclusive = field(24);
    if (field(32) <= 2) bits.autocommit = static_cast<Autocommit>(field(32));
    bits.wal_open = (field(40) & 1) != 0;
    bits.rolled_back = (field(40) & 2) != 0;
    return bits;
  }

  bool Holds(LockMode level) const {
    return (database_levels >> static_cast<unsigned>(level) & 1U) != 0;
  }
  LockMode Shm(int offset) const {
    const auto bit = static_cast<std::uint8_t>(1U << static_cast<unsigned>(offset));
    if ((shm_exclusive & bit) != 0) return LockMode::kExclusive;
    return (shm_shared & bit) != 0 ? LockMode::kShared : LockMode::kNone;
  }
};

// bit  0- 7  the first resource
// bit  8-15  how many resources; 0 in a word that says: no call
// bit 16     they are being let go; else they are asked for
struct CallUnderWay {
  Resource resource = Resource::kDatabase;
  int count = 0;
  bool releasing = false;

  constexpr std::uint64_t Pack() const {
    return static_cast<std::uint64_t>(resource) | static_cast<std::uint64_t>(count) << 8 |
           static_cast<std::uint64_t>(releasing) << 16;
  }
  static constexpr CallUnderWay Unpack(std::uint64_t word) {
    CallUnderWay call;
    call.resource = static_cast<Resource>(word & 0xff);
    call.count = static_cast<int>(word >> 8 & 0xff);
    call.releasing = (word >> 16 & 1) != 0;
    return call;
  }
  bool Covers(Resource wanted) const {
    const int first = static_cast<int>(resource);
    return first <= static_cast<int>(wanted) && static_cast<int>(wanted) < first + count;
  }
};

template <class W>
struct SlotLayout {
  W held;
  W last_call;
  W snapshot_frame;
  W snapshot_salts;
  W call;
  W want;
  std::array<W, kShmLockCount> shm_since;
  std::array<W, 4> database_since;
  W open_since;
  W want_since;
  W want_last;
  W want_gap;
  W want_refusals;
  W sleeping;
  W busy_count;
  W last_busy;
  std::array<W, kSqlSlots> sql_bytes;
};

template <class W>
using SqlLayout = std::array<std::array<W, kSqlWords>, kSqlSlots>;

using SlotCopy = SlotLayout<std::uint64_t>;
using SqlCopy = SqlLayout<std::uint64_t>;
inline constexpr std::size_t kSlotWords = sizeof(SlotCopy) / sizeof(std::uint64_t);
static_assert(sizeof(SlotCopy) == (26 + kSqlSlots) * 8);
static_assert(sizeof(SlotLayout<Word>) == sizeof(SlotCopy));
static_assert(std::is_standard_layout_v<SlotLayout<Word>>);

struct alignas(64) ConnectionSlot {
  std::atomic<std::uint64_t> sequence{0};
  SlotLayout<Word> words;
  SqlLayout<Word> sql;  // written in the same Update

  // A consistent copy; false where the writer was in mid-update all the while (it was stopped
  // there, or is very busy): then nothing is known of it for the moment. Never waits long.
  // `texts` null: without the texts, which are most of what there is to copy.
  bool Read(SlotCopy& copy, SqlCopy* texts = nullptr) const;
};

// The texts of a copy.
std::array<std::string, kSqlSlots> TextsOf(const SlotCopy& copy, const SqlCopy& texts);

// Index of a database level in database_since.
constexpr std::size_t LevelIndex(LockMode level) { return static_cast<std::size_t>(level) - 1; }

}  // namespace lockscope::ledger
