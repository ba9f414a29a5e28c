#include "barrier/barrier.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <map>
#include <system_error>

#include "barrier/backoff.h"
#include "barrier/refusal.h"
#include "insight/summary.h"
#include "kernel/own_locks.h"
#include "ledger/ledger.h"
#include "logging/log.h"

namespace lockscope::barrier {
namespace {

using logging::Level;
using std::chrono::milliseconds;

// How long a torn wal-index is a writer at work, and not one that died there.
constexpr milliseconds kTornIsDead{100};
constexpr milliseconds kInterruptEvery{50};
// How long an attempt watches for a gap between writers, which it does without a pause: longer than
// most transactions, and not so long that it takes the writers' time on a machine of few cores.
constexpr milliseconds kWatchWriters{1};

bool WorthAnotherTry(const Status& status) {
  const int code = status.code & 0xff;
  return code == SQLITE_BUSY || code == SQLITE_LOCKED || code == SQLITE_PROTOCOL;
}

std::string NewToken() {
  std::array<unsigned char, 12> bytes{};
  sqlite3_randomness(static_cast<int>(bytes.size()), bytes.data());
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string token = "lsb-";
  for (const unsigned char byte : bytes) {
    token += kHex[byte >> 4U];
    token += kHex[byte & 15U];
  }
  return token;
}

// Sleeps; false where it was interrupted.
bool Sleep(std::chrono::microseconds pause, const std::function<bool()>& interrupted) {
  while (pause.count() > 0) {
    if (interrupted && interrupted()) return false;
    const auto now = std::min<std::chrono::microseconds>(pause, kInterruptEvery);
    std::this_thread::sleep_for(now);
    pause -= now;
  }
  return !interrupted || !interrupted();
}

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

// As the log names it.
std::string About(const Request& request) {
  std::string text = std::string(Name(request.kind)) + " barrier";
  if (!request.label.empty()) text += " '" + request.label + "'";
  for (const Member& member : request.members) {
    text += (&member == request.members.data() ? " on " : ", ") + member.path;
  }
  return text;
}

std::string Describe(const NeededLock& lock, const Member& member) {
  return std::string(lockscope::Name(lock.resource)) + " " + lockscope::Name(lock.mode) + " on " +
         member.path;
}

}  // namespace

// ---- acquisition ----

Barrier::Barrier(const Request& request, std::string token)
    : token_(std::move(token)), kind_(request.kind) {}

namespace {

// Without SQLite's mutexes another thread may not touch any connection at all.
bool SqliteTakesThreads() {
  if (sqlite3_threadsafe() == 0) return false;
  sqlite3_mutex* mutex = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
  sqlite3_mutex_free(mutex);
  return mutex != nullptr;
}

}  // namespace

Result<std::shared_ptr<Barrier>> Barrier::Acquire(const Request& request) {
  if (request.max_hold.count() > 0 && !SqliteTakesThreads()) {
    return Status{SQLITE_MISUSE, "max_hold_ms needs an SQLite that is thread-safe"};
  }
  std::shared_ptr<Barrier> barrier(new Barrier(request, NewToken()));
  const auto begun = Clock::now();
  if (Status status = barrier->AcquireWithin(request); !status.ok()) {
    logging::Write(Level::kWarn, About(request) + ": " + status.message);
    return status;
  }
  barrier->held_since_ = Clock::now();
  barrier->acquired_in_ = std::chrono::duration_cast<milliseconds>(barrier->held_since_ - begun);
  barrier->about_ = About(request) + ", " + barrier->token();
  barrier->Post(request);
  logging::Write(Level::kInfo, barrier->about_ + ": held after " +
                                   insight::HumanDuration(barrier->acquired_in_.count()));
  if (request.max_hold.count() > 0) {
    if (Status status = barrier->WatchOver(request.max_hold); !status.ok()) return status;
  }
  if (request.kind != Kind::kSnapshot) {
    if (Status status = barrier->Sync(); !status.ok()) return status;
  }
  return barrier;
}

// Part of every attempt until all are open: ATTACH reads the schema, which is refused while
// somebody has PENDING or EXCLUSIVE (a commit in the rollback modes, a last WAL connection that
// closes). REQUIRES: mutex_ is held.
Status Barrier::Open(const Request& request) {
  while (held_.size() < request.members.size()) {
    auto connection = PrivateConnection::Open(request.members[held_.size()]);
    if (!connection.ok()) return connection.status();
    held_.emplace_back().connection = std::move(connection.value());
  }
  return {};
}

Status Barrier::AcquireWithin(const Request& request) {
  const std::lock_guard lock(mutex_);
  const auto deadline = Clock::now() + request.timeout;
  Backoff backoff;
  while (true) {
    Status status = Open(request);
    if (status.ok()) status = Attempt();
    if (status.ok()) status = VerifyAtFirst();
    if (status.ok()) return {};
    if (!WorthAnotherTry(status)) {
      LetGo();
      return status;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::microseconds>(deadline - Clock::now());
    // Who is in the way is asked while what was refused is known; the locks are let go before.
    if (left.count() <= 0) return Busy(status, request);
    LetGo();
    if (!Sleep(std::min(backoff.Next(watched_), left), request.interrupted)) {
      return {SQLITE_INTERRUPT, "interrupted"};
    }
  }
}

// Each step on every database before the next one.
Status Barrier::Attempt() {
  watched_ = false;
  using Step = std::function<Status(PrivateConnection&)>;
  const auto in_wal_mode = [](Status (PrivateConnection::*step)()) -> Step {
    return [step](PrivateConnection& connection) {
      return connection.wal() ? (connection.*step)() : Status{};
    };
  };
  const Step steps[] = {[this](PrivateConnection& connection) { return connection.Begin(kind_); },
                        in_wal_mode(&PrivateConnection::LockCheckpoints),
                        in_wal_mode(&PrivateConnection::KeepWalFromRestarting)};
  for (const Step& step : steps) {
    for (Held& held : held_) {
      refused_ = held.connection.get();
      if (Status status = step(*held.connection); !status.ok()) return status;
    }
  }
  if (kind_ != Kind::kSnapshot || held_.size() > 1) {
    if (Status status = LockWriters(); !status.ok()) return status;
  }
  if (Status status = NoteFacts(); !status.ok()) return status;
  if (kind_ == Kind::kSnapshot) UnlockWriters();
  for (Held& held : held_) held.locks = held.connection->NeededLocks(held.facts);
  return {};
}

// All write locks, or none. A busy writer lets its own go for some ten microseconds, which an
// attempt every few milliseconds meets by luck only. So while it holds the locks of a snapshot,
// which no writer waits for, the attempt watches for a moment when all look free; what is then
// refused is not waited for. Not where a rollback mode is among them, as RESERVED stops writers.
Status Barrier::LockWriters() {
  const auto all_of = [this](bool (PrivateConnection::*is)() const) {
    return std::all_of(held_.begin(), held_.end(),
                       [is](const Held& held) { return ((*held.connection).*is)(); });
  };
  const bool may_watch = all_of(&PrivateConnection::wal);
  watched_ = may_watch;
  const auto until = Clock::now() + kWatchWriters;
  while (true) {
    Status status = TryWriters();
    if (status.ok() || !WorthAnotherTry(status) || !may_watch) return status;
    do {
      if (Clock::now() >= until) return status;
    } while (!all_of(&PrivateConnection::WritersLookFree));
  }
}

// Each once; after a refusal none is held.
Status Barrier::TryWriters() {
  for (Held& held : held_) {
    if (!held.connection->wal()) continue;
    refused_ = held.connection.get();
    if (Status status = held.connection->LockWriters(); !status.ok()) {
      UnlockWriters();
      return status;
    }
  }
  return {};
}

void Barrier::UnlockWriters() {
  for (auto held = held_.rbegin(); held != held_.rend(); ++held) held->connection->UnlockWriters();
}

// After the last lock: what is noted before may be out of date by then.
Status Barrier::NoteFacts() {
  files_.clear();
  for (Held& held : held_) {
    refused_ = held.connection.get();
    auto facts = held.connection->ReadFacts();
    if (!facts.ok()) return facts.status();
    held.facts = facts.value();
    for (File& file : FilesOf(held.connection->member(), held.facts)) {
      files_.push_back(std::move(file));
    }
  }
  return {};
}

void Barrier::LetGo() {
  for (auto held = held_.rbegin(); held != held_.rend(); ++held) held->connection->LetGo();
}

// An open connection keeps SHARED on a database in WAL mode.
void Barrier::Close() {
  LetGo();
  while (!held_.empty()) held_.pop_back();
}

Status Barrier::Busy(const Status& last, const Request& request) {
  const bool opening = held_.size() < request.members.size();
  const std::string path = opening ? request.members[held_.size()].path : refused_->member().path;
  // Refused while it was opened, its connection and what that knew are gone.
  const auto refused = opening ? std::optional(OpeningRefused(last)) : refused_->Refused();
  LetGo();
  const std::string text =
      "no barrier in " + insight::HumanDuration(request.timeout.count()) + "; ";
  if (!refused) return {SQLITE_BUSY, text + last.message};
  const std::string holders = HoldersOf(path, *refused);
  return {SQLITE_BUSY, text + path + ": " + lockscope::Name(refused->resource) + " is busy, " +
                           (holders.empty() ? "and held by nobody any more" : holders)};
}

void Barrier::Post(const Request& request) {
  const std::lock_guard lock(mutex_);
  ledger::BarrierNotice notice{.token = token_,
                               .label = request.label,
                               .kind = Name(kind_),
                               .members = {},
                               .since = ledger::Now(),
                               .expires_monotonic_ns = 0};
  if (request.max_hold.count() > 0) {
    notice.expires_monotonic_ns = ledger::ClockAnchor::Take().monotonic_ns +
                                  static_cast<std::uint64_t>(request.max_hold.count()) * 1'000'000;
  }
  for (const Held& held : held_) {
    notice.members.push_back({.path = held.connection->member().path,
                              .database = held.facts.database,
                              .connection = held.connection->connection()});
  }
  ledger::BarrierBoard::Process().Post(std::move(notice));
}

// ---- while it is held ----

// The only thread that lockscope ever starts in its host: for as long as a barrier with a limit is
// held. Touches that barrier's private connections and nothing else, and takes no signal.
Status Barrier::WatchOver(milliseconds max_hold) try {
  const SignalsBlocked blocked;  // the new thread inherits it
  const auto deadline = Clock::now() + max_hold;
  watcher_ = std::thread([this, deadline] { Watch(deadline); });
  return {};
} catch (const std::system_error& error) {
  return {SQLITE_ERROR, std::string("max_hold_ms needs a thread: ") + error.what()};
}

void Barrier::Watch(Clock::time_point deadline) noexcept {
  std::unique_lock lock(mutex_);
  while (!released_ && state_ == State::kHeld) {
    const auto next = std::min(deadline, Clock::now() + kTornIsDead / 2);
    over_.wait_until(lock, next);
    if (released_ || state_ != State::kHeld) return;
    try {
      if (Clock::now() >= deadline) return GiveUp(State::kExpired, "expired");
      (void)WatchWalIndexes();
    } catch (const std::bad_alloc&) {
      // Once more in a moment.
    }
  }
}

Status Barrier::Sync() {
  const std::lock_guard lock(mutex_);
  for (Held& held : held_) {
    if (Status status = held.connection->Sync(); !status.ok()) return status;
  }
  return {};
}

Barrier::State Barrier::state() {
  const std::lock_guard lock(mutex_);
  return state_;
}

Status Barrier::Check() {
  const std::lock_guard lock(mutex_);
  if (released_) return {SQLITE_MISUSE, "the barrier was released before"};
  if (state_ != State::kHeld) return {SQLITE_ABORT, "barrier " + why_};
  if (Status status = WatchWalIndexes(); !status.ok()) return status;
  return Verify();
}

// Locks that are lost while they are taken are no barrier; where they cannot be verified, the proof
// at the end will say so. REQUIRES: mutex_ is held.
Status Barrier::VerifyAtFirst() {
  const auto lost = FindLost();
  if (!lost.ok() || lost.value().empty()) return {};
  return {SQLITE_ERROR, "the kernel does not have " + lost.value() +
                            " (some code in this process opened and closed the file)"};
}

// REQUIRES: mutex_ is held, and the barrier.
Status Barrier::Verify() {
  const auto lost = FindLost();
  if (!lost.ok()) return lost.status();
  if (lost.value().empty()) return {};
  GiveUp(State::kLost, "lost: the kernel no longer has " + lost.value() +
                           " (some code in this process opened and closed the file)");
  return {SQLITE_ABORT, "barrier " + why_};
}

// A lock that the kernel does not have; empty for none. SQLITE_ERROR where it cannot be told.
Result<std::string> Barrier::FindLost() const {
  const auto open_files = kernel::OpenFiles::Scan();
  std::map<FileId, std::optional<std::vector<kernel::PosixLock>>> by_file;
  for (const Held& held : held_) {
    for (const NeededLock& needed : held.locks) {
      auto found = by_file.find(needed.file);
      if (found == by_file.end()) {
        found = by_file.emplace(needed.file, kernel::OwnLocksOn(needed.file, open_files)).first;
      }
      if (!found->second) {
        return Status{SQLITE_ERROR,
                      "the barrier's locks cannot be verified here: /proc/self/fdinfo cannot be "
                      "read"};
      }
      const bool there =
          std::any_of(found->second->begin(), found->second->end(), [&needed](const auto& lock) {
            return lock.bytes.Contains(needed.bytes) && (lock.write || !needed.write);
          });
      if (!there) return Describe(needed, held.connection->member());
    }
  }
  return std::string();
}

// A writer that died while it changed the wal-index header leaves its two copies different; the
// next reader recovers, for which it needs the checkpoint lock. REQUIRES: mutex_ is held.
Status Barrier::WatchWalIndexes() {
  for (Held& held : held_) {
    if (!held.connection->WalIndexTorn()) {
      held.torn_since.reset();
      continue;
    }
    if (!held.torn_since) held.torn_since = Clock::now();
    if (Clock::now() - *held.torn_since < kTornIsDead) continue;
    if (!held.connection->WalIndexTornForGood()) continue;
    GiveUp(State::kLost, "lost: a writer died while it changed the wal-index of " +
                             held.connection->member().path + ", and recovery must run");
    return {SQLITE_ABORT, "barrier " + why_};
  }
  return {};
}

// REQUIRES: mutex_ is held.
void Barrier::GiveUp(State state, std::string why) {
  LetGo();
  for (Held& held : held_) held.connection->Detach();
  state_ = state;
  why_ = std::move(why);
  ledger::BarrierBoard::Process().SetState(token_, state_);
  logging::Write(Level::kError, about_ + ": " + why_);
}

// ---- the end ----

Status Barrier::Release() {
  Status proof;
  {
    const std::lock_guard lock(mutex_);
    if (released_) return {SQLITE_MISUSE, "the barrier was released before"};
    proof = state_ == State::kHeld ? Prove() : Status{SQLITE_ABORT, why_};
    Close();
    released_ = true;
  }
  over_.notify_all();
  const auto held = std::chrono::duration_cast<milliseconds>(Clock::now() - held_since_);
  const std::string released =
      about_ + ": released after " + insight::HumanDuration(held.count()) + ", ";
  if (proof.ok()) {
    logging::Write(Level::kInfo, released + "nothing has changed");
    return {};
  }
  const std::string violated = "barrier violated: " + proof.message;
  logging::Write(Level::kError, released + violated);
  return {proof.code, violated};
}

// REQUIRES: mutex_ is held, and the barrier.
Status Barrier::Prove() {
  const auto deadline = Clock::now() + 2 * kTornIsDead;
  for (Held& held : held_) {
    auto now = held.connection->ReadFacts();
    // Being written just now.
    while (!now.ok() && WorthAnotherTry(now.status()) && Clock::now() < deadline) {
      if (Status status = WatchWalIndexes(); !status.ok()) return {status.code, why_};
      std::this_thread::sleep_for(milliseconds(1));
      now = held.connection->ReadFacts();
    }
    // By a writer that was stopped in the middle, and holds its lock: what is needed of the header
    // has not changed, or the locks that keep it were lost.
    if (!now.ok() && WorthAnotherTry(now.status())) {
      now = held.connection->ReadFacts(&held.facts);
    }
    if (!now.ok()) return now.status();
    const std::string change = WhatChanged(held.facts, now.value(), kind_);
    if (!change.empty()) return {SQLITE_ABORT, held.connection->member().path + ": " + change};
  }
  // Last: whoever holds all locks to the end held them while the facts were read.
  const Status verified = Verify();
  return verified.ok() || why_.empty() ? verified : Status{verified.code, why_};
}

Barrier::~Barrier() {
  {
    const std::lock_guard lock(mutex_);
    released_ = true;
  }
  over_.notify_all();
  if (watcher_.joinable()) watcher_.join();
  {
    const std::lock_guard lock(mutex_);
    Close();
  }
  ledger::BarrierBoard::Process().Remove(token_);
}

}  // namespace lockscope::barrier
