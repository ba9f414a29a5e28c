// A temporary folder that goes away with its object.
//
//   TempDir dir;
//   CreateDatabase(dir / "a.db");
//
// Made below $LOCKSCOPE_TEST_DIR, else $TMPDIR, else /tmp; mode 0700. With LOCKSCOPE_KEEP set in
// the environment the folder stays, and its name is printed.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace lockscope::testing {

class TempDir {
 public:
  TempDir() {
    std::string name = Parent() + "/lockscope-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
    path_ = name;
  }
  ~TempDir() { Remove(); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }

  // The full name of a file in the folder, which need not exist.
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

  // Lets every user read and write in the folder: for actors that Become() somebody else.
  void AllowEverybody() const { std::filesystem::permissions(path_, std::filesystem::perms::all); }

 private:
  static std::string Parent() {
    for (const char* variable : {"LOCKSCOPE_TEST_DIR", "TMPDIR"}) {
      const char* value = std::getenv(variable);
      if (value != nullptr && *value != '\0') return value;
    }
    return "/tmp";
  }

  // Folders that a test made read-only are opened up first; what cannot be removed is left.
  void Remove() noexcept {
    namespace fs = std::filesystem;
    if (std::getenv("LOCKSCOPE_KEEP") != nullptr) {
      std::fprintf(stderr, "kept: %s\n", path_.c_str());
      return;
    }
    try {
      std::error_code ignored;
      fs::permissions(path_, fs::perms::owner_all, fs::perm_options::add, ignored);
      for (const auto& entry : fs::recursive_directory_iterator(path_, ignored)) {
        if (!entry.is_directory(ignored) || entry.is_symlink(ignored)) continue;
        fs::permissions(entry.path(), fs::perms::owner_all, fs::perm_options::add, ignored);
      }
      fs::remove_all(path_, ignored);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "%s not removed: %s\n", path_.c_str(), e.what());
    }
  }

  std::string path_;
};

}  // namespace lockscope::testing
