#include "command.h"

#include "time_span.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "insight/target.h"
#include "settings/settings.h"
#include "text.h"

namespace lockscope::tools {

void Complain(std::string_view text) {
  const std::string line = "lockscope: " + Visible(text) + "\n";
  std::fputs(line.c_str(), stderr);
}

bool Print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return true;
  }
  Complain("cannot write: " + std::generic_category().message(errno));
  return false;
}

std::vector<std::string> Databases::Paths() const {
  std::vector<std::string> paths;
  for (const Named& database : found) paths.push_back(database.path);
  return paths;
}

const std::string& Databases::NameOf(const std::string& path) const {
  for (const Named& database : found) {
    if (database.path == path) return database.name;
  }
  return path;
}

namespace {

// A look keeps up to four descriptors of each database, and the usual limit is 1,024.
void AllowDescriptors(std::size_t databases) {
  const rlim_t wanted = 64 + 4 * static_cast<rlim_t>(databases);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Databases Find(const std::vector<std::string>& names) {
  AllowDescriptors(names.size());
  Databases databases;
  for (const std::string& name : names) {
    const auto path = insight::ResolveDatabasePath(name);
    if (!path.ok()) {
      Complain(path.status().message);
      databases.all_found = false;
      continue;
    }
    const bool named_before =
        std::any_of(databases.found.begin(), databases.found.end(),
                    [&path](const auto& other) { return other.path == path.value(); });
    if (!named_before) databases.found.push_back({name, path.value()});
  }
  return databases;
}

insight::Look LookAt(const Databases& databases) {
  // For snapshot_warn_ms. No command that looks checkpoints: what the guard's default would be is
  // of no account.
  for (const std::string& complaint : settings::LoadEnvironment(false)) {
    constexpr std::string_view kPrefix = "lockscope: ";  // Complain() puts it there itself
    Complain(complaint.substr(complaint.starts_with(kPrefix) ? kPrefix.size() : 0));
  }
  if (access("/proc/locks", R_OK) != 0) {
    Complain("/proc/locks cannot be read: of other processes only what they publish is seen");
  }
  return insight::Look::At(databases.Paths());
}

void AddTimeSpan(CLI::App& command, const char* name, std::chrono::milliseconds& span,
                 const char* help) {
  command
      .add_option_function<std::string>(
          name,
          [name, &span](const std::string& text) {
            const auto parsed = ParseTimeSpan(text);
            if (!parsed) {
              throw CLI::ValidationError(name, "'" + text + "' is no time: 300ms, 5s, 2m, 1h; " +
                                                   "a bare number is seconds");
            }
            span = *parsed;
          },
          help)
      ->type_name("T");
}

}  // namespace lockscope::tools
