// Sidecar: a file where lockscope looks for one, written and locked by the test itself.
//
//   Sidecar sidecar(db);                                // "<db>-lockscope", made where it is not
//   sidecar.WriteHeader(HeaderFor(IdOf(db)));
//   sidecar.Hold(kBlockByte);                           // its block 0 has a live owner now
//
// The locks are those of an open file description: they are let go with the object.
#pragma once

#include <cstdint>
#include <string>

#include "ledger/registry_layout.h"
#include "support/subprocess.h"

namespace lockscope::testing {

inline std::string SidecarOf(const std::string& db) { return db + ledger::kRegistrySuffix; }

// Unknown where there is no such file.
FileId IdOf(const std::string& path);

class Sidecar {
 public:
  // REQUIRES: what stands there may be opened, or nothing does.
  explicit Sidecar(const std::string& db);

  void Write(std::uint64_t offset, const void* bytes, std::size_t count) const;
  void WriteHeader(const ledger::RegistryHeader& header) const;
  void Resize(std::uint64_t bytes) const;
  void Hold(std::uint64_t first, std::uint64_t count = 1) const;
  void LetGo(std::uint64_t first, std::uint64_t count = 1) const;

 private:
  void Lock(short type, std::uint64_t first, std::uint64_t count) const;

  UniqueFd fd_;
};

// A header that is ours, for this database.
ledger::RegistryHeader HeaderOf(const std::string& db);

}  // namespace lockscope::testing
