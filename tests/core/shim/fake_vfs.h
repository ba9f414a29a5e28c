// A VFS to put below the shim: forwards to the unix VFS, counts, and does as it is told.
//
//   FakeVfs fake("fake-v1");          // registered for the life of the process
//   fake.file_version = 1;            // iVersion of the files it opens from now on
//   fake.without_sector_size = true;  // leaves that slot empty
//   fake.open_result = SQLITE_IOERR;  // xOpen fails…
//   fake.leave_methods = true;        // …and leaves its file open, as the ABI allows
//   fake.before_write_lock = [] { … };  // runs once, before xShmLock asks for the write lock
//   fake.after_refusal = [] { … };    // likewise, before a lock call answers SQLITE_BUSY
//   fake.after_release = [] { … };    // likewise before xShmLock answers that it has released
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>

namespace lockscope::testing {

class FakeVfs {
 public:
  // `version` is the VFS's own iVersion; with `bare` every slot that may be empty is.
  explicit FakeVfs(const std::string& name, int version = 3, bool bare = false);
  FakeVfs(const FakeVfs&) = delete;
  FakeVfs& operator=(const FakeVfs&) = delete;

  const char* name() const { return name_.c_str(); }
  sqlite3_vfs* vfs() { return &vfs_; }
  sqlite3_vfs* unix_vfs() const { return base_; }
  // How often the method was called: "xOpen", "xShmLock", ….
  int Calls(const std::string& method) const;
  int open_files() const { return open_files_; }

  int file_version = 3;
  bool without_sector_size = false;
  bool without_shm_map = false;
  int open_result = SQLITE_OK;
  bool leave_methods = false;
  bool deny_vfsname = false;
  bool wal_elsewhere = false;  // "a.db-wal" lies in "a.db-elsewhere"
  std::string last_system_call;
  std::function<void()> before_write_lock;
  std::function<void()> after_refusal;
  std::function<void()> after_release;

 private:
  struct File;
  struct Methods;
  friend struct Methods;

  void Count(const char* method);
  int AfterLock(int result);
  // The file that has this name for SQLite.
  const char* Place(const char* name);

  std::string name_;
  sqlite3_vfs* base_;
  sqlite3_vfs vfs_{};
  std::atomic<int> open_files_{0};
  mutable std::mutex mutex_;
  std::map<std::string, int> calls_;           // guarded by mutex_
  std::map<std::string, std::string> places_;  // likewise; the VFS below keeps pointers into it
};

}  // namespace lockscope::testing
