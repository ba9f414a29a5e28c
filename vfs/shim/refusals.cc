#include "shim/refusals.h"

namespace lockscope::shim {
namespace {

using ledger::HeldBits;
using Sense = ledger::Connection::Sense;

bool HasSnapshot(const HeldBits& held) { return (held.shm_shared >> kShmReadOffset) != 0; }

bool HasExclusive(const HeldBits& held, Resource resource) {
  return held.Shm(ShmOffset(resource)) == LockMode::kExclusive;
}

Sense SenseOfShm(const Event& refused, const HeldBits& held, bool wrote_now) {
  const bool checkpoints = HasExclusive(held, Resource::kWalCheckpoint);
  if (IsReadSlot(refused.resource)) {
    const bool waits = checkpoints && HasExclusive(held, Resource::kWalWrite);
    return refused.to == LockMode::kExclusive && waits ? Sense::kBusy : Sense::kSwallowed;
  }
  switch (refused.resource) {
    case Resource::kWalWrite:
      return checkpoints || HasSnapshot(held) ? Sense::kBusy : Sense::kSwallowed;
    case Resource::kWalCheckpoint:
      return refused.count > 1 || wrote_now ? Sense::kSwallowed : Sense::kBusy;
    case Resource::kWalRecover:
      return refused.to == LockMode::kShared ? Sense::kBusy : Sense::kSwallowed;
    default:
      return Sense::kSwallowed;
  }
}

}  // namespace

Sense SenseOf(const Event& refused, const HeldBits& held, bool wrote_now, bool runs) {
  // An error that is no BUSY is none.
  constexpr int kBusy = 5;  // SQLITE_BUSY
  if ((refused.result & 0xff) != kBusy) return Sense::kSwallowed;
  if (refused.resource != Resource::kDatabase) return SenseOfShm(refused, held, wrote_now);
  const bool closes = refused.to == LockMode::kExclusive && held.wal_open && !runs;
  return closes ? Sense::kSwallowed : Sense::kBusy;
}

}  // namespace lockscope::shim
