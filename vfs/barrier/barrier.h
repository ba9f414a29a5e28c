// Barrier: locks on one or several databases under which their files can be copied with any tool,
// and the proof, at the end, that nothing moved.
//
// Acquisition: one attempt tries each lock once; on the first refusal all is let go, in reverse;
// then it sleeps and begins again. It never waits while it holds a lock: a TRUNCATE checkpointer
// that holds the checkpoint and write locks while it waits for our read slot would otherwise stop
// all writers, for as long as we wait for its checkpoint lock. Holding the locks of a snapshot, of
// which the checkpoint lock is one, nobody who holds a write lock can be waiting for us: then it
// watches the write locks for a moment, without holding any.
//
// The order within an attempt, over all databases at each step:
//   1. read snapshot (rollback modes: RESERVED or EXCLUSIVE)     PrivateConnection::Begin
//   2. checkpoint lock                                           LockCheckpoints
//   3. a read slot >= 1                                          KeepWalFromRestarting
//   4. write lock: kinds write and exclusive, or several databases
//   5. facts; then the write locks are let go where the kind is snapshot
//
// Threads: any; every method takes the barrier's own mutex.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "barrier/facts.h"
#include "barrier/kinds.h"
#include "barrier/private_connection.h"
#include "ledger/barrier_board.h"
#include "model/status.h"

namespace lockscope::barrier {

struct Request {
  Kind kind = Kind::kSnapshot;
  std::vector<Member> members;
  std::chrono::milliseconds timeout{5000};
  std::chrono::milliseconds max_hold{0};  // 0: no limit
  std::string label;
  // Asked every 50 ms or so while it waits; true ends it with SQLITE_INTERRUPT. Empty: never.
  std::function<bool()> interrupted;
};

class Barrier {
 public:
  using State = ledger::BarrierState;

  // Holds every lock on every database; else nothing.
  //
  //   SQLITE_BUSY       not within the timeout: says what was busy, and who holds it now
  //   SQLITE_INTERRUPT  request.interrupted() was true
  //   SQLITE_READONLY, SQLITE_MISUSE, SQLITE_NOTADB, SQLITE_CORRUPT, SQLITE_ERROR
  //                     it can never be had; at once
  static Result<std::shared_ptr<Barrier>> Acquire(const Request& request);
  // Lets go, without proof.
  ~Barrier();
  Barrier(const Barrier&) = delete;
  Barrier& operator=(const Barrier&) = delete;

  const std::string& token() const { return token_; }
  Kind kind() const { return kind_; }
  // Of the barrier's instant.
  const std::vector<File>& files() const { return files_; }
  std::chrono::milliseconds acquired_in() const { return acquired_in_; }

  // Writes what was committed by then to the disk. Kinds write and exclusive have done so.
  Status Sync();
  // Ok while every lock is there, as the kernel says. Otherwise what was lost, or that it cannot be
  // verified here. Also finds a wal-index that a dying writer left torn, and gives the barrier up
  // then (state kLost), since recovery needs the checkpoint lock.
  Status Check();
  // Lets go. Ok only where every lock was there to the end and no file moved; else "barrier
  // violated: …".
  Status Release();
  State state();

 private:
  using Clock = std::chrono::steady_clock;

  Barrier(const Request& request, std::string token);
  Status Open(const Request& request);
  Status AcquireWithin(const Request& request);
  Status Attempt();
  Status LockWriters();
  Status TryWriters();
  void UnlockWriters();
  Status NoteFacts();
  void LetGo();
  void Close();
  Status Busy(const Status& last, const Request& request);
  void Post(const Request& request);
  Status WatchOver(std::chrono::milliseconds max_hold);
  void Watch(Clock::time_point deadline) noexcept;

  Status VerifyAtFirst();
  Status Verify();
  Result<std::string> FindLost() const;
  Status WatchWalIndexes();
  Status Prove();
  void GiveUp(State state, std::string why);

  const std::string token_;
  const Kind kind_;
  std::chrono::milliseconds acquired_in_{0};
  Clock::time_point held_since_{};
  std::string about_;        // in the log
  std::vector<File> files_;  // constant once acquired

  std::mutex mutex_;
  // All that follows is guarded by mutex_.
  struct Held {
    std::unique_ptr<PrivateConnection> connection;
    Facts facts;
    std::vector<NeededLock> locks;
    std::optional<Clock::time_point> torn_since;
  };
  std::vector<Held> held_;
  bool watched_ = false;                  // the last attempt came to watching the write locks
  PrivateConnection* refused_ = nullptr;  // of held_: where the last attempt ended
  State state_ = State::kHeld;
  std::string why_;  // not held any more
  bool released_ = false;
  std::condition_variable over_;
  std::thread watcher_;  // while there is a limit; joined before the barrier ends
};

}  // namespace lockscope::barrier
