#include "logging/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>

// Header-only, as is fmt: nothing more is needed at run time.
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>

#include "kernel/descriptors.h"
#include "logging/line_sink.h"
#include "model/fork_safe_mutex.h"
#include "settings/settings.h"

namespace lockscope::logging {
namespace internal {

constinit std::atomic<Level> g_level{Level::kOff};

}  // namespace internal

namespace {

using settings::LogChoice;

constinit ForkSafeMutex g_mutex(LockRank::kLog);

// Guarded by g_mutex. Never destroyed: threads may log while the process ends.
struct Target {
  LogChoice choice;
  FileId file;
  std::unique_ptr<spdlog::logger> logger;
};

Target& Current() {
  static Target* const target = new Target();
  return *target;
}

spdlog::level::level_enum LevelOf(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::debug;
    case Level::kInfo:
      return spdlog::level::info;
    case Level::kWarn:
      return spdlog::level::warn;
    case Level::kError:
      return spdlog::level::err;
    case Level::kOff:
      break;
  }
  return spdlog::level::off;
}

std::unique_ptr<spdlog::logger> NewLogger(int fd, bool owned) {
  auto sink = std::make_shared<LineSink>(fd, owned);
  auto logger = std::make_unique<spdlog::logger>("lockscope", std::move(sink));
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      "%Y-%m-%dT%H:%M:%S.%eZ [%l] %n[%P]: %v", spdlog::pattern_time_type::utc));
  logger->set_level(spdlog::level::trace);  // Enabled() has been asked
  // spdlog's own would write to stderr.
  logger->set_error_handler([](const std::string&) {});
  return logger;
}

Status Refuse(const std::string& file, const std::string& why) {
  return {SQLITE_MISUSE, "log: " + file + ": " + why};
}

// A file that is closed again drops the locks that this process has on it, and a line in a database
// destroys it. So what is open already is not opened, and what looks like a database neither.
Status CheckNotADatabase(const std::string& file) {
  const auto facts = kernel::StatPath(file);
  if (!facts || !S_ISREG(facts->mode)) return {};
  const auto open_files = kernel::OpenFiles::Scan();
  if (!open_files.Find(facts->id).empty() || kernel::KeptDescriptor(facts->id)) {
    return Refuse(file, "this process has it open");
  }
  return {};
}

// The descriptor of an existing file whose first bytes are no database's, or of a new one.
Result<int> OpenToAppend(const std::string& file) {
  if (Status status = CheckNotADatabase(file); !status.ok()) return status;
  constexpr mode_t kMode = 0600;
  constexpr int kFlags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  int fd = open(file.c_str(), kFlags, kMode);
  // A pipe, or a file that may be written and not read.
  if (fd < 0 && errno != ENOENT) fd = open(file.c_str(), (kFlags & ~O_RDWR) | O_WRONLY, kMode);
  if (fd < 0) return Refuse(file, std::strerror(errno));
  // Not in the place of a standard stream that is closed.
  if (fd <= STDERR_FILENO) {
    const int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    const int why = errno;
    close(fd);
    if (above < 0) return Refuse(file, std::strerror(why));
    fd = above;
  }
  char head[6] = {};
  if (pread(fd, head, sizeof head, 0) == static_cast<ssize_t>(sizeof head) &&
      std::memcmp(head, "SQLite", sizeof head) == 0) {
    kernel::CloseOrKeep(fd);
    return Refuse(file, "is a database");
  }
  return fd;
}

std::string Harmless(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) c = ' ';
  }
  return line;
}

}  // namespace

void Write(Level level, std::string_view text) noexcept try {
  if (!Enabled(level)) return;
  const std::string line = Harmless(text);
  const std::lock_guard lock(g_mutex);
  if (const Target& target = Current(); target.logger != nullptr) {
    target.logger->log(LevelOf(level), spdlog::string_view_t(line));
  }
} catch (const std::exception&) {
  // A line less.
}

Status Follow() {
  const LogChoice choice = settings::Log();
  {
    const std::lock_guard lock(g_mutex);
    Target& target = Current();
    if (choice.file == target.choice.file && (target.logger != nullptr || choice.file.empty())) {
      // Perhaps another level; the same place.
      if (target.logger == nullptr && choice.level != Level::kOff) {
        target.logger = NewLogger(STDERR_FILENO, false);
      }
      target.choice = choice;
      internal::g_level.store(choice.level, std::memory_order_relaxed);
      return {};
    }
  }
  std::unique_ptr<spdlog::logger> logger;
  if (choice.file.empty()) {
    logger = NewLogger(STDERR_FILENO, false);
  } else {
    const auto fd = OpenToAppend(choice.file);
    if (!fd.ok()) return fd.status();
    logger = NewLogger(fd.value(), true);
  }
  const std::lock_guard lock(g_mutex);
  std::swap(Current().logger, logger);
  Current().choice = choice;
  internal::g_level.store(choice.level, std::memory_order_relaxed);
  return {};
}

}  // namespace lockscope::logging
