#include "sidecar.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace lockscope::testing {
namespace {

void Must(bool done, const char* what) {
  if (!done) throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

FileId IdOf(const std::string& path) {
  struct stat facts = {};
  if (stat(path.c_str(), &facts) != 0) return {};
  return {.device = facts.st_dev, .inode = facts.st_ino};
}

ledger::RegistryHeader HeaderOf(const std::string& db) { return ledger::HeaderFor(IdOf(db)); }

Sidecar::Sidecar(const std::string& db)
    : fd_(open(SidecarOf(db).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  Must(fd_.get() >= 0, "sidecar");
}

void Sidecar::Write(std::uint64_t offset, const void* bytes, std::size_t count) const {
  const ssize_t written = pwrite(fd_.get(), bytes, count, static_cast<off_t>(offset));
  Must(written == static_cast<ssize_t>(count), "pwrite");
}

void Sidecar::WriteHeader(const ledger::RegistryHeader& header) const {
  std::array<char, ledger::kRegistryPage> page{};
  std::memcpy(page.data(), &header, sizeof header);
  Write(0, page.data(), page.size());
}

void Sidecar::Resize(std::uint64_t bytes) const {
  Must(ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0, "ftruncate");
}

void Sidecar::Lock(short type, std::uint64_t first, std::uint64_t count) const {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(first);
  lock.l_len = static_cast<off_t>(count);
  Must(fcntl(fd_.get(), F_OFD_SETLK, &lock) == 0, "F_OFD_SETLK");
}

void Sidecar::Hold(std::uint64_t first, std::uint64_t count) const { Lock(F_WRLCK, first, count); }
void Sidecar::LetGo(std::uint64_t first, std::uint64_t count) const { Lock(F_UNLCK, first, count); }

}  // namespace lockscope::testing
