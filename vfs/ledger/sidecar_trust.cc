#include "ledger/sidecar_trust.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <vector>

#include "kernel/descriptors.h"
#include "kernel/retrying.h"
#include "ledger/registry_layout.h"

namespace lockscope::ledger {

HeaderState JudgeHeader(std::span<const std::uint8_t> bytes, const FileId& database) {
  if (std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; })) {
    return HeaderState::kEmpty;
  }
  RegistryHeader header;
  if (bytes.size() < kRegistryPage) return HeaderState::kForeign;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kRegistryMagic) return HeaderState::kForeign;
  const RegistryHeader wanted = HeaderFor(database);
  if (header.byte_order != wanted.byte_order || header.version != wanted.version ||
      header.block_bytes != wanted.block_bytes || header.record_bytes != wanted.record_bytes) {
    return HeaderState::kOtherVersion;
  }
  const bool same = header.database_device == wanted.database_device &&
                    header.database_inode == wanted.database_inode;
  return same ? HeaderState::kOurs : HeaderState::kOtherDatabase;
}

// It decides what is to be tidied up where there is none.
HeaderState JudgeFirstPage(int fd, const FileId& database) {
  std::array<std::uint8_t, kRegistryPage> page{};
  const ssize_t bytes = kernel::Retrying([&] { return pread(fd, page.data(), page.size(), 0); });
  if (bytes < 0) return HeaderState::kForeign;
  return JudgeHeader(std::span(page).first(static_cast<std::size_t>(bytes)), database);
}

std::string Name(HeaderState state) {
  switch (state) {
    case HeaderState::kOtherVersion:
      return "is laid out by another version of lockscope";
    case HeaderState::kOtherDatabase:
      return "is of another database, which had this name before";
    case HeaderState::kForeign:
      return "is no registry of lockscope, or damaged";
    case HeaderState::kEmpty:
    case HeaderState::kOurs:
      break;
  }
  return {};
}

std::string WhyUntrusted(const struct stat& sidecar, const struct stat& database) {
  if (S_ISDIR(sidecar.st_mode)) return "is a directory";
  if (S_ISLNK(sidecar.st_mode)) return "is a symbolic link";
  if (!S_ISREG(sidecar.st_mode)) return "is no regular file";
  const bool owner_fits =
      sidecar.st_uid == database.st_uid || sidecar.st_uid == geteuid() || sidecar.st_uid == 0;
  const bool group_fits = (database.st_mode & S_IWGRP) != 0 && sidecar.st_gid == database.st_gid;
  if (!owner_fits && !group_fits) {
    return "belongs to another user (" + std::to_string(sidecar.st_uid) + ")";
  }
  if (sidecar.st_nlink > 1) return "has other names (hard links)";
  // Whoever can cut it short can kill those who have it mapped.
  if ((sidecar.st_mode & 0222 & ~database.st_mode) != 0) {
    return "can be written by more users than the database";
  }
  return {};
}

bool KnownForeign(const FileId& id) {
  const auto kept = kernel::KeptDescriptor(id);
  if (!kept) return false;
  std::vector<std::uint8_t> page(kRegistryPage);
  const auto bytes = kernel::ReadAt(*kept, id, 0, page);
  page.resize(bytes.value_or(0));
  const HeaderState state = JudgeHeader(page, {});
  return state == HeaderState::kForeign || state == HeaderState::kEmpty;
}

}  // namespace lockscope::ledger
