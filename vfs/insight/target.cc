#include "insight/target.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#include "format/database_header.h"
#include "kernel/descriptors.h"

namespace lockscope::insight {
namespace {

std::string SystemReason(int error) { return std::generic_category().message(error); }

bool LooksLikeDatabase(const std::string& path, const kernel::FileStat& facts);

// "app.db" for "app.db-wal", where that is a database beside it; empty otherwise.
std::string DatabaseOfSidecar(const std::string& path) {
  for (const std::string_view suffix : {"-wal", "-shm", "-journal"}) {
    if (path.size() <= suffix.size() || !path.ends_with(suffix)) continue;
    std::string database = path.substr(0, path.size() - suffix.size());
    const auto facts = kernel::StatPath(database);
    if (facts && S_ISREG(facts->mode) && LooksLikeDatabase(database, *facts)) return database;
  }
  return {};
}

// The first transaction of a database writes its other pages before page 1 where it outgrows the
// cache: until it commits, or is rolled back, there are zeros, and a journal beside them.
bool IsBeingCreated(const std::string& path, std::span<const std::uint8_t> bytes) {
  const bool zeros = std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0; });
  const auto journal = zeros ? kernel::StatPath(path + "-journal") : std::nullopt;
  return journal && S_ISREG(journal->mode) && journal->bytes > 0;
}

Status CheckHeader(const std::string& path, const kernel::FileStat& facts) {
  if (facts.bytes == 0) return {};
  std::array<std::uint8_t, format::kDatabaseHeaderBytes> bytes{};
  std::optional<std::size_t> read;
  // A borrowed descriptor may be closed by its owner at any time: then there is another way.
  constexpr int kAttempts = 5;
  for (int attempt = 0; attempt < kAttempts && !read; ++attempt) {
    const auto fd = kernel::ReadableDescriptor(path, facts.id, kernel::OpenFiles::Scan());
    if (!fd.ok()) return fd.status();
    read = kernel::ReadAt(fd.value(), facts.id, 0, bytes);
  }
  if (!read) return {SQLITE_CANTOPEN, "cannot read " + path};
  const auto head = std::span(bytes).first(*read);
  if (!format::DecodeDatabaseHeader(head) && !IsBeingCreated(path, head)) {
    return {SQLITE_NOTADB, path + " is not an SQLite database"};
  }
  return {};
}

// Where it cannot be read, its neighbour's name is all there is to go by.
bool LooksLikeDatabase(const std::string& path, const kernel::FileStat& facts) {
  return CheckHeader(path, facts).code != SQLITE_NOTADB;
}

}  // namespace

Result<std::string> ResolveDatabasePath(const std::string& path) {
  if (path.empty()) return Status{SQLITE_MISUSE, "the name of a database cannot be empty"};
  if (path.find('\0') != std::string::npos) {
    return Status{SQLITE_MISUSE, "the name of a database cannot contain NUL"};
  }
  // A sidecar is told before it is looked for: it comes and goes with its database.
  if (const std::string database = DatabaseOfSidecar(path); !database.empty()) {
    return Status{SQLITE_MISUSE, path + " is no database but belongs to " + database};
  }
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  if (real == nullptr) {
    return Status{SQLITE_CANTOPEN, "cannot open " + path + ": " + SystemReason(errno)};
  }
  std::string resolved(real.get());
  const auto facts = kernel::StatPath(resolved);
  if (!facts) return Status{SQLITE_CANTOPEN, "cannot open " + path + ": " + SystemReason(errno)};
  if (!S_ISREG(facts->mode)) {
    return Status{SQLITE_CANTOPEN, "cannot open " + path + ": not a regular file"};
  }
  if (const std::string database = DatabaseOfSidecar(resolved); !database.empty()) {
    return Status{SQLITE_MISUSE, path + " is no database but belongs to " + database};
  }
  if (Status status = CheckHeader(resolved, *facts); !status.ok()) return status;
  return resolved;
}

}  // namespace lockscope::insight
