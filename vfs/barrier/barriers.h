// Barriers: those of this process by their tokens, each with its owner.
//
// Threads: any. Fork: a child has none of its parent's, whose locks it does not hold; their
// connections stay open there unused, since SQLite forbids to touch them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "barrier/barrier.h"
#include "model/status.h"

namespace lockscope::barrier {

// Whose barriers they are: when the last reference to it goes they are let go.
class Owner {
 public:
  Owner() = default;
  ~Owner();
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
};

class Barriers {
 public:
  static Barriers& Process();

  // The owner that `connection` (an address, never used) has had so far, or a new one.
  std::shared_ptr<Owner> OwnerOf(const void* connection);
  Result<std::shared_ptr<Barrier>> Acquire(const Request& request, const Owner& owner);
  // SQLITE_MISUSE for a token that is empty or not known.
  Result<std::shared_ptr<Barrier>> Find(const std::string& token);
  // Barrier::Release(); the token is not known any more afterwards.
  Status Release(const std::string& token);

 private:
  friend class Owner;
  Barriers();
  static void ForgetInChild();
  void OwnerEnds(const Owner& owner);

  struct Entry {
    std::shared_ptr<Barrier> barrier;
    const Owner* owner = nullptr;
  };
  // Guarded by the mutex in barriers.cc.
  std::map<std::string, Entry> by_token_;
  std::map<const void*, std::weak_ptr<Owner>> owners_;
};

}  // namespace lockscope::barrier
