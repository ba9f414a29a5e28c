// SlotWatch: which read slots were let go of between two looks.
//
// Two looks cannot tell one long snapshot from many short ones that take the same slot: whoever
// reads in a loop is there whenever one looks. Asking for the slots again and again in between
// tells them apart, most of the time: a slot that was free once holds no snapshot that lasted.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "insight/look.h"
#include "model/resource.h"

namespace lockscope::insight {

class SlotWatch {
 public:
  // Of the databases of `look`, which may be gone when samples are taken.
  explicit SlotWatch(const Look& look);

  // Asks the kernel once, of every read slot, whether anybody but this process holds it
  // (F_OFD_GETLK); takes no lock.
  void Sample();
  // Whether read slot `slot` of the database was free at a sample. This process's own locks count
  // as held, so that nothing is learnt of them.
  bool WasFree(const std::string& database, int slot) const;

 private:
  struct Watched {
    std::string path;
    int shm_fd = -1;
    FileId shm;
    std::array<bool, kReadSlotCount> free{};
  };
  std::vector<Watched> watched_;
};

}  // namespace lockscope::insight
