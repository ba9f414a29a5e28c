#include "registry/seen.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "core/session.h"
#include "kernel/process.h"
#include "ledger/registry_layout.h"

namespace lockscope::testing {

Json SeenHere(const std::string& table, const std::string& path) {
  Db looker(":memory:");
  return Json::parse(
      looker.Value("select lockscope_json(" + Quote(table) + ", " + Quote(path) + ")"));
}

Json Where(const Json& rows, const std::string& column, const Json& value) {
  Json found = Json::array();
  for (const Json& row : rows) {
    if (row.at(column) == value) found.push_back(row);
  }
  return found;
}

std::vector<Json> Values(const Json& rows, const std::string& column) {
  std::vector<Json> values;
  for (const Json& row : rows) values.push_back(row.at(column));
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

std::string Sidecar(const std::string& path) { return path + ledger::kRegistrySuffix; }

// The locks are of open file descriptions: opening and closing it here drops nobody's.
std::vector<std::uint32_t> BlocksHeld(const std::string& path) {
  std::vector<std::uint32_t> held;
  const int fd = open(Sidecar(path).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return held;
  for (std::uint32_t block = 0; block < ledger::kBlocksMax; ++block) {
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(ledger::kBlockByte + block);
    lock.l_len = 1;
    if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) held.push_back(block);
  }
  close(fd);
  return held;
}

std::vector<int> SidecarDescriptors(const std::string& path) {
  std::vector<int> found;
  const std::string name = Sidecar(path);
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored;
    const std::string target = std::filesystem::read_symlink(entry.path(), ignored).string();
    if (target.starts_with(name)) found.push_back(std::stoi(entry.path().filename().string()));
  }
  std::sort(found.begin(), found.end());
  return found;
}

int RoundsOr(int otherwise) {
  const char* text = std::getenv("LOCKSCOPE_ROUNDS");
  return text != nullptr && std::atoi(text) > 0 ? std::atoi(text) : otherwise;
}

std::uint64_t Seed() {
  const char* text = std::getenv("LOCKSCOPE_SEED");
  const std::uint64_t seed =
      text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
  std::printf("seed: LOCKSCOPE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

bool IsDead(pid_t pid) {
  const auto stat = kernel::StatOf(pid);
  return !kernel::MayExist(pid) || (stat && stat->ended);
}

}  // namespace lockscope::testing
