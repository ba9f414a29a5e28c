#include "insight/snapshots.h"

#include <array>
#include <cstring>

namespace lockscope::insight {
namespace {

// The salts as the eight bytes that stand in the wal-index: what the shim noted.
std::uint64_t RawSalts(const format::WalIndex& wal_index) {
  std::array<std::uint8_t, 8> bytes{};
  for (unsigned i = 0; i < 4; ++i) {
    bytes.at(i) = static_cast<std::uint8_t>(wal_index.salt1 >> (24 - 8 * i));
    bytes.at(4 + i) = static_cast<std::uint8_t>(wal_index.salt2 >> (24 - 8 * i));
  }
  std::uint64_t raw = 0;
  std::memcpy(&raw, bytes.data(), sizeof raw);
  return raw;
}

std::uint64_t Above(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

// How many frames were committed since the snapshot was taken.
std::uint64_t Behind(const Snapshot& snapshot, const format::WalIndex& wal_index) {
  const std::uint64_t max_frame = wal_index.max_frame;
  if (const ledger::ConnectionView* view = snapshot.lock.view) {
    const bool same_wal = view->slot.snapshot_salts == RawSalts(wal_index);
    return same_wal ? Above(max_frame, *snapshot.frame) : max_frame;
  }
  // The kernel does not tell what a reader on slot 0 found: everything was checkpointed then.
  return Above(max_frame, snapshot.mark ? *snapshot.mark : wal_index.backfilled);
}

Pin PinOf(const Snapshot& snapshot, const format::WalIndex& wal_index) {
  const std::uint32_t max_frame = wal_index.max_frame;
  if (snapshot.slot == 0) return max_frame > wal_index.backfilled ? Pin::kBackfill : Pin::kNone;
  if (snapshot.mark && *snapshot.mark < max_frame) return Pin::kBackfill;
  return max_frame > 0 ? Pin::kRestart : Pin::kNone;
}

std::uint64_t PinnedBytes(const Snapshot& snapshot, const format::WalIndex& wal_index) {
  switch (*snapshot.pin) {
    case Pin::kBackfill: {
      const std::uint64_t from = snapshot.mark ? *snapshot.mark : wal_index.backfilled;
      return Above(wal_index.max_frame, from) * wal_index.FrameBytes();
    }
    case Pin::kRestart:
      return wal_index.LiveBytes(wal_index.max_frame);
    case Pin::kNone:
      break;
  }
  return 0;
}

Snapshot WalSnapshot(const LockFacts& lock, const std::optional<format::WalIndex>& wal_index) {
  Snapshot snapshot{.lock = lock, .slot = ReadSlot(lock.resource)};
  if (lock.view != nullptr) snapshot.frame = lock.view->slot.snapshot_frame;
  if (!wal_index) return snapshot;
  const std::uint32_t mark = wal_index->read_mark.at(static_cast<std::size_t>(*snapshot.slot));
  // A slot that nobody has set a mark for can still be held: by a barrier, which then only keeps
  // the WAL from starting over.
  if (*snapshot.slot > 0 && mark != format::kReadMarkNotUsed) snapshot.mark = mark;
  if (lock.view == nullptr) snapshot.frame = snapshot.mark;
  snapshot.behind_frames = Behind(snapshot, *wal_index);
  snapshot.pin = PinOf(snapshot, *wal_index);
  snapshot.pinned_bytes = PinnedBytes(snapshot, *wal_index);
  return snapshot;
}

}  // namespace

const char* Name(Pin pin) {
  switch (pin) {
    case Pin::kBackfill:
      return "backfill";
    case Pin::kRestart:
      return "restart";
    case Pin::kNone:
      break;
  }
  return "none";
}

std::vector<Snapshot> CollectSnapshots(const Look&, const Database& database,
                                       const std::vector<LockFacts>& locks) {
  std::vector<Snapshot> snapshots;
  for (const LockFacts& lock : locks) {
    if (!lock.granted) continue;
    if (IsReadSlot(lock.resource) && lock.mode == LockMode::kShared) {
      snapshots.push_back(WalSnapshot(lock, database.wal_index));
    } else if (lock.resource == Resource::kDatabase && !database.wal_mode) {
      snapshots.push_back({.lock = lock, .pin = Pin::kNone, .pinned_bytes = 0});
    }
  }
  return snapshots;
}

const Snapshot* StrongestPin(const std::vector<Snapshot>& snapshots, Pin pin) {
  const Snapshot* strongest = nullptr;
  for (const Snapshot& snapshot : snapshots) {
    if (snapshot.pin != pin) continue;
    if (strongest == nullptr || snapshot.mark.value_or(0) < strongest->mark.value_or(0)) {
      strongest = &snapshot;
    }
  }
  return strongest;
}

}  // namespace lockscope::insight
