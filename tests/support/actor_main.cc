// lockscope_actor: a process of plain SQLite that does what it is told, line by line.
//
// Tests drive it through class Actor (actor.h); by hand it is a shell whose commands may overlap:
//
//   $ lockscope_actor
//   1 open c /tmp/x.db
//   1 ok
//   2 exec c select 1, 'two'
//   2 ok 1<TAB>two
//
// A command is    NUMBER VERB [ARGUMENTS]    and is answered by one line, whenever it is done:
//
//   NUMBER ok                        no row
//   NUMBER ok COLUMN<TAB>COLUMN…     rows are separated by 0x1E; backslash, newline, tab and 0x1E
//   in
//                                    a column are written \\ \n \t \e; NULL is NULL, blobs are hex
//   NUMBER error CODE MESSAGE        CODE is SQLite's extended result code
//
// A carriage return in a command stands for a newline. Commands of one connection run one after the
// other, in a thread of its own; those of different connections run at the same time. Commands
// without a connection are done at once, also while SQLite waits or is stopped at a point. End of
// input ends the process then and there, as a crash would. Lines that answer nothing begin with an
// asterisk:
//
//   * paused WHERE        a thread has stopped at a point   (pausing_vfs.h)
//   * reached WHERE       a thread has passed a point
//
// Commands of a connection (NAME is any word; what is last on the line may contain spaces):
//   open NAME FILE        READWRITE | CREATE | URI, through the pausing VFS unless FILE is a URI
//   that
//                         says vfs=…
//   openro NAME FILE      READONLY | URI
//   exec NAME SQL         runs all statements to their end; answers the last row
//   query NAME SQL        the same; answers all rows of the last statement
//   step NAME SQL         prepares, steps once, and leaves the statement where it stands
//   next NAME             steps the newest of those again
//   finish NAME           finalizes them all
//   timeout NAME MS       sqlite3_busy_timeout
//   checkpoint NAME MODE  passive | full | restart | truncate; answers busy, log frames,
//   checkpointed
//                         frames, as PRAGMA wal_checkpoint does: being busy is not an error
//   backup NAME FILE      sqlite3_backup of FILE's main onto NAME's main, all of it in one step
//   load NAME FILE        loads an extension; a NAME that is not open becomes a :memory: database
//   close NAME            finalizes and closes
// Commands of the process:
//   interrupt NAME        sqlite3_interrupt
//   pid
//   pause POINT           stops there, once: pausing_vfs.h has the grammar
//   tell POINT            tells of it and goes on
//   continue              lets everything stopped go on
//   forget                removes the points that were not reached
//   stray-close FILE      open() and close(): this process's POSIX locks on FILE are gone
//   raw-lock posix|ofd|flock read|write FIRST LAST FILE
//                         a lock on these bytes by fcntl itself, till the process ends
//   fork                  a child that inherits everything and does nothing, till the driver ends;
//                         answers its pid
//   become UID GID        gives up the rights it has
//   quit                  closes everything, in order of names, and exits with 0
//
// --plain as argument: the default VFS is SQLite's own; there are no points then.
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "pausing_vfs.h"

namespace lockscope::testing {
namespace {

// One line to the driver, whole, whichever thread it comes from.
void Say(const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  const std::string text = line + "\n";
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) _exit(1);  // nobody listens any more
    done += static_cast<std::size_t>(n);
  }
}

// What a command answers when it fails.
class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

Failure Errno(const std::string& what) {
  const int error = errno;
  const bool held = error == EAGAIN || error == EACCES;
  return Failure(held ? SQLITE_BUSY : SQLITE_IOERR, what + ": " + std::strerror(error));
}

// Cuts the first word off `text`.
std::string TakeWord(std::string_view& text) {
  const auto end = text.find(' ');
  std::string word(text.substr(0, end));
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return word;
}

long long ToNumber(const std::string& word) {
  try {
    return std::stoll(word);
  } catch (const std::exception&) {
    throw Failure(SQLITE_MISUSE, "'" + word + "' is no number");
  }
}

// ---- Rows --------------------------------------------------------------------------------------

std::string Column(sqlite3_stmt* statement, int i) {
  if (sqlite3_column_type(statement, i) == SQLITE_NULL) return "NULL";
  const bool blob = sqlite3_column_type(statement, i) == SQLITE_BLOB;
  const auto* bytes = static_cast<const unsigned char*>(blob ? sqlite3_column_blob(statement, i)
                                                             : sqlite3_column_text(statement, i));
  const int size = sqlite3_column_bytes(statement, i);
  std::string text;
  for (int k = 0; k < size; ++k) {
    const unsigned char c = bytes[k];
    if (blob) {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      text += {kHex[c >> 4U], kHex[c & 15U]};
    } else if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\t') {
      text += "\\t";
    } else if (c == 0x1E) {
      text += "\\e";
    } else {
      text += static_cast<char>(c);
    }
  }
  return text;
}

std::string Row(sqlite3_stmt* statement) {
  std::string row;
  for (int i = 0; i < sqlite3_column_count(statement); ++i) {
    if (i > 0) row += '\t';
    row += Column(statement, i);
  }
  return row;
}

// "" without rows, else " ROW<0x1E>ROW…".
std::string Rows(const std::vector<std::string>& rows) {
  std::string text;
  for (const std::string& row : rows) text += (text.empty() ? ' ' : '\x1E') + row;
  return text;
}

// ---- Connections -------------------------------------------------------------------------------

// A name, its thread, and the database that is open under the name. Everything but Post and
// Interrupt happens in that thread.
class Connection {
 public:
  explicit Connection(std::string name) : thread_([this, name = std::move(name)] { Work(name); }) {}
  ~Connection() {
    Post([this] {
      Close();
      done_ = true;
    });
    thread_.join();
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Queues a task; it must not throw.
  void Post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    woken_.notify_one();
  }

  void Interrupt() {
    const std::lock_guard lock(database_mutex_);
    if (database_ != nullptr) sqlite3_interrupt(database_);
  }

  // Runs one command and returns what follows "ok". Throws Failure.
  std::string Do(const std::string& verb, std::string_view arguments) {
    const std::string text(arguments);
    if (verb == "open") return Open(text, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (verb == "openro") return Open(text, SQLITE_OPEN_READONLY);
    if (verb == "load") return Load(text);
    if (verb == "close") return Close();
    if (database_ == nullptr) throw Failure(SQLITE_MISUSE, "not open");
    if (verb == "exec") return Execute(text, false);
    if (verb == "query") return Execute(text, true);
    if (verb == "step") return Step(text);
    if (verb == "next") return Next();
    if (verb == "finish") return Finish();
    if (verb == "checkpoint") return Checkpoint(text);
    if (verb == "backup") return Backup(text);
    if (verb == "timeout") {
      Check(sqlite3_busy_timeout(database_, static_cast<int>(ToNumber(text))));
      return "";
    }
    throw Failure(SQLITE_MISUSE, "unknown command " + verb);
  }

 private:
  void Work(const std::string& name) {
    NameThread(name);
    while (!done_) {
      std::unique_lock lock(mutex_);
      woken_.wait(lock, [&] { return !tasks_.empty(); });
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
  }

  void Check(int rc) const {
    if (rc != SQLITE_OK) throw Failure(rc, sqlite3_errmsg(database_));
  }

  std::string Open(const std::string& file, int flags) {
    if (database_ != nullptr) throw Failure(SQLITE_MISUSE, "open already");
    sqlite3* opened = nullptr;
    const int rc = sqlite3_open_v2(file.c_str(), &opened, flags | SQLITE_OPEN_URI, nullptr);
    if (rc != SQLITE_OK) {
      const int code = sqlite3_extended_errcode(opened);
      const std::string message = sqlite3_errmsg(opened);
      sqlite3_close(opened);
      throw Failure(code, message);
    }
    sqlite3_extended_result_codes(opened, 1);
    const std::lock_guard lock(database_mutex_);
    database_ = opened;
    return "";
  }

  std::string Close() {
    Finish();
    if (database_ == nullptr) return "";
    sqlite3* closing = nullptr;
    {
      const std::lock_guard lock(database_mutex_);
      closing = std::exchange(database_, nullptr);
    }
    sqlite3_close_v2(closing);
    return "";
  }

  std::string Load(const std::string& file) {
    if (database_ == nullptr) Open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    Check(sqlite3_db_config(database_, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, nullptr));
    char* error = nullptr;
    const int rc = sqlite3_load_extension(database_, file.c_str(), nullptr, &error);
    const std::string message = error != nullptr ? error : "";
    sqlite3_free(error);
    if (rc != SQLITE_OK) throw Failure(rc, message);
    return "";
  }

  // Prepares the statement that `sql` begins with and cuts it off. Null for white space.
  sqlite3_stmt* Prepare(const char*& sql) {
    sqlite3_stmt* statement = nullptr;
    Check(sqlite3_prepare_v2(database_, sql, -1, &statement, &sql));
    return statement;
  }

  std::string Execute(const std::string& sql, bool all) {
    std::vector<std::string> rows;
    for (const char* rest = sql.c_str(); *rest != '\0';) {
      sqlite3_stmt* statement = Prepare(rest);
      if (statement == nullptr) continue;
      rows.clear();
      int rc = SQLITE_OK;
      while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (!all) rows.clear();
        rows.push_back(Row(statement));
      }
      const std::string message = sqlite3_errmsg(database_);
      sqlite3_finalize(statement);
      if (rc != SQLITE_DONE) throw Failure(rc, message);
    }
    return Rows(rows);
  }

  std::string Step(const std::string& sql) {
    const char* rest = sql.c_str();
    sqlite3_stmt* statement = Prepare(rest);
    if (statement == nullptr) throw Failure(SQLITE_MISUSE, "no statement");
    open_statements_.push_back(statement);
    return Next();
  }

  std::string Next() {
    if (open_statements_.empty()) throw Failure(SQLITE_MISUSE, "no statement is open");
    sqlite3_stmt* statement = open_statements_.back();
    const int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) return Rows({Row(statement)});
    if (rc == SQLITE_DONE) return "";
    throw Failure(rc, sqlite3_errmsg(database_));
  }

  std::string Finish() {
    for (sqlite3_stmt* statement : open_statements_) sqlite3_finalize(statement);
    open_statements_.clear();
    return "";
  }

  std::string Backup(const std::string& file) {
    sqlite3* source = nullptr;
    int rc = sqlite3_open_v2(file.c_str(), &source, SQLITE_OPEN_READONLY, nullptr);
    sqlite3_backup* backup = nullptr;
    if (rc == SQLITE_OK) backup = sqlite3_backup_init(database_, "main", source, "main");
    if (rc == SQLITE_OK && backup == nullptr) rc = sqlite3_errcode(database_);
    if (backup != nullptr) {
      const int step = sqlite3_backup_step(backup, -1);
      rc = sqlite3_backup_finish(backup);
      // Being busy is an answer of the step alone.
      if (rc == SQLITE_OK && step != SQLITE_DONE) rc = step;
    }
    sqlite3_close(source);
    if (rc != SQLITE_OK) throw Failure(rc, sqlite3_errstr(rc));
    return "";
  }

  std::string Checkpoint(const std::string& mode) {
    constexpr std::array<std::string_view, 4> kModes = {"passive", "full", "restart", "truncate"};
    static_assert(SQLITE_CHECKPOINT_PASSIVE == 0 && SQLITE_CHECKPOINT_TRUNCATE == 3);
    for (std::size_t i = 0; i < kModes.size(); ++i) {
      if (kModes[i] != mode) continue;
      int log = -1;
      int done = -1;
      const int rc =
          sqlite3_wal_checkpoint_v2(database_, nullptr, static_cast<int>(i), &log, &done);
      if ((rc & 0xFF) != SQLITE_BUSY) Check(rc);
      return Rows({std::to_string(rc == SQLITE_OK ? 0 : 1) + "\t" + std::to_string(log) + "\t" +
                   std::to_string(done)});
    }
    throw Failure(SQLITE_MISUSE, "unknown checkpoint mode " + mode);
  }

  std::mutex mutex_;
  std::condition_variable woken_;
  std::deque<std::function<void()>> tasks_;
  bool done_ = false;

  std::mutex database_mutex_;  // held to change database_, and by Interrupt to use it
  sqlite3* database_ = nullptr;
  std::vector<sqlite3_stmt*> open_statements_;

  std::thread thread_;  // last: it uses everything above
};

// ---- The process -------------------------------------------------------------------------------

std::string StrayClose(const std::string& file) {
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw Errno(file);
  close(fd);
  return "";
}

// The descriptor stays open: closing it would drop the lock, and SQLite's with it.
std::string RawLock(std::string_view arguments) {
  const std::string kind = TakeWord(arguments);
  const bool writes = TakeWord(arguments) == "write";
  const long long first = ToNumber(TakeWord(arguments));
  const long long last = ToNumber(TakeWord(arguments));
  const std::string file(arguments);
  const int fd = open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) throw Errno(file);
  if (kind == "flock") {
    if (flock(fd, (writes ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) throw Errno("flock");
    return "";
  }
  struct flock lock = {};
  lock.l_type = static_cast<short>(writes ? F_WRLCK : F_RDLCK);
  lock.l_whence = SEEK_SET;
  lock.l_start = first;
  lock.l_len = last - first + 1;
  const int command = kind == "ofd" ? F_OFD_SETLK : F_SETLK;
  if (fcntl(fd, command, &lock) != 0) throw Errno("fcntl");
  return "";
}

// The child calls nothing but system calls: it has one thread of many. It keeps stdin, to see the
// driver go, and not stdout, whose end means that this process ended.
std::string Fork() {
  const pid_t child = fork();
  if (child < 0) throw Errno("fork");
  if (child == 0) {
    close(STDOUT_FILENO);
    pollfd driver = {.fd = STDIN_FILENO, .events = 0, .revents = 0};
    while (poll(&driver, 1, -1) <= 0) {
    }
    _exit(0);
  }
  return " " + std::to_string(child);
}

std::string Become(std::string_view arguments) {
  const auto user = static_cast<uid_t>(ToNumber(TakeWord(arguments)));
  const auto group = static_cast<gid_t>(ToNumber(TakeWord(arguments)));
  if (setgroups(0, nullptr) != 0 || setresgid(group, group, group) != 0 ||
      setresuid(user, user, user) != 0) {
    throw Errno("become");
  }
  return "";
}

class Process {
 public:
  // Answers one command line. False after "quit".
  bool Handle(std::string_view line) {
    const std::string number = TakeWord(line);
    const std::string verb = TakeWord(line);
    if (verb == "quit") {
      connections_.clear();
      return false;
    }
    if (BelongsToConnection(verb)) {
      const std::string name = TakeWord(line);
      Connection& connection = Named(name);
      connection.Post([&connection, number, verb, arguments = std::string(line)] {
        Answer(number, [&] { return connection.Do(verb, arguments); });
      });
    } else {
      Answer(number, [&] { return Do(verb, line); });
    }
    return true;
  }

 private:
  static bool BelongsToConnection(std::string_view verb) {
    constexpr std::array<std::string_view, 12> kVerbs = {
        "open",   "openro",  "exec",   "query",      "step", "next",
        "finish", "timeout", "backup", "checkpoint", "load", "close"};
    for (const std::string_view candidate : kVerbs) {
      if (verb == candidate) return true;
    }
    return false;
  }

  template <class Action>
  static void Answer(const std::string& number, Action action) {
    try {
      Say(number + " ok" + action());
    } catch (const Failure& failure) {
      Say(number + " error " + std::to_string(failure.code()) + " " + failure.what());
    } catch (const std::exception& e) {
      Say(number + " error " + std::to_string(SQLITE_MISUSE) + " " + e.what());
    }
  }

  Connection& Named(const std::string& name) {
    auto& connection = connections_[name];
    if (connection == nullptr) connection = std::make_unique<Connection>(name);
    return *connection;
  }

  std::string Do(const std::string& verb, std::string_view arguments) {
    if (verb == "pid") return " " + std::to_string(getpid());
    if (verb == "pause" || verb == "tell") {
      SetPoint(arguments, verb == "pause");
    } else if (verb == "continue") {
      ContinueAll();
    } else if (verb == "forget") {
      ClearPoints();
    } else if (verb == "interrupt") {
      Named(std::string(arguments)).Interrupt();
    } else if (verb == "stray-close") {
      return StrayClose(std::string(arguments));
    } else if (verb == "raw-lock") {
      return RawLock(arguments);
    } else if (verb == "fork") {
      return Fork();
    } else if (verb == "become") {
      return Become(arguments);
    } else {
      throw Failure(SQLITE_MISUSE, "unknown command " + verb);
    }
    return "";
  }

  std::map<std::string, std::unique_ptr<Connection>> connections_;
};

int Main(bool plain) {
  OnPoint([](const std::string& event, bool stops) {
    Say((stops ? "* paused " : "* reached ") + event);
  });
  if (!plain && RegisterPausingVfs() != SQLITE_OK) return 1;
  Process process;
  std::string line;
  while (std::getline(std::cin, line)) {
    for (char& c : line) {
      if (c == '\r') c = '\n';
    }
    if (!process.Handle(line)) return 0;
  }
  _exit(0);
}

}  // namespace
}  // namespace lockscope::testing

int main(int argc, char** argv) {
  return lockscope::testing::Main(argc > 1 && std::string_view(argv[1]) == "--plain");
}
