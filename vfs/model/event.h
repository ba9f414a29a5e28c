// Event: one lock call of one connection, as the ring keeps it.
#pragma once

#include <cstdint>
#include <string>

#include "model/resource.h"

namespace lockscope {

enum class Operation : std::uint8_t {
  kLock = 0,           // xLock
  kUnlock = 1,         // xUnlock
  kCheckReserved = 2,  // xCheckReservedLock; to_mode tells the answer
  kShmLock = 3,        // xShmLock with SQLITE_SHM_LOCK
  kShmUnlock = 4,      // xShmLock with SQLITE_SHM_UNLOCK
  kShmMap = 5,         // the first xShmMap: the wal-index is open now
  kShmUnmap = 6,       // xShmUnmap
};
inline constexpr std::size_t kOperationCount = 7;

// "lock", "unlock", "check-reserved", "shm-lock", "shm-unlock", "shm-map", "shm-unmap".
const char* Name(Operation operation);

struct Event {
  Operation operation = Operation::kLock;
  Resource resource = Resource::kDatabase;  // the first, where one call names several
  std::uint8_t count = 1;                   // how many resources, from `resource` on
  LockMode from = LockMode::kNone;
  LockMode to = LockMode::kNone;
  std::uint16_t result = 0;  // SQLite's extended code

  constexpr std::uint64_t Pack() const {
    return static_cast<std::uint64_t>(operation) | static_cast<std::uint64_t>(resource) << 8 |
           static_cast<std::uint64_t>(count) << 16 | static_cast<std::uint64_t>(from) << 24 |
           static_cast<std::uint64_t>(to) << 32 | static_cast<std::uint64_t>(result) << 40;
  }
  // Values that no Event has (a hostile or torn source) come back as null.
  static std::optional<Event> Unpack(std::uint64_t word);

  // The same lock in the same mode, whatever is held and whatever the answer was.
  constexpr bool AsksTheSame(const Event& other) const {
    return resource == other.resource && count == other.count && to == other.to;
  }

  constexpr bool AsksToWrite() const {
    return to == LockMode::kReserved || resource == Resource::kWalWrite;
  }

  std::string ResourceName() const;
};

}  // namespace lockscope
