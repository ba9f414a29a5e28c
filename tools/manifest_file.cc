#include "manifest_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "unique_fd.h"

namespace lockscope::tools {
namespace {

using Json = nlohmann::json;

// Tens of thousands of databases.
constexpr std::size_t kMostBytes = 16U << 20U;

Status CannotRead(const std::string& path, const std::string& reason) {
  return {SQLITE_CANTOPEN, "cannot read " + path + ": " + reason};
}

Status NoManifest(std::size_t index, const std::string& what) {
  return {SQLITE_CORRUPT, "no manifest: entry " + std::to_string(index + 1) + " " + what};
}

const Json* Member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() ? &*found : nullptr;
}

const std::string* Text(const Json& object, const char* name) {
  const Json* value = Member(object, name);
  return value != nullptr ? value->get_ptr<const Json::string_t*>() : nullptr;
}

bool IsInteger(const Json* value) { return value != nullptr && value->is_number_integer(); }

// Integers are 64 bits wide in SQL, and device numbers may fill them all.
std::uint64_t Bits(const Json& value) {
  return value.is_number_unsigned() ? value.get<std::uint64_t>()
                                    : static_cast<std::uint64_t>(value.get<std::int64_t>());
}

Status ReadEntry(std::size_t index, const Json& entry, ListedFile& file) {
  if (!entry.is_object()) return NoManifest(index, "is no object");
  const std::string* path = Text(entry, "path");
  if (path == nullptr || !path->starts_with('/') || path->find('\0') != std::string::npos) {
    return NoManifest(index, "has no absolute path");
  }
  file.path = *path;
  file.name = path->substr(path->rfind('/') + 1);
  if (file.name.empty() || file.name == "." || file.name == "..") {
    return NoManifest(index, "names no file");
  }
  const std::string* role = Text(entry, "role");
  if (role == nullptr || (*role != "database" && *role != "wal")) {
    return NoManifest(index, "has no role, database or wal");
  }
  file.wal = *role == "wal";
  if (file.wal && (!file.name.ends_with("-wal") || file.name == "-wal")) {
    return NoManifest(index, "is a WAL by another name than its database's and -wal");
  }
  const Json* bytes = Member(entry, "bytes");
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (bytes == nullptr || !bytes->is_number_unsigned() || Bits(*bytes) > kMost) {
    return NoManifest(index, "has no count of bytes");
  }
  file.bytes = Bits(*bytes);
  const Json* device = Member(entry, "device");
  const Json* inode = Member(entry, "inode");
  if (!IsInteger(device) || !IsInteger(inode)) return NoManifest(index, "has no device and inode");
  file.id = {.device = Bits(*device), .inode = Bits(*inode)};
  return {};
}

// Whether the WALs have their databases, and all find room in one folder.
Status CheckTogether(const std::vector<ListedFile>& files) {
  std::map<std::string, const ListedFile*> names;
  std::set<std::string> wals;  // of the databases, whether they are listed or not
  for (const ListedFile& file : files) {
    if (file.path.find('\n') != std::string::npos) {
      return {SQLITE_MISUSE, file.path + ": a line feed in a name"};
    }
    if (!names.emplace(file.name, &file).second) {
      return {SQLITE_MISUSE, "two files called " + file.name + " cannot be in one folder"};
    }
    if (!file.wal) wals.insert(file.path + "-wal");
  }
  for (const ListedFile& file : files) {
    if (file.wal) continue;
    // SQLite would take the one for a file of the other.
    for (const char* suffix : {"-wal", "-shm", "-journal"}) {
      const auto beside = names.find(file.name + suffix);
      if (beside != names.end() && !beside->second->wal) {
        return {SQLITE_MISUSE, "a database called " + beside->second->name +
                                   " cannot be in one folder with " + file.name};
      }
    }
  }
  for (const ListedFile& file : files) {
    if (file.wal && !wals.contains(file.path)) {
      return {SQLITE_CORRUPT, "no manifest: " + file.path + " comes without its database"};
    }
  }
  return {};
}

}  // namespace

Result<std::string> ReadManifest(const std::string& path) {
  UniqueFd file;
  int fd = STDIN_FILENO;
  if (path != "-") {
    file = UniqueFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!file.valid()) return CannotRead(path, std::generic_category().message(errno));
    fd = file.get();
  }
  std::string text;
  std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return CannotRead(path, std::generic_category().message(errno));
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (text.size() > kMostBytes) return CannotRead(path, "too long for a manifest");
  }
}

Result<std::vector<ListedFile>> ParseManifest(std::string_view text) {
  // An array of objects of plain values: nothing deeper is kept, however much of it there is.
  const auto keep = [](int depth, Json::parse_event_t, const Json&) { return depth <= 2; };
  const Json json = Json::parse(text, keep, false);
  if (!json.is_array()) return Status{SQLITE_CORRUPT, "no manifest: not an array in JSON"};
  if (json.empty()) return Status{SQLITE_CORRUPT, "no manifest: it lists no file"};
  std::vector<ListedFile> files;
  for (const Json& entry : json) {
    ListedFile file;
    if (Status status = ReadEntry(files.size(), entry, file); !status.ok()) return status;
    files.push_back(std::move(file));
  }
  if (Status status = CheckTogether(files); !status.ok()) return status;
  return files;
}

}  // namespace lockscope::tools
