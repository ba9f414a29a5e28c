#include "model/event.h"

#include <array>

namespace lockscope {

const char* Name(Operation operation) {
  static constexpr std::array<const char*, kOperationCount> kNames = {
      "lock", "unlock", "check-reserved", "shm-lock", "shm-unlock", "shm-map", "shm-unmap"};
  return kNames.at(static_cast<std::size_t>(operation));
}

std::optional<Event> Event::Unpack(std::uint64_t word) {
  const auto field = [word](int shift) { return static_cast<std::uint8_t>(word >> shift); };
  constexpr auto kStrongest = static_cast<std::uint8_t>(LockMode::kExclusive);
  const std::uint8_t operation = field(0);
  const std::uint8_t resource = field(8);
  const std::uint8_t count = field(16);
  if (operation >= kOperationCount || resource >= kResourceCount) return std::nullopt;
  if (count == 0 || resource + count > static_cast<int>(kResourceCount)) return std::nullopt;
  if (field(24) > kStrongest || field(32) > kStrongest) return std::nullopt;
  return Event{.operation = static_cast<Operation>(operation),
               .resource = static_cast<Resource>(resource),
               .count = count,
               .from = static_cast<LockMode>(field(24)),
               .to = static_cast<LockMode>(field(32)),
               .result = static_cast<std::uint16_t>(word >> 40)};
}

std::string Event::ResourceName() const {
  if (count <= 1 || !IsShm(resource)) return Name(resource);
  return ShmRangeName(ShmOffset(resource), count);
}

}  // namespace lockscope
