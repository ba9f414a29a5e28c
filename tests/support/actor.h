// Actor: another process that runs plain SQLite and does what a test tells it.
//
//   Actor writer;
//   writer.Open("c", path);                             // plain SQLite, in another process
//   writer.Exec("c", "begin immediate");                // …which now holds RESERVED
//   EXPECT_TRUE(HoldsByte(path, writer.pid(), kWrite, kReservedByte));     (database.h)
//
//   Answer commit = writer.Start("c", "commit");        // does not wait…
//   reader.Exec("c", "rollback");
//   EXPECT_TRUE(commit.Wait().ok());                    // …until here
//
//   Actor recovering;                                   // a moment that is made to last
//   recovering.PauseAt("after shm-lock recover exclusive");
//   recovering.Open("c", path);
//   Answer rows = recovering.Start("c", "select count(*) from t");
//   recovering.AwaitPoint();                            // it has stopped, holding the recover lock
//   …look at it from outside…
//   recovering.Continue();
//   EXPECT_TRUE(rows.Wait().ok());
//
// The process ends with the object (SIGKILL: nothing is closed in an orderly way; Quit() does
// that). No call waits longer than the deadline: an actor that has not answered by then is killed,
// and the call reports it. Verbs that return Reply or Answer leave the judgement to the test; all
// others throw ActorError when SQLite refuses, which GoogleTest shows as a failure.
//
// NAME is the name of a connection, any word. Each connection of an actor has a thread of its own,
// so that one can wait while another goes on. An Actor itself is for one thread at a time.
//
// How to reach each lock state, and what to tell an actor for it (proved in support_test.cc):
//
//   rollback journal
//     SHARED      Exec("begin; select * from t limit 1")          or an unreset Step("select …")
//     RESERVED    Exec("begin immediate")
//     PENDING     another holds SHARED; Exec("begin immediate; update …"), Try("commit") is BUSY
//     EXCLUSIVE   Exec("begin exclusive"), or PauseAt("before sync main") and Start("commit")
//     … without RESERVED, as hot-journal rollback: LeaveHotJournal(path),
//                 PauseAt("after lock exclusive"), Open, Start("select …")
//   WAL
//     write       Exec("begin immediate")
//     ckpt        PauseAt("after shm-lock ckpt exclusive"), Start("pragma wal_checkpoint")
//     … with read slot 0 exclusive: PauseAt("before write main")
//     … with the write lock:        the same with pragma wal_checkpoint(truncate)
//     … and all of slots 1-4:       PauseAt("after shm-lock 4+4 exclusive")
//     recover     LeaveWalToRecover(path), PauseAt("after shm-lock recover exclusive"), Open,
//                 Start("select …")
//     read0 … 4   HoldReadSlots(path) (database.h) has a reader on each; by hand: a reader that
//     begins
//                 when all is checkpointed gets slot 0, later ones the next free slot, if a commit
//                 came between
//     idle        Exec("select …") outside a transaction: SHARED on the database and byte 128 stay
#pragma once

#include <sqlite3.h>
#include <sys/types.h>

#include <chrono>
#include <deque>
#include <map>
#include <ostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "subprocess.h"

namespace lockscope::testing {

class Actor;

using Row = std::vector<std::string>;  // NULL is "NULL", blobs are hexadecimal

// What became of a command.
struct Reply {
  // The actor died or was killed at the deadline; no code of SQLite's.
  static constexpr int kNone = -1;

  int code = SQLITE_OK;  // SQLite's extended result code
  std::string message;   // SQLite's, where code is not SQLITE_OK
  std::vector<Row> rows;

  bool ok() const { return code == SQLITE_OK; }

  // The last row's columns, tab separated; "" without a row.
  std::string text() const;
};
std::ostream& operator<<(std::ostream& stream, const Reply& reply);

class ActorError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A command that was sent. REQUIRES: its Actor lives.
class Answer {
 public:
  // Waits for the answer, at most until the actor's deadline. May be called once.
  Reply Wait();

  // Whether Wait() would return at once. Does not wait.
  bool Ready();

 private:
  friend class Actor;
  Answer(Actor* actor, long number, std::string command)
      : actor_(actor), number_(number), command_(std::move(command)) {}

  Actor* actor_;
  long number_;
  std::string command_;
};

class Actor {
 public:
  struct Options {
    // For every wait: an answer, a point, an exit.
    std::chrono::milliseconds deadline = std::chrono::seconds(30);
    // SQLite's own VFS as default, for tests that must see its name; PauseAt and TellAt do nothing.
    bool plain = false;
    Environment env = {};
    // The command that runs it, if not this process: {"unshare", …}. pid() is then that command's.
    std::vector<std::string> run_by = {};
  };

  // Starts the process. Throws where that fails.
  Actor() : Actor(Options()) {}
  explicit Actor(const Options& options);
  ~Actor();
  Actor(const Actor&) = delete;
  Actor& operator=(const Actor&) = delete;

  // Stays known after its death.
  pid_t pid() const { return pid_; }
  bool alive();

  // ---- Connections ----

  // READWRITE | CREATE | URI: `file` is a path, or "file:…?mode=rw&vfs=unix-excl" and the like.
  void Open(std::string_view name, std::string_view file);
  void OpenReadOnly(std::string_view name, std::string_view file);
  void Close(std::string_view name);
  void BusyTimeout(std::string_view name, int milliseconds);

  // ---- SQL ----

  // Runs all statements in `sql` to their end. Returns the last row.
  Row Exec(std::string_view name, std::string_view sql);

  // The same; returns all rows of the last statement.
  std::vector<Row> Query(std::string_view name, std::string_view sql);

  // As Query, for where SQLite may refuse.
  Reply Try(std::string_view name, std::string_view sql);

  // As Try, without waiting.
  [[nodiscard]] Answer Start(std::string_view name, std::string_view sql);

  // Prepares `sql`, steps it once and leaves it there: the snapshot of a forgotten SELECT. Returns
  // the row. Finish finalizes all statements of the connection that were so left.
  Row Step(std::string_view name, std::string_view sql);
  void Finish(std::string_view name);

  // sqlite3_wal_checkpoint_v2; `mode` is passive, full, restart or truncate. Busy is no error here.
  // A connection that has not read yet has no WAL open and checkpoints nothing: -1 frames of -1.
  struct CheckpointResult {
    bool busy = false;
    int log_frames = -1;
    int checkpointed_frames = -1;
  };
  CheckpointResult Checkpoint(std::string_view name, std::string_view mode);

  // sqlite3_backup of the main database of `source`, a path, onto the one of `name`, in one step.
  Reply Backup(std::string_view name, std::string_view source);

  // sqlite3_interrupt, also while `name` is busy.
  void Interrupt(std::string_view name);

  // Loads an extension into `name`, which is made a :memory: connection where it is not open.
  void Load(std::string_view name, std::string_view extension);

  // ---- Points: see pausing_vfs.h for what `point` may be. Each fires once. ----

  // The thread of SQLite that gets there waits for Continue().
  void PauseAt(std::string_view point);

  // It tells and goes on: TellAt("before sleep") is how to know that a connection has begun to
  // wait.
  void TellAt(std::string_view point);

  // Waits until a point set by either is reached, and says which: "after shm-lock 1+2 exclusive
  // by=c".
  std::string AwaitPoint();

  // Everything that has stopped goes on.
  void Continue();

  // Removes the points that were not reached.
  void ForgetPoints();

  // ---- The process ----

  // open() and close() of `file`: the actor's POSIX locks on it are gone, SQLite does not know.
  void StrayClose(std::string_view file);

  // A lock that SQLite knows nothing of, by fcntl or flock, held till the process ends. `kind` is
  // posix, ofd or flock; `type` read or write; the bytes are inclusive.
  Reply RawLock(std::string_view kind, std::string_view type, long first, long last,
                std::string_view file);

  // A forked child that has inherited everything and does nothing. It survives Kill(), and ends
  // with this object.
  pid_t ForkChild();

  // Gives up root: Become(65534, 65534) is nobody. The files must be in reach:
  // TempDir::AllowEverybody.
  void Become(uid_t user, gid_t group);

  // SIGKILL, and waits until it is gone with all its locks.
  void Kill();

  // Closes all connections and exits. Returns the exit code; 128 + signal where it died of one.
  int Quit();

  // ---- The wire: a line of actor_main.cc's commands, without the number. ----

  [[nodiscard]] Answer Send(std::string_view command);
  Reply Call(std::string_view command) { return Send(command).Wait(); }

 private:
  friend class Answer;
  using Clock = std::chrono::steady_clock;

  Reply Must(std::string_view command);
  bool Pump(Clock::time_point deadline);
  void Dispatch(std::string_view line);
  Reply AwaitReply(long number, const std::string& command);
  std::string Epitaph() const;
  bool Reap(bool wait);

  Options options_;
  pid_t pid_ = -1;
  bool running_ = false;
  int wait_status_ = 0;
  UniqueFd to_;
  UniqueFd from_;
  std::string unread_;
  long last_number_ = 0;
  std::map<long, Reply> replies_;
  std::deque<std::string> points_;
};

}  // namespace lockscope::testing
