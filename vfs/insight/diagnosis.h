// Diagnosis: what is wrong with a database's locks now, in words, and what to do about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "insight/look.h"

namespace lockscope::insight {

enum class Severity { kOk, kWarning, kDanger };
const char* Name(Severity severity);

struct Finding {
  std::string database;
  Severity severity = Severity::kOk;
  std::string hazard;  // "starved-checkpoint", "hot-journal", …; for a fact that is none: "holder", "state"
  std::optional<std::int64_t> pid{};
  std::optional<std::uint64_t> connection{};
  std::string text;
  std::string advice;  // empty: nothing to do
};

// Of one look. `earlier`, a look at the same databases some time before, tells what stays from what
// only passes by: a reader is dangerous when it is seen with the same old mark twice. Null: every pin is
// taken as it is seen.
std::vector<Finding> Diagnose(const Look& look, const Look* earlier);

}  // namespace lockscope::insight
