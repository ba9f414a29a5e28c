#include "model/resource.h"

namespace lockscope {

const char* Name(Resource resource) {
  static constexpr std::array<const char*, kResourceCount> kNames = {
      "database",   "wal-write",  "wal-checkpoint", "wal-recover", "wal-read-0",
      "wal-read-1", "wal-read-2", "wal-read-3",     "wal-read-4",  "wal-open"};
  return kNames.at(static_cast<std::size_t>(resource));
}

const char* Name(LockMode mode) {
  static constexpr std::array<const char*, 5> kNames = {"NONE", "SHARED", "RESERVED", "PENDING",
                                                        "EXCLUSIVE"};
  return kNames.at(static_cast<std::size_t>(mode));
}

std::string ShmRangeName(int offset, int count) {
  std::string names;
  for (int i = offset; i < offset + count; ++i) {
    if (!names.empty()) names += ',';
    names += Name(ShmResource(i));
  }
  return names;
}

}  // namespace lockscope
