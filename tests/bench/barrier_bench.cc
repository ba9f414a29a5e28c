// What a barrier costs: how long it takes to have one while others write, how long the write locks
// of a cut are held, and what the writers lose under one that is held. Beside it stands how long no
// writer's lock can be had, to somebody who does nothing but watch: all but a snapshot of one
// database need that moment.
//
//   barrier_bench [--rounds N] [--turns N] [--hold-ms N] [--seed X] [--load NAME]
//                 [--dir FOLDER]
//
// The load is the torture's (tests/torture/roles.h), in processes of its own with plain SQLite:
//   hot      two writers without a pause, transactions of five transfers, autocheckpoint as
//            SQLite has it
//   varied   the two writers of the torture: hot and calm phases, sizes from 1 to 200 transfers,
//            autocheckpoint from 1 frame on, rollbacks, connections that are closed
//   all      the same with the checkpointer and the readers
#include <sqlite3.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bench/barrier_scene.h"
#include "bench/barrier_throughput.h"
#include "torture/process.h"
#include "torture/run.h"

namespace lockscope::bench {
namespace {

using torture::Child;
using torture::NowNs;
using torture::Percentile;
using torture::Random;

struct Options {
  int rounds = 400;  // barriers of each case under each load
  int turns = 60;    // of stretches with nothing, a reader and a barrier
  int hold_ms = 250;
  int seed = 1;
  std::string load;  // empty: every one
  std::string folder;

  bool Wants(const Load& of) const { return load.empty() || load == of.name; }
};

constexpr Load kLoads[] = {{"hot", true, false}, {"varied", false, false}, {"all", false, true}};

constexpr int kDatabases = 2;

constexpr BarrierCase kCases[] = {{"snapshot", "main", 1},
                                  {"snapshot", "main,other", 2},
                                  {"write", "main", 1},
                                  {"write", "main,other", 2}};

double MsSince(std::int64_t begun_ns) { return static_cast<double>(NowNs() - begun_ns) / kNsPerMs; }

void PrintTimes(const std::string& what, const std::vector<double>& ms) {
  std::printf("%-52s %8.3f %8.3f %8.3f  %zu\n", what.c_str(), Percentile(ms, 50),
              Percentile(ms, 99), Percentile(ms, 100), ms.size());
  std::fflush(stdout);
}

void MeasureAcquiring(const Load& load, const Options& options) {
  Scene scene(load, options.seed);
  Random random(static_cast<unsigned>(options.seed));
  std::vector<double> acquiring_ms[std::size(kCases)];
  std::vector<double> free_ms[kDatabases];
  std::vector<double> cut_ms;
  const auto pause = [&random] {
    usleep(static_cast<useconds_t>(torture::Between(random, 1000, 10'000)));
  };
  for (int i = 0; i < options.rounds; ++i) {
    for (int databases = 1; databases <= kDatabases; ++databases) {
      const std::int64_t begun = NowNs();
      scene.WaitUntilWritersLookFree(databases);
      free_ms[databases - 1].push_back(MsSince(begun));
      pause();
    }
    for (std::size_t j = 0; j < std::size(kCases); ++j) {
      const std::int64_t begun = NowNs();
      const std::string token = scene.Acquire(kCases[j]);
      acquiring_ms[j].push_back(MsSince(begun));
      const std::vector<double> held_ms = scene.WriteLocksHeldMs();
      const bool cut = kCases[j].databases == 2 && std::string_view(kCases[j].kind) == "snapshot";
      if (cut) cut_ms.insert(cut_ms.end(), held_ms.begin(), held_ms.end());
      scene.Release(token);
      pause();
    }
  }
  for (int databases = 1; databases <= kDatabases; ++databases) {
    PrintTimes(
        std::string(load.name) + ": until write locks look free, of " + std::to_string(databases),
        free_ms[databases - 1]);
  }
  for (std::size_t j = 0; j < std::size(kCases); ++j) {
    PrintTimes(std::string(load.name) + ": " + kCases[j].kind + " on " +
                   std::to_string(kCases[j].databases),
               acquiring_ms[j]);
  }
  PrintTimes(std::string(load.name) + ": write locks of a cut held, each", cut_ms);
}

bool Parse(int argc, char** argv, Options& options) {
  const std::map<std::string_view, int*> numbers = {{"--rounds", &options.rounds},
                                                    {"--turns", &options.turns},
                                                    {"--hold-ms", &options.hold_ms},
                                                    {"--seed", &options.seed}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view value = argv[i + 1];
    if (const auto number = numbers.find(argv[i]); number != numbers.end()) {
      const char* end = value.data() + value.size();
      if (std::from_chars(value.data(), end, *number->second).ptr != end) return false;
    } else if (std::string_view(argv[i]) == "--dir") {
      options.folder = value;
    } else if (std::string_view(argv[i]) == "--load") {
      options.load = value;
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && options.rounds >= 0 && options.turns >= 0 && options.hold_ms >= 0;
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
      if (!options.Wants(load)) continue;
      good = Child(load.name, [&] { MeasureAcquiring(load, options); }).Join() && good;
    }
  }
  if (options.turns > 0) {
    PrintThroughputHead();
    for (const Load& load : kLoads) {
      if (!options.Wants(load)) continue;
      const auto measure = [&] {
        MeasureThroughput(load, options.turns, options.hold_ms, options.seed);
      };
      good = Child(load.name, measure).Join() && good;
    }
  }
  return good;
}

}  // namespace
}  // namespace lockscope::bench

int main(int argc, char** argv) {
  lockscope::bench::Options options;
  if (!lockscope::bench::Parse(argc, argv, options)) {
    std::fputs(
        "usage: barrier_bench [--rounds N] [--turns N] [--hold-ms N] [--seed X] [--load NAME] "
        "[--dir FOLDER]\n",
        stderr);
    return 2;
  }
  return lockscope::bench::Run(std::move(options)) ? 0 : 1;
}
