#include "controls.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/subprocess.h"

namespace lockscope::torture {
namespace {

using nlohmann::json;

struct Control {
  const char* name;
  bool ours;
  std::vector<std::string> arguments;
};

const Control kControls[] = {
    {"nobody copies", false, {"--method", "none"}},
    {"copy without any lock", false, {"--method", "naive"}},
    {"read transaction let go before the copy", false, {"--method", "read-released"}},
    {"read transaction held", false, {"--method", "read-held"}},
    {"`BEGIN IMMEDIATE` held", false, {"--method", "immediate"}},
    {"TRUNCATE checkpoint, `BEGIN IMMEDIATE`, database alone",
     false,
     {"--method", "immediate-alone"}},
    {"backup API, 100 pages at a time", false, {"--method", "backup"}},
    {"lockscope `snapshot`, exact copies", true, {"--copies", "exact", "--kinds", "snapshot"}},
    {"lockscope `snapshot`, whole copies", true, {"--copies", "whole", "--kinds", "snapshot"}},
    {"lockscope `write`, whole copies", true, {"--copies", "whole", "--kinds", "write"}},
};

std::vector<std::string> CommandLine(const Options& options, const Control& control) {
  const auto word = [](int number) { return std::to_string(number); };
  std::vector<std::string> argv = {"/proc/self/exe",
                                   "--calm",
                                   "--json",
                                   "--journal",
                                   "wal",
                                   "--seed",
                                   std::to_string(options.seed),
                                   "--barriers",
                                   word(options.barriers),
                                   "--seconds",
                                   word(options.seconds),
                                   "--accounts",
                                   word(options.accounts),
                                   "--pause",
                                   word(options.pause_us)};
  if (!options.folder.empty()) argv.insert(argv.end(), {"--dir", options.folder});
  argv.insert(argv.end(), control.arguments.begin(), control.arguments.end());
  return argv;
}

std::string OneOf(const json& of, const char* part, const char* whole) {
  const int all = of[whole];
  return all == 0 ? "-" : std::to_string(of[part].get<int>()) + " of " + std::to_string(all);
}

void PrintRow(const Control& control, const json& result) {
  const double seconds = result["window_seconds"];
  const double commits = result["window_commits"];
  const double stall = std::max(result["stall_acquiring_ms_max"].get<double>(),
                                result["stall_held_ms_max"].get<double>());
  const int begun = result["barriers"].get<int>() + result["refusals"].get<int>();
  std::printf("| %s | %s | %s | %d of %d | %.0f ms | %.0f | %.0f ms |\n", control.name,
              OneOf(result, "bad_copies", "copies").c_str(),
              OneOf(result, "broken_cuts", "cuts").c_str(), result["refusals"].get<int>(), begun,
              result["round_ms_p50"].get<double>(), seconds > 0 ? commits / seconds : 0.0, stall);
  std::fflush(stdout);
}

}  // namespace

bool RunControls(const Options& options) {
  std::printf(
      "| | bad copies | broken cuts | given up | time of a copy | writers' commits a second "
      "meanwhile | their longest stall |\n|---|---|---|---|---|---|---|\n");
  bool good = true;
  for (const Control& control : kControls) {
    const auto run = testing::RunProgram(
        {.argv = CommandLine(options, control), .deadline = std::chrono::minutes(30)});
    std::fputs(run.err.c_str(), stderr);
    const json result = json::parse(run.out, nullptr, false);
    if (result.is_discarded()) {
      std::fprintf(stderr, "torture: %s did not run\n", control.name);
      good = false;
      continue;
    }
    PrintRow(control, result);
    good = good && (!control.ours || run.ok());
  }
  return good;
}

}  // namespace lockscope::torture
