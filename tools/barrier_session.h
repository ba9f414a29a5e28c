// BarrierSession: a barrier as a command of lockscope holds it: asked for by options, told on
// stderr, looked after, and judged at the end.
//
// exec and hold are the only commands that open a database with SQLite.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "barrier/barrier.h"
#include "command.h"

namespace lockscope::tools {

struct BarrierWords {
  std::vector<std::string> databases;  // as they were given
  barrier::Kind kind = barrier::Kind::kSnapshot;
  std::chrono::milliseconds timeout{5000};
  std::chrono::milliseconds max_hold{0};  // 0: no limit
  bool no_sync = false;
};

// --kind, --timeout, --max-hold and --no-sync.
void AddBarrierOptions(CLI::App& command, BarrierWords& words);

// How a barrier ended: the exit status, and in words: "held 41.2 s, both databases unchanged", or
// what went wrong and that the copy is to be thrown away.
struct Verdict {
  int status = kExitWell;  // or kExitOver, kExitFailed
  std::string text;
};

class BarrierSession {
 public:
  // How often it is to be asked whether it Stands().
  static constexpr std::chrono::milliseconds kHeartbeat{100};

  // Holds the barrier and says so; the databases are synced. Otherwise null, after a complaint:
  // `status` is then the exit status. What waits for the locks can be killed at any time.
  static std::unique_ptr<BarrierSession> Begin(const BarrierWords& words, const std::string& label,
                                               int& status);

  const std::string& token() const { return barrier_->token(); }
  std::string Manifest() const;  // JSON
  std::string FileList() const;  // a path a line

  // Until --max-hold is over; null where there is no limit.
  std::optional<std::chrono::milliseconds> HoldLeft() const;
  // How long to wait at most before Stands() is asked again.
  std::chrono::milliseconds UntilNextCheck() const;
  // False once it is lost, expired, or cannot be verified.
  bool Stands();
  // "barrier expired", "barrier lost: …". REQUIRES: it does not stand.
  const std::string& WhyNot() const { return failed_.message; }
  // Lets go. REQUIRES: it is called once.
  Verdict End();

 private:
  using Clock = std::chrono::steady_clock;

  BarrierSession(const BarrierWords& words, Databases databases)
      : words_(words), databases_(std::move(databases)) {}
  std::string Names() const;
  std::string WhatOthersDo() const;

  const BarrierWords words_;
  const Databases databases_;
  std::vector<std::string> wal_;       // names of those in WAL mode
  std::vector<std::string> rollback_;  // and of the others
  std::shared_ptr<barrier::Barrier> barrier_;
  Clock::time_point since_;
  Status failed_;  // not ok once it does not stand
};

}  // namespace lockscope::tools
