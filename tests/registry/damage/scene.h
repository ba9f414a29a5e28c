// Scene: a database is used by a program with lockscope, and by one without, where something stands
// in the way of the sidecar; both must fare alike.
//
//   Scene scene("wal");
//   scene.Prepare([](const std::string& db) { … });     // beside each of the two databases
//   const Seen seen = scene.Use();                      // fails where the two do not fare alike
//   EXPECT_EQ(seen.registry, Lines{"private: a.db-lockscope is …"});
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sidecar.h"
#include "support/actor.h"
#include "support/database.h"
#include "support/temp_dir.h"

namespace lockscope::testing {

using Lines = std::vector<std::string>;

// A program with plain SQLite, or one that has lockscope loaded (through its connection "m").
class Host : public Actor {
 public:
  explicit Host(bool shim, const Options& options = {});

  bool shim() const { return shim_; }
  // "0 rows", or "5 database is locked".
  std::string Say(std::string_view command);
  // The column `registry` of its own connections to the database, sorted.
  Lines Registry(const std::string& db);

 private:
  bool shim_;
};

// The same column as another process sees it: "kernel NULL", "shim shared", sorted.
Lines RegistryFromOutside(const std::string& db);
bool Exists(const std::string& path);  // symbolic links not followed

// All that can be told of a thing in a folder without following it. `contents` of a file, at most a
// megabyte; of a symbolic link, where it leads.
struct Thing {
  mode_t mode = 0;  // 0: there is nothing
  ino_t inode = 0;
  nlink_t links = 0;
  uid_t owner = 0;
  off_t bytes = 0;
  std::string contents;

  static Thing At(const std::string& path);
  bool operator==(const Thing&) const = default;
};
std::ostream& operator<<(std::ostream& stream, const Thing& thing);

struct Seen {
  Lines registry;      // while two connections are open
  Lines from_outside;  // at the same time
  Lines locks_lost;    // that the process held before it opened more connections, and looked
};

// Creates, writes, reads, waits in vain, closes; what SQLite answered to each.
Lines UseDatabase(Host& host, const std::string& db, Seen* seen = nullptr);

class Scene {
 public:
  explicit Scene(const std::string& journal_mode);

  // Called for the database of the program without lockscope, then for the other's.
  using Preparation = std::function<void(const std::string& db)>;
  void Prepare(const Preparation& preparation) const;

  // Expects the same answers, and that no lock is lost.
  Seen Use(Host& with, Host& without) const;
  Seen Use() const;

  const std::string& db() const { return db_; }
  std::string sidecar() const { return SidecarOf(db_); }
  const TempDir& folder() const { return with_; }
  const TempDir& stock_folder() const { return without_; }

 private:
  TempDir without_;
  TempDir with_;
  std::string stock_db_ = without_ / "a.db";
  std::string db_ = with_ / "a.db";
};

// False where there is no such program, too.
bool Succeeds(const std::vector<std::string>& argv);

}  // namespace lockscope::testing
