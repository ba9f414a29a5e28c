// Run: one torture. Forks the roles, makes barriers and copies under them, and judges the copies.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "options.h"

namespace lockscope::torture {

struct Totals {
  int barriers = 0;  // held
  int refusals = 0;
  int copies = 0;
  int bad_copies = 0;
  // Copies of both databases that must be, or are hoped to be, of one instant.
  int cuts = 0;
  int broken_cuts = 0;
  int false_violations = 0;
  int failed_roles = 0;
  std::int64_t live_complaints = 0;

  double seconds = 0;
  std::int64_t commits = 0;
  std::int64_t writer_busy = 0;
  std::int64_t checkpoints = 0;
  std::int64_t checkpoints_busy = 0;
  std::int64_t snapshots_read = 0;
  std::int64_t closings = 0;
  // One transaction of a writer, as in WriterTotals.
  double longest_free_ms = 0;
  double longest_acquiring_ms = 0;
  double longest_held_ms = 0;
  // From asking to the end, and what was committed meanwhile, where writers are to go on.
  double window_seconds = 0;
  std::int64_t window_commits = 0;
  std::vector<double> acquire_ms;
  std::vector<double> round_ms;  // of every round that was not refused
};

// What makes a run a failure, in words, one a line; empty where all is well. Of our barriers no
// refusal is expected, and of a writer beside a WAL snapshot no stall ten times the allowed one.
std::string Faults(const Options& options, const Totals& totals);

// REQUIRES: this process has not opened an SQLite database.
Totals Run(const Options& options);

std::string Describe(const Options& options, const Totals& totals);
nlohmann::json ToJson(const Options& options, const Totals& totals);
// Of `values`, which it sorts; 0 where there are none.
double Percentile(std::vector<double> values, double percent);

}  // namespace lockscope::torture
