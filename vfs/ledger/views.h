// What a look at the ledger gets: copies, of this process's connections and of others'.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ledger/barrier_board.h"
#include "ledger/clock.h"
#include "ledger/connection.h"
#include "ledger/lock_stats.h"
#include "settings/settings.h"

namespace lockscope::ledger {

// Another process, as it told of itself in a sidecar.
struct ProcessFacts {
  std::uint64_t instance = 0;       // no other process has the same
  std::optional<std::int64_t> pid;  // null: outside our pid namespace
  std::int64_t own_pid = 0;         // as its own pid namespace numbers it
  std::uint64_t pid_namespace = 0;  // inode of its /proc/self/ns/pid; 0: not known
  std::uint64_t start_boottime_ns = 0;
  settings::Switch guard = settings::Switch::kUnset;  // its word on wal_reset_guard
  bool same_ticks = false;  // its ticks are on our scale; else they are left out of what is copied
  ClockAnchor anchor;
  std::string application;  // empty: none
  std::string command;
  std::string sqlite_version;
  std::string sqlite_source_id;
};

// One open connection.
struct ConnectionView {
  std::shared_ptr<const ProcessFacts> process;  // null: of this process
  ConnectionInfo info;
  FileId shm;
  JournalMode journal_mode = JournalMode::kDelete;
  LockingMode locking_mode = LockingMode::kUnknown;
  HeldBits held;
  SlotCopy slot{};
  std::uint64_t record = 0;                // where it stands in the sidecar; of others only
  std::array<std::string, kSqlSlots> sql;  // by SqlSlot; empty: not known
};

struct ConnectionEvents {
  std::shared_ptr<const ProcessFacts> process;
  ConnectionInfo info;
  bool open = false;
  std::uint64_t lost = 0;  // events before the first that the ring no longer has
  std::vector<RecordedEvent> events;
};

// What one connection noted down.
struct ConnectionNotes {
  std::shared_ptr<const ProcessFacts> process;
  ConnectionInfo info;
  bool open = false;
  std::vector<RecoveryNote> recoveries;  // oldest first
  std::vector<WaitNote> waits;           // likewise
};

// Of one database in one process.
struct DatabaseStats {
  std::shared_ptr<const ProcessFacts> process;
  std::string path;
  std::array<StatCounts, kStatKinds> kinds;
};

// A barrier of another process, as one of its private connections tells.
struct BarrierView {
  std::shared_ptr<const ProcessFacts> process;
  BarrierNotice notice;  // `members`: empty where its list was too long to publish
  std::uint64_t connection = 0;
};

}  // namespace lockscope::ledger
