// FileId: which file on which device, as stat() tells it.
#pragma once

#include <cstdint>

namespace lockscope {

struct FileId {
  std::uint64_t device = 0;  // st_dev
  std::uint64_t inode = 0;   // st_ino; 0 = not known

  bool known() const { return inode != 0; }
  friend bool operator==(const FileId&, const FileId&) = default;
  // clang-tidy 14 takes the 0 in the generated comparison for a null pointer.
  friend auto operator<=>(const FileId&, const FileId&) = default;  // NOLINT(modernize-use-nullptr)
};

}  // namespace lockscope
