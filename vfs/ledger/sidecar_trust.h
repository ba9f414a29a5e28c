// Whether what stands where a sidecar would is one, and is to be believed.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <span>
#include <string>

#include "model/file_id.h"

namespace lockscope::ledger {

// What the first page of a sidecar says.
enum class HeaderState {
  kEmpty,          // nothing yet: it was just made, or its maker died there
  kOurs,           // of this version, for this database
  kOtherVersion,   // of lockscope, but laid out otherwise
  kOtherDatabase,  // made for another file: the database was replaced under its name
  kForeign,        // no registry at all
};
// REQUIRES: `bytes` is as much of the first kRegistryPage bytes as there is.
HeaderState JudgeHeader(std::span<const std::uint8_t> bytes, const FileId& database);
// The same of the file behind a descriptor. Takes no memory.
HeaderState JudgeFirstPage(int fd, const FileId& database);
// In words: "is of another database: …"; empty for the first two.
std::string Name(HeaderState state);

// Empty where it may be read and believed: a regular file of the database's owner, of ourselves or
// of root; of somebody else only where the database's group may write to it and the file is that
// group's. It has no other name, and no more users can write to it than to the database.
std::string WhyUntrusted(const struct stat& sidecar, const struct stat& database);

// Whether the file of this identity, to stand where a sidecar would, is known to be none: its
// descriptor has to stay open, so it is not opened again.
bool KnownForeign(const FileId& id);

}  // namespace lockscope::ledger
