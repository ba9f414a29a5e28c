// lockscope shell: the sqlite3 shell as a diagnostic session, with lockscope loaded and the
// database as its target. The shell opens :memory:, not the database: to look must not be to open.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>

#include "command.h"
#include "text.h"

namespace lockscope::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExtension = "lockscope.so";

bool IsFile(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// The extension that belongs to this executable: beside it (a build tree), or in the library folder
// of the same installation.
std::optional<std::string> FindExtension() {
  const char* chosen = std::getenv("LOCKSCOPE_EXTENSION");
  if (chosen != nullptr && *chosen != '\0') {
    if (IsFile(chosen)) return fs::absolute(chosen).string();
    Complain(std::string("LOCKSCOPE_EXTENSION names no file: ") + chosen);
    return std::nullopt;
  }
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  static constexpr std::array kPlaces = {".", LOCKSCOPE_LIBDIR_FROM_BINDIR, "../lib",
                                         "../lib/" LOCKSCOPE_LIBRARY_ARCHITECTURE, "../lib64"};
  for (const char* place : kPlaces) {
    const fs::path candidate = (folder / place / kExtension).lexically_normal();
    if (IsFile(candidate)) return candidate.string();
  }
  Complain(std::string(kExtension) + " is neither beside " + folder.string() +
           "/lockscope nor in ../lib; set LOCKSCOPE_EXTENSION to its path");
  return std::nullopt;
}

// As one argument of a dot command: within double quotes the shell reads backslashes as C does.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

// Becomes sqlite3; returns only where that fails.
int BecomeShell(const std::string& extension, const std::string& target,
                const std::vector<std::string>& more) {
  // Without the extension the session is of no use: until it is loaded, the first error ends it.
  std::vector<std::string> words = {
      "sqlite3", "-bail",    "-cmd", ".load " + Quoted(extension) + " sqlite3_lockscope_init",
      "-cmd",    ".bail off"};
  if (isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0 && more.empty()) {
    words.insert(
        words.end(),
        {"-cmd", ".print " + Quoted("Looking at " + Visible(target) +
                                    ", which is not opened. Try: SELECT * FROM lockscope_locks;")});
  }
  words.emplace_back(":memory:");
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> argv;
  argv.reserve(words.size() + 1);
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  setenv("LOCKSCOPE_TARGET", target.c_str(), 1);
  execvp(argv[0], argv.data());
  const int error = errno;
  Complain(error == ENOENT
               ? "sqlite3 is not in PATH: install SQLite's command-line shell (Debian: apt install "
                 "sqlite3)"
               : "cannot run sqlite3: " + std::generic_category().message(error));
  return kExitWrong;
}

int Shell(const std::string& name, const std::vector<std::string>& more) {
  const Databases databases = Find({name});
  if (!databases.all_found) return kExitWrong;
  const auto extension = FindExtension();
  if (!extension) return kExitWrong;
  return BecomeShell(*extension, databases.found.front().path, more);
}

}  // namespace

void AddShell(CLI::App& app, Action& action) {
  const auto database = std::make_shared<std::string>();
  CLI::App* subcommand = app.add_subcommand(
      "shell", "the sqlite3 shell with lockscope loaded and DB as its target, not opened");
  subcommand->add_option("DB", *database, "database file")->required();
  subcommand->footer(
      "What stands behind -- goes to sqlite3: lockscope shell DB -- -box 'SELECT …'.\n"
      "Finds lockscope.so beside this program or in the library folder of its installation;\n"
      "LOCKSCOPE_EXTENSION names another one.\n"
      "Exit status: sqlite3's own; 1 where it, lockscope.so or the database is not to be had; 2 "
      "usage.");
  subcommand->callback([&action, database] {
    action = [database](const CommandLine& line) { return Shell(*database, line.for_others); };
  });
}

}  // namespace lockscope::tools
