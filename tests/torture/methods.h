// Method: a way to hold two live databases still while another process copies their files.
// lockscope's barrier, and the controls, which are what people do without it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bank.h"
#include "shared_state.h"

namespace lockscope::torture {

// What a round is to do.
struct Plan {
  std::string kind = "snapshot";  // of a barrier
  bool a = true;                  // which databases
  bool b = true;
  bool reversed = false;  // b before a in the barrier's list
  bool exact = true;      // the listed bytes; else whole files
  int timeout_ms = 5000;
};

struct SourceFile {
  std::string path;
  std::optional<std::int64_t> bytes;
};

class Method {
 public:
  virtual ~Method() = default;

  // False where it was refused (SQLITE_BUSY); then nothing is held. Else files() says what to copy,
  // or made_copies() that it has made the copies by itself.
  virtual bool Begin(const Plan& plan) = 0;
  virtual const std::vector<SourceFile>& files() const { return files_; }
  virtual bool made_copies() const { return false; }
  // While it is held; throws where it is not any more.
  virtual void Check() {}
  // Empty, or why the copy is to be thrown away.
  virtual std::string End() { return {}; }
  // Connections are closed, and opened at the next Begin().
  virtual void Reopen(Random& random) = 0;

 protected:
  std::vector<SourceFile> files_;
};

inline constexpr const char* kMethods[] = {
    "none",             // copies nothing: what the writers do by themselves
    "naive",            // no lock at all
    "read-released",    // a read transaction that is over before the copy
    "read-held",        // …that lasts until after it
    "immediate",        // BEGIN IMMEDIATE
    "immediate-alone",  // …after a TRUNCATE checkpoint, and the -wal is not copied
    "backup",           // sqlite3_backup_step
    "ours"};

// One of them; null for another name. `copies`: where "backup" writes a.db and b.db.
std::unique_ptr<Method> MakeMethod(const std::string& name, const BankFiles& files,
                                   const std::string& copies);

}  // namespace lockscope::torture
