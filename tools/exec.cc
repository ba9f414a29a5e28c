// lockscope exec: runs a command under a barrier, and says at the end whether what it copied can be
// trusted.
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <system_error>

#include "barrier_session.h"
#include "child.h"
#include "scratch_folder.h"
#include "signals.h"

namespace lockscope::tools {
namespace {

using Clock = std::chrono::steady_clock;

// Between the request to end and the end.
constexpr std::chrono::seconds kGrace{5};
// For what ends right after the command, and because it did.
constexpr std::chrono::milliseconds kAftermath{200};

// With more in one variable the kernel starts no program at all (MAX_ARG_STRLEN).
constexpr std::size_t kMostInAVariable = 32UL * 4096;

void SetList(const char* variable, const std::string& files) {
  if (std::string(variable).size() + files.size() + 2 <= kMostInAVariable) {
    setenv(variable, files.c_str(), 1);
    return;
  }
  unsetenv(variable);
  Complain("the list of files is too long for " + std::string(variable) +
           ", which is not set: it is in the file LOCKSCOPE_FILES_FROM");
}

// What the command finds in its environment.
void Furnish(const BarrierSession& session, const ScratchFolder& scratch) {
  const std::string files = session.FileList();
  const std::string manifest = scratch.Write(ScratchFolder::kManifest, session.Manifest() + "\n");
  setenv("LOCKSCOPE_MANIFEST", manifest.c_str(), 1);
  setenv("LOCKSCOPE_FILES_FROM", scratch.Write(ScratchFolder::kFiles, files).c_str(), 1);
  SetList("LOCKSCOPE_FILES", files);
  setenv("LOCKSCOPE_TOKEN", session.token().c_str(), 1);
}

// Ends it and all that it has started.
void Stop(Child& child, const AwaitedSignals& signals) {
  child.Stop(SIGTERM);
  const auto kill_at = Clock::now() + kGrace;
  while (!child.AllEnded() && Clock::now() < kill_at) signals.Next(BarrierSession::kHeartbeat);
  // What forks meanwhile is found the next time. Of what hangs in the kernel only the command
  // itself is waited for.
  const auto leave_at = Clock::now() + kGrace;
  while (!child.AllEnded() && (!child.Ended() || Clock::now() < leave_at)) {
    child.Stop(SIGKILL);
    signals.Next(BarrierSession::kHeartbeat);
  }
}

// What the command has left running may be the copying itself, and is not protected any more.
// The barrier is held that moment longer, if it may be.
bool LeavesOthers(Child& child, const AwaitedSignals& signals, const BarrierSession& session) {
  const auto leave_at =
      Clock::now() + std::min(kAftermath, session.HoldLeft().value_or(kAftermath) / 2);
  while (!child.AllEnded() && Clock::now() < leave_at) signals.Next(kAftermath / 10);
  return !child.AllEnded();
}

int SayNotStarted(const std::string& command, int error) {
  Complain("cannot run " + command + ": " + std::generic_category().message(error));
  return error == ENOENT ? kExitNotFound : kExitNotRunnable;
}

int Run(const BarrierWords& words, const CommandLine& line) {
  if (line.for_others.empty()) {
    Complain("exec needs a command to run: lockscope exec --db DB -- CMD …");
    return kExitUsage;
  }
  std::string label = "lockscope exec:";
  for (const std::string& word : line.for_others) label += " " + word;
  const ScratchFolder scratch;
  int status = kExitWell;
  const auto session = BarrierSession::Begin(words, label, status);
  if (session == nullptr) return status;
  Furnish(*session, scratch);
  const AwaitedSignals signals(
      {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM});
  Child child(line.for_others, signals.before());
  if (!child.started()) return SayNotStarted(line.for_others.front(), child.start_error());
  while (!child.Ended()) {
    if (const auto signal = signals.Next(session->UntilNextCheck())) child.Pass(*signal);
    if (session->Stands()) continue;
    Complain(session->WhyNot() + ": stopping " + line.for_others.front());
    Stop(child, signals);
  }
  const bool leaves_others = LeavesOthers(child, signals, *session);
  Verdict verdict = session->End();
  const std::string& command = line.for_others.front();
  if (verdict.status == kExitWell) {
    verdict.status = child.Status();
    verdict.text += verdict.status == kExitWell ? ": the copy is consistent"
                                                : ", but " + command + " ended with status " +
                                                      std::to_string(verdict.status);
  }
  if (leaves_others) {
    Complain("warning: " + command +
             " has left processes running: what they copy from now on is not protected");
  }
  Complain(verdict.text);
  return verdict.status;
}

}  // namespace

void AddExec(CLI::App& app, Action& action) {
  const auto words = std::make_shared<BarrierWords>();
  CLI::App* command = app.add_subcommand(
      "exec", "runs a command, to copy the databases, under a barrier, and verifies it");
  command->add_option("--db", words->databases, "a database file; --db for each of several")
      ->required()
      ->type_name("DB")
      ->allow_extra_args(false);
  AddBarrierOptions(*command, *words);
  command->footer(
      "The command stands behind --: lockscope exec --db app.db --db users.db -- CMD …\n"
      "CMD finds in its environment:\n"
      "  LOCKSCOPE_MANIFEST    path of the manifest in JSON, for lockscope copy\n"
      "  LOCKSCOPE_FILES_FROM  path of a list of the files to copy, one a line, for\n"
      "                        rsync --files-from=\"$LOCKSCOPE_FILES_FROM\" / DEST\n"
      "  LOCKSCOPE_FILES       the same list itself, up to 128 KiB; longer ones are left out\n"
      "  LOCKSCOPE_TOKEN       the barrier's name in lockscope_barriers\n"
      "Only the listed files belong to a copy. Both paths are of files in a folder of this user's "
      "below\n"
      "TMPDIR, or /tmp; they go when the barrier does, also where lockscope exec is killed.\n"
      "Signals are passed on to CMD. What it leaves running when it ends is not protected any "
      "more.\n"
      "When the locks are lost, or --max-hold is over, CMD and what it has started get SIGTERM, 5 "
      "s\n"
      "later SIGKILL. When lockscope exec is killed, so is CMD.\n"
      "Exit status: CMD's own, 128 and the signal's number where one ended it; 124 --max-hold was\n"
      "over; 125 lockscope failed or the barrier was violated: throw the copy away; 126 CMD cannot "
      "be\n"
      "run; 127 CMD was not found. Before CMD: 75 no barrier in time, try again; 1 a database "
      "cannot\n"
      "be had; 2 usage.");
  command->callback([&action, words] {
    action = [words](const CommandLine& line) { return Run(*words, line); };
  });
}

}  // namespace lockscope::tools
