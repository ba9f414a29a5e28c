// lockscope hold: a barrier for tools with hooks: taken by one command, let go by another.
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <system_error>

#include "background.h"
#include "barrier_session.h"
#include "pid_file.h"
#include "signals.h"
#include "text.h"

namespace lockscope::tools {
namespace {

struct HoldWords {
  BarrierWords barrier;
  bool background = false;
  std::string pid_file;
  std::string stop;
};

// ---- to hold ----

Verdict HoldUntilTold(BarrierSession& session, const AwaitedSignals& signals) {
  while (session.Stands() && !signals.Next(session.UntilNextCheck())) {
  }
  Verdict verdict = session.End();
  if (verdict.status == kExitWell) verdict.text += ": the copy is consistent";
  return verdict;
}

int Hold(const HoldWords& words, const Ready& ready) {
  std::optional<PidFile> pid_file;
  if (!words.pid_file.empty()) {
    auto claimed = PidFile::Claim(words.pid_file);
    if (!claimed.ok()) {
      Complain(claimed.status().message);
      return kExitWrong;
    }
    pid_file.emplace(std::move(claimed.value()));
  }
  int status = kExitWell;
  const auto session = BarrierSession::Begin(words.barrier, "lockscope hold", status);
  if (session == nullptr) {
    if (pid_file) pid_file->Remove();
    return status;
  }
  signal(SIGTERM, SIG_DFL);  // by which `hold --stop` asks
  const AwaitedSignals signals({SIGTERM, SIGINT, SIGHUP});
  const Status written = pid_file ? pid_file->WritePid() : Status{};
  if (!written.ok()) Complain(written.message);
  if (!written.ok() || !Print(VisibleJson(session->Manifest()) + "\n")) {
    if (pid_file) pid_file->Remove();
    return kExitWrong;
  }
  // Whoever asked for it was killed while it was waited for, and would never end it.
  if (!ready()) {
    if (pid_file) pid_file->Remove();
    return kExitWrong;
  }
  const Verdict verdict = HoldUntilTold(*session, signals);
  if (pid_file) pid_file->WriteVerdict(verdict);
  Complain(verdict.text);
  return verdict.status;
}

// ---- to stop ----

class Process {
 public:
  explicit Process(pid_t pid) : fd_(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))) {}
  bool Signal(int number) const {
    return syscall(SYS_pidfd_send_signal, fd_.get(), number, nullptr, 0) == 0;
  }
  bool EndsWithin(std::chrono::milliseconds time) const {
    pollfd ended = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return poll(&ended, 1, static_cast<int>(time.count())) == 1;
  }

 private:
  UniqueFd fd_;
};

// Asks the holder to end, and waits. An exit status, after a complaint, where that fails.
std::optional<int> End(const PidFile& file, const std::string& name) {
  const auto pid = file.Holder();
  if (!pid) return std::nullopt;
  const Process holder(*pid);
  // Only while it has the lock is it known that the pid is still the holder's.
  if (file.Holder() != pid) return std::nullopt;
  if (!holder.Signal(SIGTERM)) {
    const int error = errno;
    if (!file.Holder()) return std::nullopt;
    Complain(name + ": cannot stop " +
             (*pid > 0 ? "pid " + std::to_string(*pid) : "a process outside this pid namespace") +
             ": " + std::generic_category().message(error));
    return kExitWrong;
  }
  constexpr std::chrono::minutes kPatience{1};
  if (holder.EndsWithin(kPatience)) return std::nullopt;
  Complain(name + ": pid " + std::to_string(*pid) + " was asked to end and does not");
  return kExitFailed;
}

int Stop(const std::string& name) {
  auto found = PidFile::Find(name);
  if (!found.ok()) {
    Complain(found.status().message);
    return kExitWrong;
  }
  PidFile& file = found.value();
  if (const auto failed = End(file, name)) return *failed;
  if (!file.KeepsHoldersOut()) {
    Complain(name +
             ": another holder has it by now; what became of the one before it is not known");
    return kExitFailed;
  }
  const auto verdict = file.ReadVerdict();
  file.Remove();
  if (!verdict) {
    Complain(name + ": the holder was killed, and its locks went with it: throw the copy away");
    return kExitFailed;
  }
  Complain(verdict->text);
  return verdict->status;
}

int Run(const HoldWords& words) {
  if (!words.stop.empty()) return Stop(words.stop);
  if (words.barrier.databases.empty()) {
    Complain("hold needs a database, or --stop F");
    return kExitUsage;
  }
  if (!words.background) return Hold(words, [] { return true; });
  if (words.pid_file.empty()) {
    Complain("hold --background needs --pid-file F, by which hold --stop F finds it");
    return kExitUsage;
  }
  return InBackground([&words](const Ready& ready) { return Hold(words, ready); });
}

}  // namespace

void AddHold(CLI::App& app, Action& action) {
  const auto words = std::make_shared<HoldWords>();
  CLI::App* command = app.add_subcommand(
      "hold", "holds a barrier until it is told to end: for tools with hooks before and after");
  CLI::Option* databases = command->add_option("DB", words->barrier.databases, "database files");
  AddBarrierOptions(*command, words->barrier);
  CLI::Option* background = command->add_flag("--background", words->background,
                                              "return once the barrier is held; needs --pid-file");
  CLI::Option* pid_file = command->add_option("--pid-file", words->pid_file,
                                              "a file for the pid, and for the verdict at the end");
  pid_file->type_name("F");
  command->add_option("--stop", words->stop, "end the holder that has this pid file")
      ->type_name("F")
      ->excludes(databases, background, pid_file);
  command->footer(
      "Prints the manifest in JSON, for lockscope copy, once the barrier is held. It ends by "
      "SIGTERM,\n"
      "SIGINT or SIGHUP, and by itself when the locks are lost or --max-hold is over.\n"
      "  lockscope hold --background --pid-file /run/app.hold app.db >manifest.json   # before\n"
      "  lockscope hold --stop /run/app.hold                                          # after\n"
      "hold --stop waits for the holder's end, removes the pid file and exits as the holder did.\n"
      "Exit status: 0 held to the end and proven (--background: it is held now); 124 --max-hold "
      "was\n"
      "over; 125 the barrier was violated or its holder killed: throw the copy away; 75 no barrier "
      "in\n"
      "time, try again; 1 a database or the pid file cannot be had, a holder has the pid file\n"
      "already, --stop finds none; 2 usage.");
  command->callback(
      [&action, words] { action = [words](const CommandLine&) { return Run(*words); }; });
}

}  // namespace lockscope::tools
