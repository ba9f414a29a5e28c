// What a barrier costs: how long it takes to have one while others write, how long the write locks
// of a cut are held, and what the writers lose under one that is held.
//
//   barrier_bench [--rounds N] [--slices N] [--seed X] [--dir FOLDER]
//
// The load is the torture's (tests/torture/roles.h), in processes of its own with plain SQLite:
//   hot      two writers without a pause, transactions of five transfers, autocheckpoint as
//            SQLite has it
//   varied   the two writers of the torture: hot and calm phases, sizes from 1 to 200 transfers,
//            autocheckpoint from 1 frame on, rollbacks, connections that are closed
//   all      the same with the checkpointer and the readers
#include <lockscope.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "support/temp_dir.h"
#include "torture/process.h"
#include "torture/roles.h"
#include "torture/run.h"

namespace lockscope::bench {
namespace {

using nlohmann::json;
using torture::Child;
using torture::NowNs;
using torture::Percentile;
using torture::Random;
using torture::Setting;
using torture::SharedState;
using torture::Sql;

struct Options {
  int rounds = 400;  // barriers of each case under each load
  int slices = 60;   // pairs of slices, with and without a barrier
  int seed = 1;
  std::string folder;
};

constexpr double kNsPerMs = 1e6;

struct Load {
  const char* name;
  bool steady;
  bool others;  // the checkpointer and the readers
};
constexpr Load kLoads[] = {{"hot", true, false}, {"varied", false, false}, {"all", false, true}};

struct Case {
  const char* kind;
  const char* schemas;
  int databases;
};
constexpr Case kCases[] = {{"snapshot", "main", 1},
                           {"snapshot", "main,other", 2},
                           {"write", "main", 1},
                           {"write", "main,other", 2}};

// Two databases, the roles of a load, and a connection with lockscope's functions. One in the life
// of a process: the roles are forked first.
class Scene {
 public:
  Scene(const Load& load, const Options& options)
      : setting_{.files = {.a = folder_ / "a.db", .b = folder_ / "b.db", .accounts = 1000},
                 .wal = true,
                 .seed = static_cast<unsigned>(options.seed),
                 .steady = load.steady} {
    Child("maker", [this] { torture::CreateBank(setting_.files, "wal"); }).Join();
    for (int i = 0; i < torture::kWriters; ++i) {
      roles_.emplace_back("writer", [this, i] { torture::RunWriter(setting_, state(), i); });
    }
    if (load.others) {
      roles_.emplace_back("checkpointer", [this] { torture::RunCheckpointer(setting_, state()); });
      for (int i = 0; i < torture::kReaders; ++i) {
        roles_.emplace_back("reader", [this, i] { torture::RunReader(setting_, state(), i); });
      }
    }
    constexpr useconds_t kWarmUpUs = 300'000;
    usleep(kWarmUpUs);
    if (lockscope_register("unix", "lockscope", 0) != SQLITE_OK) throw std::bad_alloc();
    db_ = std::make_unique<Sql>(setting_.files.a);
    db_->RetryEveryMillisecond(20000);
    torture::Prepared(db_->get(), "attach ?1 as other").Bind(1, setting_.files.b).Run();
    lockscope_init(db_->get());
    looker_ = std::make_unique<Sql>(":memory:");
    lockscope_init(looker_->get());
  }
  ~Scene() {
    state().stop = true;
    for (Child& role : roles_) role.Join();
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;

  std::string Acquire(const Case& of) {
    torture::Prepared acquire(db_->get(), "select lockscope_barrier(?1, 60000, ?2)");
    return acquire.Bind(1, std::string(of.kind)).Bind(2, std::string(of.schemas)).Text();
  }
  void Release(const std::string& token) {
    torture::Prepared(db_->get(), "select lockscope_barrier_release(?1)").Bind(1, token).Int();
  }

  std::int64_t Commits() {
    std::int64_t commits = 0;
    for (const auto& writer : state().writers) commits += writer.commits.load();
    return commits;
  }

  // How long each write lock was held that connections of this process, new since the last call,
  // have taken and let go, as the shim recorded it.
  std::vector<double> WriteLocksHeldMs() {
    std::vector<double> held_ms;
    const std::int64_t seen = newest_connection_;
    for (const std::string& path : {setting_.files.a, setting_.files.b}) {
      torture::Prepared events(looker_->get(), "select lockscope_json('events', ?1)");
      std::map<std::int64_t, std::int64_t> locked_ns;  // by connection
      for (const json& event : json::parse(events.Bind(1, path).Text())) {
        const std::int64_t connection = event["connection"];
        newest_connection_ = std::max(newest_connection_, connection);
        if (connection <= seen || event["resource"] != "wal-write") continue;
        const std::int64_t ns = event["monotonic_ns"];
        if (event["operation"] == "shm-lock" && event["result"] == "SQLITE_OK") {
          locked_ns[connection] = ns;
        } else if (event["operation"] == "shm-unlock" && locked_ns.contains(connection)) {
          held_ms.push_back(static_cast<double>(ns - locked_ns[connection]) / kNsPerMs);
          locked_ns.erase(connection);
        }
      }
    }
    return held_ms;
  }

 private:
  SharedState& state() { return memory_.state(); }

  testing::TempDir folder_;
  const Setting setting_;
  torture::SharedMemory memory_;
  std::vector<Child> roles_;
  std::unique_ptr<Sql> db_;
  std::unique_ptr<Sql> looker_;
  std::int64_t newest_connection_ = 0;
};

void PrintTimes(const std::string& what, const std::vector<double>& ms) {
  std::printf("%-52s %8.3f %8.3f %8.3f  %zu\n", what.c_str(), Percentile(ms, 50),
              Percentile(ms, 99), Percentile(ms, 100), ms.size());
  std::fflush(stdout);
}

void MeasureAcquiring(const Load& load, const Options& options) {
  Scene scene(load, options);
  Random random(static_cast<unsigned>(options.seed));
  std::vector<double> acquiring_ms[std::size(kCases)];
  std::vector<double> cut_ms;
  for (int i = 0; i < options.rounds; ++i) {
    for (std::size_t j = 0; j < std::size(kCases); ++j) {
      const std::int64_t begun = NowNs();
      const std::string token = scene.Acquire(kCases[j]);
      acquiring_ms[j].push_back(static_cast<double>(NowNs() - begun) / kNsPerMs);
      const std::vector<double> held_ms = scene.WriteLocksHeldMs();
      const bool cut = kCases[j].databases == 2 && std::string_view(kCases[j].kind) == "snapshot";
      if (cut) cut_ms.insert(cut_ms.end(), held_ms.begin(), held_ms.end());
      scene.Release(token);
      usleep(static_cast<useconds_t>(torture::Between(random, 1000, 10'000)));
    }
  }
  for (std::size_t j = 0; j < std::size(kCases); ++j) {
    PrintTimes(std::string(load.name) + ": " + kCases[j].kind + " on " +
                   std::to_string(kCases[j].databases),
               acquiring_ms[j]);
  }
  PrintTimes(std::string(load.name) + ": write locks of a cut held, each", cut_ms);
}

// Slices of the writers' time with a WAL snapshot held on both databases, and without, in turn; the
// ratio of the commits of each pair. What is a held barrier's fault only later (checkpoints put off
// until it is over) counts for the slice after it.
void MeasureThroughput(const Load& load, const Options& options) {
  Scene scene(load, options);
  constexpr useconds_t kSliceUs = 250'000;
  constexpr useconds_t kSettleUs = 30'000;
  const auto slice = [&](bool held) {
    const std::string token = held ? scene.Acquire(kCases[1]) : "";
    usleep(kSettleUs);
    const std::int64_t begun = NowNs();
    const std::int64_t commits = scene.Commits();
    usleep(kSliceUs);
    const double rate = static_cast<double>(scene.Commits() - commits) /
                        (static_cast<double>(NowNs() - begun) / 1e9);
    if (held) scene.Release(token);
    return rate;
  };
  std::vector<double> ratios;
  double with = 0;
  double without = 0;
  for (int i = 0; i < options.slices; ++i) {
    double rates[2];  // without, with
    for (const bool held : {i % 2 == 0, i % 2 != 0}) rates[held ? 1 : 0] = slice(held);
    without += rates[0] / options.slices;
    with += rates[1] / options.slices;
    ratios.push_back(rates[1] / rates[0]);
  }
  double variance = 0;
  for (const double ratio : ratios) variance += std::pow(ratio - with / without, 2);
  const double n = static_cast<double>(ratios.size());
  std::printf("%-8s %8.0f %8.0f   %.3f +- %.3f   %.3f   %.3f - %.3f   %zu\n", load.name, without,
              with, with / without, 1.96 * std::sqrt(variance / n / std::max(1.0, n - 1)),
              Percentile(ratios, 50), Percentile(ratios, 10), Percentile(ratios, 90),
              ratios.size());
}

bool Parse(int argc, char** argv, Options& options) {
  const std::map<std::string_view, int*> numbers = {
      {"--rounds", &options.rounds}, {"--slices", &options.slices}, {"--seed", &options.seed}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view value = argv[i + 1];
    if (const auto number = numbers.find(argv[i]); number != numbers.end()) {
      const char* end = value.data() + value.size();
      if (std::from_chars(value.data(), end, *number->second).ptr != end) return false;
    } else if (std::string_view(argv[i]) == "--dir") {
      options.folder = value;
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && options.rounds >= 0 && options.slices >= 0;
}

bool Run(Options options) {
  if (options.folder.empty() && access("/dev/shm", W_OK) == 0) options.folder = "/dev/shm";
  if (!options.folder.empty()) setenv("LOCKSCOPE_TEST_DIR", options.folder.c_str(), 1);
  std::printf("SQLite %s, databases in %s, seed %d\n\n", sqlite3_libversion(),
              options.folder.empty() ? "the folder for temporary files" : options.folder.c_str(),
              options.seed);
  bool good = true;
  if (options.rounds > 0) {
    std::printf("%-52s %8s %8s %8s  of\n", "acquiring, ms", "p50", "p99", "most");
    for (const Load& load : kLoads) {
      good = Child(load.name, [&] { MeasureAcquiring(load, options); }).Join() && good;
    }
  }
  if (options.slices > 0) {
    std::printf("\n%-8s %8s %8s   %-14s   %-5s   %-13s   pairs\n", "commits/s", "without", "held",
                "ratio", "p50", "p10 - p90");
    for (const Load& load : kLoads) {
      good = Child(load.name, [&] { MeasureThroughput(load, options); }).Join() && good;
    }
  }
  return good;
}

}  // namespace
}  // namespace lockscope::bench

int main(int argc, char** argv) {
  lockscope::bench::Options options;
  if (!lockscope::bench::Parse(argc, argv, options)) {
    std::fputs("usage: barrier_bench [--rounds N] [--slices N] [--seed X] [--dir FOLDER]\n",
               stderr);
    return 2;
  }
  return lockscope::bench::Run(std::move(options)) ? 0 : 1;
}
