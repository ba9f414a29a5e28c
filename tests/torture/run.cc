#include "run.h"

#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "copier.h"
#include "methods.h"
#include "roles.h"
#include "support/temp_dir.h"

namespace lockscope::torture {
namespace {

constexpr double kNsPerMs = 1e6;
constexpr double kNsPerSecond = 1e9;

class Torture {
 public:
  explicit Torture(const Options& options)
      : options_(options),
        setting_{
            .files = {.a = folder_ / "a.db", .b = folder_ / "b.db", .accounts = options.accounts},
            .wal = options.journal == "wal",
            .seed = options.seed},
        random_(options.seed + 1U) {
    Child("maker", [this] { CreateBank(setting_.files, options_.journal); }).Join();
  }

  Totals Run() {
    Start();
    method_ = MakeMethod(options_.method, setting_.files, folder_.path() + "/copies");
    const std::int64_t begun = NowNs();
    const std::int64_t end = begun + static_cast<std::int64_t>(options_.seconds * kNsPerSecond);
    while (totals_.barriers + totals_.refusals < options_.barriers && !RoleEnded() &&
           (options_.seconds == 0 || NowNs() < end)) {
      Round();
      usleep(static_cast<useconds_t>(Between(random_, 0, 5000)));
    }
    totals_.seconds = static_cast<double>(NowNs() - begun) / kNsPerSecond;
    Stop();
    return totals_;
  }

 private:
  SharedState& shared() { return memory_.state(); }

  void Start() {
    std::filesystem::create_directory(folder_ / "copies");
    copier_ = std::make_unique<Copier>();
    for (int i = 0; i < kWriters; ++i) {
      roles_.emplace_back("writer", [this, i] { RunWriter(setting_, shared(), i); });
    }
    roles_.emplace_back("checkpointer", [this] { RunCheckpointer(setting_, shared()); });
    for (int i = 0; i < kReaders; ++i) {
      roles_.emplace_back("reader", [this, i] { RunReader(setting_, shared(), i); });
    }
    constexpr useconds_t kWarmUpUs = 200'000;
    usleep(kWarmUpUs);
  }

  bool RoleEnded() {
    for (Child& role : roles_) {
      if (role.Ended()) return true;
    }
    return false;
  }

  // ---- one round ----

  Plan Draw() {
    Plan plan;
    plan.timeout_ms = options_.timeout_ms;
    plan.kind = options_.kinds[static_cast<std::size_t>(
        Between(random_, 0, static_cast<int>(options_.kinds.size()) - 1))];
    // Half of all are snapshots, where they are asked for.
    if (options_.kinds.size() > 1 && Chance(random_, 25)) plan.kind = options_.kinds.front();
    const int die = options_.calm ? 0 : Between(random_, 1, 100);
    plan.a = die <= 80;
    plan.b = die <= 60 || die > 80;
    if (options_.method == "none") plan.a = plan.b = false;
    plan.reversed = Chance(random_, 50);
    plan.exact = options_.copies == "exact" || (options_.copies == "random" && Chance(random_, 50));
    return plan;
  }

  void Round() {
    if (!options_.calm && Chance(random_, 3)) QuietMoment();
    if (Chance(random_, 10)) method_->Reopen(random_);
    copier_->Remove({CopyOf(setting_.files.a), CopyOf(setting_.files.b)});
    const Plan plan = Draw();
    const bool writers_go_on = options_.calm || (setting_.wal && plan.kind == "snapshot");
    Window& window = NextWindow(writers_go_on);
    const std::int64_t commits = Commits();
    const std::int64_t begun = NowNs();
    const bool held = method_->Begin(plan);
    const std::int64_t had = NowNs();
    if (held) window.had = had;
    if (held) {
      Hold();
      const std::string violation = method_->End();
      if (!violation.empty()) Complain(totals_.false_violations, plan, "violation", violation);
    }
    const std::int64_t over = NowNs();
    window.over = over;
    if (writers_go_on) {
      totals_.window_seconds += static_cast<double>(over - begun) / kNsPerSecond;
      totals_.window_commits += Commits() - commits;
    }
    if (!held) {
      ++totals_.refusals;
      return;
    }
    ++totals_.barriers;
    totals_.acquire_ms.push_back(static_cast<double>(had - begun) / kNsPerMs);
    totals_.round_ms.push_back(static_cast<double>(over - begun) / kNsPerMs);
    Judge(plan);
  }

  // All roles close their connections; the barrier comes before, while or after they do.
  void QuietMoment() {
    const int ms = Between(random_, 5, 60);
    shared().quiet_until = NowNs() + ms * std::int64_t{1'000'000};
    usleep(static_cast<useconds_t>(Between(random_, 0, ms * 1000)));
  }

  void Hold() {
    if (!method_->made_copies()) copier_->Copy(DrawJob());
    if (options_.method == "none") usleep(100'000);
    if (!options_.calm && Chance(random_, 3)) usleep(200'000);
    if (options_.calm || !Chance(random_, 30)) return;
    try {
      method_->Check();
    } catch (const std::runtime_error& error) {
      Complain(totals_.false_violations, {}, "check", error.what());
    }
  }

  CopyJob DrawJob() {
    CopyJob job;
    for (const SourceFile& file : method_->files()) {
      job.items.push_back({.from = file.path, .to = CopyOf(file.path), .bytes = file.bytes});
    }
    std::shuffle(job.items.begin(), job.items.end(), random_);
    constexpr int kChunks[] = {4096, 16384, 65536, 262'144};
    job.chunk_bytes = options_.calm ? 65536 : kChunks[Between(random_, 0, 3)];
    job.pause_us = options_.calm || Chance(random_, 50) ? options_.pause_us : 0;
    job.interleaved = Chance(random_, 30);
    job.seed = static_cast<unsigned>(Between(random_, 0, 1'000'000));
    return job;
  }

  void Judge(const Plan& plan) {
    Audit audits[2];
    bool consistent = true;
    for (const auto& [wanted, path, audit] : {std::tuple(plan.a, setting_.files.a, &audits[0]),
                                              std::tuple(plan.b, setting_.files.b, &audits[1])}) {
      if (!wanted) continue;
      ++totals_.copies;
      *audit = copier_->Verify(CopyOf(path));
      if (audit->complaint.empty()) continue;
      consistent = false;
      Complain(totals_.bad_copies, plan, "bad copy of " + path, audit->complaint);
    }
    // Whole copies under a WAL snapshot may each be later than the barrier.
    const bool one_instant =
        options_.method != "ours" || plan.exact || plan.kind != "snapshot" || !setting_.wal;
    if (!plan.a || !plan.b || !one_instant || !consistent) return;
    ++totals_.cuts;
    const std::string broken = BrokenCut(audits[0], audits[1], setting_.files);
    if (!broken.empty()) Complain(totals_.broken_cuts, plan, "broken cut", broken);
  }

  // Controls are expected to fail: only counted.
  void Complain(int& counter, const Plan& plan, const std::string& what, const std::string& why) {
    ++counter;
    if (options_.method != "ours") return;
    std::fprintf(stderr, "torture: barrier %d, %s, %s copy of %s%s, seed %u: %s: %s\n",
                 totals_.barriers, plan.kind.c_str(), plan.exact ? "exact" : "whole",
                 plan.a ? "a" : "", plan.b ? "b" : "", options_.seed, what.c_str(), why.c_str());
    for (const std::string& path : {setting_.files.a, setting_.files.b}) {
      const Audit live = copier_->VerifyLive(path);
      if (!live.complaint.empty()) {
        std::fprintf(stderr, "torture: %s itself: %s\n", path.c_str(), live.complaint.c_str());
      }
    }
  }

  Window& NextWindow(bool writers_go_on) {
    const std::int64_t number = shared().windows_begun.load();
    auto& windows = shared().windows;
    Window& window = windows[static_cast<std::size_t>(number) % windows.size()];
    window.writers_go_on = writers_go_on;
    window.over = 0;
    window.had = 0;
    window.asked = NowNs();
    ++shared().windows_begun;
    return window;
  }

  std::string CopyOf(const std::string& path) const {
    return folder_ / "copies" + path.substr(path.rfind('/'));
  }

  std::int64_t Commits() {
    std::int64_t commits = 0;
    for (const WriterTotals& writer : shared().writers) commits += writer.commits.load();
    return commits;
  }

  // ---- the end ----

  void Stop() {
    method_.reset();
    totals_.commits = Commits();
    shared().stop = true;
    for (Child& role : roles_) totals_.failed_roles += role.Join() ? 0 : 1;
    for (const std::string& path : {setting_.files.a, setting_.files.b}) {
      const Audit live = copier_->VerifyLive(path);
      if (live.complaint.empty()) continue;
      ++shared().live_complaints;
      std::fprintf(stderr, "torture: %s in the end: %s\n", path.c_str(), live.complaint.c_str());
    }
    totals_.live_complaints = shared().live_complaints;
    totals_.checkpoints = shared().checkpoints;
    totals_.checkpoints_busy = shared().checkpoints_busy;
    totals_.snapshots_read = shared().snapshots_read;
    totals_.closings = shared().closings;
    for (const WriterTotals& writer : shared().writers) {
      totals_.writer_busy += writer.busy;
      const auto ms = [](const Counter& ns) { return static_cast<double>(ns.load()) / kNsPerMs; };
      totals_.longest_free_ms = std::max(totals_.longest_free_ms, ms(writer.longest_free_ns));
      totals_.longest_acquiring_ms =
          std::max(totals_.longest_acquiring_ms, ms(writer.longest_acquiring_ns));
      totals_.longest_held_ms = std::max(totals_.longest_held_ms, ms(writer.longest_held_ns));
    }
  }

  const Options options_;
  testing::TempDir folder_;
  const Setting setting_;
  Random random_;
  SharedMemory memory_;
  std::unique_ptr<Copier> copier_;
  std::vector<Child> roles_;
  std::unique_ptr<Method> method_;
  Totals totals_;
};

}  // namespace

Totals Run(const Options& options) {
  std::string folder = options.folder;
  if (folder.empty() && access("/dev/shm", W_OK) == 0) folder = "/dev/shm";
  if (!folder.empty()) setenv("LOCKSCOPE_TEST_DIR", folder.c_str(), 1);
  return Torture(options).Run();
}

}  // namespace lockscope::torture
