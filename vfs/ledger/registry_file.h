// RegistryFile: one sidecar, as one of its owners holds it: which file that is, which blocks are
// this process's, and when it goes. What is written into a block is registry.h's business.
//
// Threads: one at a time (the registry's mutex). Waits a quarter of a second for another
// process at most; what cannot be had then is done without.
//
// Fork: Abandon() in the child. Anything else would let go of the parent's locks.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ledger/registry_layout.h"
#include "ledger/sidecar_trust.h"
#include "model/file_id.h"
#include "model/status.h"

namespace lockscope::ledger {

class RegistryFile {
 public:
  // Opens the sidecar of the database at `path`, or makes it, and claims a block of it. An error
  // says why that cannot be; what was made for nothing is removed, unless another process that does
  // not go on is in the way of that.
  static Result<RegistryFile> Enter(const std::string& path, const FileId& database);

  RegistryFile(RegistryFile&& other) noexcept;
  RegistryFile& operator=(RegistryFile&&) = delete;
  RegistryFile(const RegistryFile&) = delete;
  RegistryFile& operator=(const RegistryFile&) = delete;
  // Leaves.
  ~RegistryFile() { Leave(); }

  // A block of ours. Room is made for its process facts and counters, not yet for its records. What
  // stands in it means nothing, unless it is new.
  struct Block {
    std::uint32_t number = 0;
    bool zeros = false;  // it was appended: all of it is zeros
  };
  // One more.
  Result<Block> Claim();
  // Makes room for a record: before it is touched for the first time, since a page without a place
  // on a full disk would be SIGBUS. Most processes need one of the eight.
  Status MakeRoom(std::uint32_t block, std::size_t record) const;
  // Lets go of one of several.
  void GiveBack(std::uint32_t block) noexcept;
  // In the order of their claiming; never empty.
  const std::vector<Block>& blocks() const { return blocks_; }
  int fd() const { return fd_; }
  // Whether its name is still this file's.
  bool Current() const;

  // Lets go of all blocks, and unlinks the file where nobody else has one.
  void Leave() noexcept;
  // In a forked child: closes the descriptor and lets go of nothing.
  void Abandon() noexcept;

 private:
  // What came of one attempt to enter.
  enum class Step { kDone, kAgain };

  explicit RegistryFile(std::string path) : path_(std::move(path)) {}
  Status Open(const struct stat& database);
  Status Create(const struct stat& database);
  Status CheckOpened(const struct stat& database);
  void CloseForeign() noexcept;
  Result<Step> Begin(const FileId& database);
  Result<Step> BeginAndClaim(const FileId& database);
  Result<Block> ClaimLocked();
  Status Allocate(std::uint64_t offset, std::uint64_t bytes) const;
  Status Extend(std::uint64_t bytes, std::uint64_t size) const;
  bool Forget(std::uint32_t block) const;
  bool AnyOwner() const;
  Status UnlinkIfOurs() const;
  void UnlinkIfUnused(const FileId& database) const;
  void Close() noexcept;

  std::string path_;  // of the sidecar
  FileId id_{};
  int fd_ = -1;
  bool made_ = false;       // by us
  bool zeros_ = false;      // we have made it, and nothing was there before: block 0 is zeros
  std::uint64_t room_ = 0;  // so many bytes from its beginning have their place
  std::vector<Block> blocks_;
};

}  // namespace lockscope::ledger
