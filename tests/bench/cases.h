// The comparisons that overhead_bench runs.
#pragma once

#include <vector>

#include "bench/comparison.h"

namespace lockscope::bench {

std::vector<Comparison> SingleConnectionCases();   // single_cases.cc
std::vector<Comparison> MixedLoadCases();          // mixed_cases.cc
std::vector<Comparison> BlockedCheckpointCases();  // checkpoint_cases.cc

}  // namespace lockscope::bench
