// Copier: the process that copies files with plain reads and writes, and opens the copies with
// SQLite afterwards. Never the process of the barrier: closing a file there would drop its locks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bank.h"
#include "process.h"

namespace lockscope::torture {

struct CopyItem {
  std::string from;
  std::string to;
  std::optional<std::int64_t> bytes;  // none: to the end of the file, wherever it is by then
};

struct CopyJob {
  std::vector<CopyItem> items;  // copied in this order
  int chunk_bytes = 65536;
  // A pause of 0 to so much after each chunk, and ten times that between two files.
  int pause_us = 0;
  bool interleaved = false;  // a chunk of each file in turn
  unsigned seed = 0;
};

class Copier {
 public:
  // Forks. REQUIRES as Child.
  Copier();

  // A file that is not there is not copied: the copy has none either.
  void Copy(const CopyJob& job);
  // Opens a copy, as its user would: it recovers what there is to recover.
  Audit Verify(const std::string& path);
  // The same of a live database: waits while that is busy.
  Audit VerifyLive(const std::string& path) { return Verify(path); }
  // With the copies' -wal, -shm and -journal. A name that is not there is no error.
  void Remove(const std::vector<std::string>& databases);

 private:
  nlohmann::json Ask(const nlohmann::json& question);

  std::unique_ptr<Channel> channel_;
  std::optional<Child> child_;
};

}  // namespace lockscope::torture
