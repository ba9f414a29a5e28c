// What lockscope costs: stock SQLite against SQLite through the shim, in one run, as ratios.
//
//   overhead_bench [--filter TEXT] [--rounds N] [--quick] [--json] [--calibrate] [--dir FOLDER]
//   [--list]
//
// The shim records everything, SQL text included, as it does by default. --calibrate compares stock
// with stock: what is left then is the noise of the method.
#include <lockscope.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bench/cases.h"
#include "support/temp_dir.h"

namespace lockscope::bench {
namespace {

struct Options {
  std::string filter;
  std::string folder;
  int rounds = 400;
  int epochs = 20;
  bool json = false;
  bool calibrate = false;
  bool list = false;
};

constexpr std::string_view kUsage =
    "usage: overhead_bench [--filter TEXT] [--rounds N] [--quick] [--json] [--calibrate]\n"
    "                      [--dir FOLDER] [--list]\n"
    "  --filter TEXT  only comparisons with TEXT in their name\n"
    "  --rounds N     rounds of each comparison (400)\n"
    "  --quick        60 rounds: a first impression\n"
    "  --json         the results as a JSON array\n"
    "  --calibrate    stock against stock: the noise of the method\n"
    "  --dir FOLDER   where the databases are made (/dev/shm, else the folder for temporary "
    "files)\n"
    "  --list         only the names\n";

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&]() -> const char* { return i + 1 < argc ? argv[++i] : ""; };
    if (word == "--filter") {
      options.filter = value();
    } else if (word == "--rounds") {
      options.rounds = std::atoi(value());
    } else if (word == "--quick") {
      options.rounds = 60;
      options.epochs = 6;
    } else if (word == "--json") {
      options.json = true;
    } else if (word == "--calibrate") {
      options.calibrate = true;
    } else if (word == "--dir") {
      options.folder = value();
    } else if (word == "--list") {
      options.list = true;
    } else {
      return false;
    }
  }
  return options.rounds > 0;
}

std::vector<Comparison> Chosen(const std::string& filter) {
  std::vector<Comparison> chosen;
  for (auto* cases : {SingleConnectionCases, MixedLoadCases, BlockedCheckpointCases}) {
    for (Comparison& comparison : cases()) {
      if (comparison.name.find(filter) != std::string::npos)
        chosen.push_back(std::move(comparison));
    }
  }
  return chosen;
}

void PrintHeading(const Options& options) {
  std::printf("SQLite %s, databases in %s; %s against %s; up to %d rounds in %d epochs each\n\n",
              sqlite3_libversion(), options.folder.c_str(), "stock",
              options.calibrate ? "stock again" : "lockscope, everything recorded", options.rounds,
              options.epochs);
  std::printf("%-38s %10s %10s  %-15s %-15s %6s %8s\n", "", "stock ns", "shim ns", "ratio",
              "10-90 % rounds", "calls", "ns/call");
}

void PrintRow(const Result& result) {
  std::printf("%-38s %10.0f %10.0f  %.3f +- %.3f  %.3f - %.3f", result.name.c_str(),
              result.stock_ns, result.shim_ns, result.ratio, result.error, result.ratio_p10,
              result.ratio_p90);
  if (result.lock_calls > 0) {
    std::printf(" %6.1f %8.1f", result.lock_calls, result.extra_ns / result.lock_calls);
  }
  std::printf("\n");
  std::fflush(stdout);
}

nlohmann::ordered_json ToJson(const Result& result) {
  nlohmann::ordered_json json = {{"name", result.name},
                                 {"stock_ns", result.stock_ns},
                                 {"shim_ns", result.shim_ns},
                                 {"ratio", result.ratio},
                                 {"ratio_error_95", result.error},
                                 {"ratio_p10", result.ratio_p10},
                                 {"ratio_p90", result.ratio_p90},
                                 {"extra_ns", result.extra_ns},
                                 {"rounds", result.rounds},
                                 {"epoch_ratios", result.epoch_ratios}};
  if (result.lock_calls > 0) {
    json["lock_calls"] = result.lock_calls;
    json["extra_ns_per_lock_call"] = result.extra_ns / result.lock_calls;
  }
  return json;
}

int Run(Options options) {
  const auto chosen = Chosen(options.filter);
  if (options.list) {
    for (const Comparison& comparison : chosen) std::printf("%s\n", comparison.name.c_str());
    return 0;
  }
  if (chosen.empty()) {
    std::fprintf(stderr, "overhead_bench: no comparison has '%s' in its name\n",
                 options.filter.c_str());
    return 2;
  }
  if (options.folder.empty() && access("/dev/shm", W_OK) == 0) options.folder = "/dev/shm";
  if (!options.folder.empty()) setenv("LOCKSCOPE_TEST_DIR", options.folder.c_str(), 1);
  const testing::TempDir folder;
  options.folder = folder.path();
  if (lockscope_register("unix", "lockscope", 0) != SQLITE_OK) {
    std::fprintf(stderr, "overhead_bench: lockscope_register failed\n");
    return 1;
  }
  if (!options.json) PrintHeading(options);
  auto json = nlohmann::ordered_json::array();
  for (const Comparison& comparison : chosen) {
    const Result result = Compare(comparison, {.folder = options.folder,
                                               .rounds = options.rounds,
                                               .epochs = options.epochs,
                                               .calibrate = options.calibrate});
    if (options.json) {
      json.push_back(ToJson(result));
    } else {
      PrintRow(result);
    }
  }
  if (options.json) std::printf("%s\n", json.dump(2).c_str());
  return 0;
}

}  // namespace
}  // namespace lockscope::bench

int main(int argc, char** argv) {
  lockscope::bench::Options options;
  if (!lockscope::bench::Parse(argc, argv, options)) {
    std::fputs(lockscope::bench::kUsage.data(), stderr);
    return 2;
  }
  try {
    return lockscope::bench::Run(std::move(options));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "overhead_bench: %s\n", e.what());
    return 1;
  }
}
