// PidFile: the file by which `hold --stop` finds a holder, and in which a holder leaves what became
// of its barrier.
//
//   4711                                            its pid, for people and other tools
//   verdict 0 held 41.2 s, app.db unchanged         once it has ended
//
// Whether the holder lives is told by its POSIX lock on the file, which ends with its process and
// not before, and which names the process in the pids of whoever asks: no pid that another process
// has by now is ever signalled. REQUIRES, of a holder: nothing else in it opens the file.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "barrier_session.h"
#include "model/status.h"
#include "unique_fd.h"

namespace lockscope::tools {

class PidFile {
 public:
  // For this process to hold by; that of a dead holder is taken over and emptied: what became of
  // an earlier barrier must not be taken for the verdict on this one.
  //   SQLITE_BUSY      a holder lives
  //   SQLITE_MISUSE    a file of another kind
  //   SQLITE_CANTOPEN  it cannot be made or opened
  static Result<PidFile> Claim(const std::string& path);
  Status WritePid();
  void WriteVerdict(const Verdict& verdict);
  // REQUIRES: it is claimed, or KeepsHoldersOut().
  void Remove();

  // For whoever asks. SQLITE_NOTFOUND where there is none, otherwise as Claim().
  static Result<PidFile> Find(const std::string& path);
  // Null: no holder lives. 0: one outside this pid namespace.
  std::optional<pid_t> Holder() const;
  // As long as the object lives nobody can claim this file (one of the same name they can, once
  // somebody has removed this). False where a holder lives, or the file is not the named one any
  // more.
  bool KeepsHoldersOut();
  // What the holder has left; null where it has not.
  std::optional<Verdict> ReadVerdict() const;

 private:
  PidFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::string Text() const;
  bool IsOne() const;
  bool HasName() const;
  bool Lock(short type);
  Status Write(const std::string& text, bool from_the_beginning);

  std::string path_;
  UniqueFd fd_;
};

}  // namespace lockscope::tools
