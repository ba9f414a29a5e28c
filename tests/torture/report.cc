#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "run.h"

namespace lockscope::torture {
namespace {

template <typename... Values>
std::string Line(const char* format, Values... values) {
  char line[256];
  std::snprintf(line, sizeof(line), format, values...);
  return line;
}

}  // namespace

double Percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double rank = std::ceil(percent / 100 * static_cast<double>(values.size()));
  return values[static_cast<std::size_t>(std::max(1.0, rank)) - 1];
}

std::string Describe(const Options& options, const Totals& totals) {
  std::string text = Line("%s, journal mode %s, seed %u: %.1f s\n", options.method.c_str(),
                          options.journal.c_str(), options.seed, totals.seconds);
  text += Line("barriers held       %d, refused %d\n", totals.barriers, totals.refusals);
  text += Line("bad copies          %d of %d\n", totals.bad_copies, totals.copies);
  text += Line("broken cuts         %d of %d\n", totals.broken_cuts, totals.cuts);
  text += Line("false violations    %d\n", totals.false_violations);
  text +=
      Line("acquiring, ms       p50 %.2f, p99 %.2f, most %.2f\n", Percentile(totals.acquire_ms, 50),
           Percentile(totals.acquire_ms, 99), Percentile(totals.acquire_ms, 100));
  text += Line("writers             %lld commits, %.0f a second, %lld busy\n",
               static_cast<long long>(totals.commits),
               static_cast<double>(totals.commits) / totals.seconds,
               static_cast<long long>(totals.writer_busy));
  text += Line(
      "longest stall, ms   %.1f without a barrier; while a WAL snapshot was acquired %.1f, held "
      "%.1f\n",
      totals.longest_free_ms, totals.longest_acquiring_ms, totals.longest_held_ms);
  text += Line(
      "meanwhile           %lld checkpoints, %lld busy, %lld snapshots read, %lld closings"
      "\n",
      static_cast<long long>(totals.checkpoints), static_cast<long long>(totals.checkpoints_busy),
      static_cast<long long>(totals.snapshots_read), static_cast<long long>(totals.closings));
  text += Line("live databases      %lld complaints; %d roles failed\n",
               static_cast<long long>(totals.live_complaints), totals.failed_roles);
  return text;
}

std::string Faults(const Options& options, const Totals& totals) {
  constexpr double kLongestStallMs = 1000;
  constexpr int kEnoughForACut = 30;
  const bool ours = options.method == "ours";
  const bool stalled =
      std::max(totals.longest_acquiring_ms, totals.longest_held_ms) > kLongestStallMs;
  const std::pair<bool, const char*> all[] = {
      {totals.barriers == 0, "no barrier was held"},
      {totals.bad_copies > 0, "there are bad copies"},
      {totals.broken_cuts > 0, "there are broken cuts"},
      {totals.false_violations > 0, "violations were told that were none"},
      {totals.failed_roles > 0, "a process of the load failed"},
      {totals.live_complaints > 0, "a live database is broken"},
      {ours && totals.refusals > 0, "barriers were refused"},
      {ours && totals.barriers >= kEnoughForACut && totals.cuts == 0, "no cut was judged"},
      {ours && options.journal == "wal" && stalled, "a writer stood still for over a second"},
  };
  std::string text;
  for (const auto& [fault, words] : all) {
    if (fault) text += "torture: " + std::string(words) + "\n";
  }
  return text;
}

nlohmann::json ToJson(const Options& options, const Totals& totals) {
  return {{"method", options.method},
          {"journal", options.journal},
          {"seed", options.seed},
          {"seconds", totals.seconds},
          {"barriers", totals.barriers},
          {"refusals", totals.refusals},
          {"copies", totals.copies},
          {"bad_copies", totals.bad_copies},
          {"cuts", totals.cuts},
          {"broken_cuts", totals.broken_cuts},
          {"false_violations", totals.false_violations},
          {"acquire_ms_p50", Percentile(totals.acquire_ms, 50)},
          {"acquire_ms_p99", Percentile(totals.acquire_ms, 99)},
          {"acquire_ms_max", Percentile(totals.acquire_ms, 100)},
          {"round_ms_p50", Percentile(totals.round_ms, 50)},
          {"commits", totals.commits},
          {"window_seconds", totals.window_seconds},
          {"window_commits", totals.window_commits},
          {"stall_free_ms_max", totals.longest_free_ms},
          {"stall_acquiring_ms_max", totals.longest_acquiring_ms},
          {"stall_held_ms_max", totals.longest_held_ms},
          {"live_complaints", totals.live_complaints},
          {"failed_roles", totals.failed_roles}};
}

}  // namespace lockscope::torture
