#include "shim/recovery_patience.h"

#include <algorithm>
#include <array>

#include "format/rollback_journal.h"
#include "kernel/descriptors.h"
#include "model/resource.h"

namespace lockscope::shim {
namespace {

using std::chrono::milliseconds;

// Between the attempts of one statement, which cannot be told from the next where statements are
// not heard: SQLite's own busy handler sleeps a tenth of that at most.
constexpr milliseconds kAnotherStatement{1000};
constexpr int kFirstSleepUs = 1000;
constexpr int kLongestSleepUs = 25'000;

}  // namespace

void RecoveryPatience::Await(sqlite3_vfs& vfs, std::uint64_t statement, milliseconds most) {
  const auto now = Clock::now();
  const bool another =
      statement != 0 ? statement != statement_ : now - had_to_wait_ > kAnotherStatement;
  if (another) until_ = now + most;
  statement_ = statement;
  int sleep_us = kFirstSleepUs;
  // Also once no time is left: the attempts that follow are the same statement's still.
  while (MustWait()) {
    had_to_wait_ = Clock::now();
    if (had_to_wait_ >= until_) break;
    vfs.xSleep(&vfs, sleep_us);
    sleep_us = std::min(sleep_us * 2, kLongestSleepUs);
  }
}

bool RecoveryPatience::MustWait() const {
  const State state = Judge();
  return state == State::kRecovering || (state == State::kHot && read_only_);
}

// Asks the kernel about single bytes, through a descriptor that the process has.
RecoveryPatience::State RecoveryPatience::Judge() const {
  kernel::CloseKeptDeleted();
  const std::string journal = std::string(path_) + "-journal";
  const auto facts = kernel::StatPath(journal);
  if (!facts || facts->bytes == 0) return State::kNone;
  const auto database = kernel::StatPath(path_);
  if (!database || database->bytes == 0) return State::kNone;
  const auto open_files = kernel::OpenFiles::Scan();
  const auto fd = kernel::ReadableDescriptor(path_, database->id, open_files);
  if (!fd.ok()) return State::kNone;
  const auto held = [&fd](LockMode mode) {
    const ByteRange bytes = ProtocolBytes(Resource::kDatabase, mode);
    return kernel::ProbeLock(fd.value(), false, bytes.first, bytes.last).has_value();
  };
  if (held(LockMode::kReserved)) return State::kNone;
  std::array<std::uint8_t, format::kJournalHeaderBytes> head{};
  const auto journal_fd = kernel::ReadableDescriptor(journal, facts->id, open_files);
  if (!journal_fd.ok()) return State::kNone;
  const auto got = kernel::ReadAt(journal_fd.value(), facts->id, 0, head);
  if (!got || !format::JournalContentMayBeHot(facts->bytes, std::span(head).first(*got))) {
    return State::kNone;
  }
  // PENDING or SHARED's bytes, write-locked.
  return held(LockMode::kPending) || held(LockMode::kShared) ? State::kRecovering : State::kHot;
}

}  // namespace lockscope::shim
