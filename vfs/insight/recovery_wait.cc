#include "insight/recovery_wait.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "insight/recoveries.h"
#include "insight/summary.h"

namespace lockscope::insight {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{500};
constexpr milliseconds kSlice{50};
// Between two looks for whose sake something was seen to change.
constexpr milliseconds kAtLeast{20};

// Tells when a rollback journal is deleted, cut off or written to.
class JournalWatch {
 public:
  explicit JournalWatch(const std::vector<std::string>& paths)
      : fd_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    if (fd_ < 0) return;
    for (const std::string& path : paths) {
      const std::size_t slash = path.rfind('/');
      const std::string folder = slash == 0 ? "/" : path.substr(0, slash);
      constexpr std::uint32_t kWhat = IN_DELETE | IN_MOVED_FROM | IN_MODIFY | IN_CLOSE_WRITE;
      const int watch = inotify_add_watch(fd_, folder.c_str(), kWhat);
      if (watch >= 0) journals_[watch].insert(path.substr(slash + 1) + "-journal");
    }
  }
  ~JournalWatch() {
    if (fd_ >= 0) close(fd_);  // no file's
  }
  JournalWatch(const JournalWatch&) = delete;
  JournalWatch& operator=(const JournalWatch&) = delete;

  // Sleeps so long at most; true where a journal changed.
  bool Changed(milliseconds most) {
    if (fd_ < 0) {
      std::this_thread::sleep_for(most);
      return false;
    }
    const auto until = Clock::now() + most;
    while (true) {
      if (Drain()) return true;
      const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
      if (left.count() <= 0) return false;
      pollfd waits{.fd = fd_, .events = POLLIN, .revents = 0};
      if (poll(&waits, 1, static_cast<int>(left.count()) + 1) == 0) return false;
    }
  }

 private:
  bool Drain() {
    bool changed = false;
    alignas(inotify_event) std::array<char, 4096> buffer{};
    while (true) {
      const ssize_t got = read(fd_, buffer.data(), buffer.size());
      if (got <= 0) return changed;
      for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(got);) {
        inotify_event event{};
        std::memcpy(&event, buffer.data() + at, sizeof event);
        const char* name = buffer.data() + at + sizeof event;
        const auto found = journals_.find(event.wd);
        const bool ours =
            found != journals_.end() && event.len > 0 && found->second.count(name) > 0;
        // Too many events for the kernel to keep: anything may have changed.
        changed = changed || ours || (event.mask & IN_Q_OVERFLOW) != 0;
        at += sizeof event + event.len;
      }
    }
  }

  const int fd_;
  std::map<int, std::set<std::string>> journals_;  // by watch
};

struct Going {
  const Database* database = nullptr;
  RecoveryState state = RecoveryState::kNone;
};

Going WhatGoesOn(const Look& look) {
  Going worst;
  for (const Database& database : look.databases()) {
    const RecoveryState state = RecoveryStateOf(look, database);
    if (state > worst.state) worst = {&database, state};
  }
  return worst;
}

std::string Describe(const Look& look, const Going& going) {
  const std::string& path = going.database->path;
  if (going.state == RecoveryState::kHot) {
    return path + ": a hot journal waits for somebody who opens the database for writing";
  }
  std::string text = path + (going.state == RecoveryState::kRecovering
                                 ? ": a crashed transaction is being rolled back"
                                 : ": the WAL is being recovered");
  for (const SeenRecovery& recovery : CollectRecoveries(look, *going.database)) {
    if (recovery.state != SeenRecovery::State::kRunning) continue;
    if (recovery.pid) text += " by pid " + std::to_string(*recovery.pid);
    if (const std::string progress = DescribeProgress(recovery); !progress.empty()) {
      text += ", " + progress + " so far";
    }
    break;
  }
  return text;
}

// Whether the recover lock is free by now.
bool WalIsRecovered(const Database& database) {
  if (!database.shm.known()) return true;
  const auto fd =
      kernel::ReadableDescriptor(database.path + "-shm", database.shm, kernel::OpenFiles::Scan());
  if (!fd.ok()) return false;
  const ByteRange byte = ProtocolBytes(Resource::kWalRecover, LockMode::kExclusive);
  return !kernel::ProbeLock(fd.value(), false, byte.first, byte.last);
}

}  // namespace

Status WaitForRecovery(const std::vector<std::string>& paths, milliseconds timeout,
                       const std::function<bool()>& interrupted) {
  const auto deadline = Clock::now() + timeout;
  JournalWatch watch(paths);
  while (true) {
    const auto looked = Clock::now();
    const Look look = Look::At(paths);
    const Going going = WhatGoesOn(look);
    if (going.state == RecoveryState::kNone) return {};
    if (Clock::now() >= deadline) return {SQLITE_BUSY, Describe(look, going)};
    const auto until = std::min(deadline, looked + kLookEvery);
    bool changed = false;
    while (Clock::now() < until) {
      if (interrupted && interrupted()) return {SQLITE_INTERRUPT, "interrupted"};
      const auto wake = changed ? std::min(until, looked + kAtLeast) : until;
      const auto left = std::chrono::ceil<milliseconds>(wake - Clock::now());
      changed = watch.Changed(std::min(left, kSlice)) || changed;
      const bool recovered =
          going.state == RecoveryState::kWalRecovering && WalIsRecovered(*going.database);
      if ((changed || recovered) && Clock::now() - looked >= kAtLeast) break;
    }
  }
}

}  // namespace lockscope::insight
