// A manifest as it comes from a file, and one whose paths are put together of the parts that
// matter: what is listed may be copied into one folder, and nowhere else.
#include "manifest_file.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>

#include "fuzz/check.h"
#include "model/status.h"

namespace lockscope::fuzz {
namespace {

using Files = std::vector<tools::ListedFile>;
using Json = nlohmann::json;

void CheckFile(const tools::ListedFile& file) {
  FUZZ_CHECK(file.path.starts_with('/'));
  FUZZ_CHECK(file.path.ends_with("/" + file.name));
  FUZZ_CHECK(file.path.find('\0') == std::string::npos);
  FUZZ_CHECK(file.path.find('\n') == std::string::npos);
  FUZZ_CHECK(file.name.find('/') == std::string::npos);
  FUZZ_CHECK(!file.name.empty() && file.name != "." && file.name != "..");
  FUZZ_CHECK(file.bytes <= INT64_MAX);
  FUZZ_CHECK(!file.wal || (file.name.ends_with("-wal") && file.name.size() > 4));
}

void CheckTogether(const Files& files) {
  std::set<std::string> names;
  std::set<std::string> databases;
  for (const auto& file : files) {
    FUZZ_CHECK(names.insert(file.name).second);
    if (!file.wal) databases.insert(file.path);
  }
  for (const auto& file : files) {
    for (const char* suffix : {"-wal", "-shm", "-journal"}) {
      FUZZ_CHECK(file.wal || !databases.contains(file.path + suffix));
    }
    if (!file.wal) continue;
    FUZZ_CHECK(databases.contains(file.path.substr(0, file.path.size() - 4)));
  }
}

std::string Written(const Files& files) {
  Json array = Json::array();
  for (const auto& file : files) {
    array.push_back({{"path", file.path},
                     {"role", file.wal ? "wal" : "database"},
                     {"bytes", file.bytes},
                     {"device", static_cast<std::int64_t>(file.id.device)},
                     {"inode", static_cast<std::int64_t>(file.id.inode)}});
  }
  return array.dump();
}

bool Same(const Files& a, const Files& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.path == y.path && x.name == y.name && x.wal == y.wal && x.bytes == y.bytes &&
           x.id == y.id;
  });
}

// Up to four files, a byte for each part of a path.
Json ManifestOf(Bytes bytes) {
  constexpr std::size_t kMostFiles = 4;
  constexpr unsigned kMostParts = 8;
  static const std::array<std::string, 16> kParts = {
      "/",  "/",     "/",    "a",    "a",        "b",  ".",
      "..", "-wal",  "-wal", "-shm", "-journal", "\n", std::string(1, '\0'),
      "-",  "\u00e9"};
  Json array = Json::array();
  while (!bytes.empty() && array.size() < kMostFiles) {
    const auto how = TakeNumber<std::uint8_t>(bytes);
    std::string path = (how & 0x10U) != 0 ? "" : "/";
    for (unsigned part = how % kMostParts; part > 0; --part) {
      path += kParts.at(TakeNumber<std::uint8_t>(bytes) % kParts.size());
    }
    array.push_back({{"path", path},
                     {"role", (how & 0x20U) != 0 ? "wal" : "database"},
                     {"bytes", how},
                     {"device", 1},
                     {"inode", how}});
  }
  return array;
}

void CheckManifest(std::string_view text) {
  const auto files = tools::ParseManifest(text);
  if (!files.ok()) {
    FUZZ_CHECK(files.status().code == SQLITE_CORRUPT || files.status().code == SQLITE_MISUSE);
    FUZZ_CHECK(!files.status().message.empty());
    return;
  }
  FUZZ_CHECK(!files.value().empty());
  for (const auto& file : files.value()) CheckFile(file);
  CheckTogether(files.value());
  const auto again = tools::ParseManifest(Written(files.value()));
  FUZZ_CHECK(again.ok() && Same(again.value(), files.value()));
}

void TryManifest(Bytes bytes) {
  CheckManifest(AsText(bytes));
  CheckManifest(ManifestOf(bytes).dump());
}

}  // namespace
}  // namespace lockscope::fuzz

FUZZ_TARGET(lockscope::fuzz::TryManifest)
