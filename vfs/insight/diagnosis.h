// Diagnosis: what is wrong with a database's locks now, in words, and what to do about it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "insight/hazards.h"
#include "insight/look.h"
#include "insight/slot_watch.h"

namespace lockscope::insight {

// A finding's `hazard` is one of these words:
//
//   those of hazards.h
//   writer, exclusive, pending-writer, checkpoint, wal-recovery
//                       somebody keeps others out, and committed nothing between the looks;
//                       warning
//   unreadable          the wal-index cannot be read: nothing can be said of pins; warning
//   a reason (model/reason.h)
//                       somebody waits for a lock, and is kept from it by that; warning from a
//                       second on
//   busy, holder, oldest-snapshot, idle, state
//                       no hazard but a fact; ok
struct Finding {
  std::string database;
  Severity severity = Severity::kOk;
  std::string hazard;
  std::optional<std::int64_t> pid{};
  std::optional<std::uint64_t> connection{};
  std::string text;    // lines; the first says it in short
  std::string advice;  // empty: nothing to do
};

// Of one look. `earlier`, a look at the same databases some time before, tells what stays from what
// only passes by: a reader is dangerous when it is seen with the same old mark twice, a writer when
// it has committed nothing meanwhile. Null: every pin is taken as it is seen, and no writer is
// suspected. Per database the worst comes first, facts last.
// `watch`, where there is one, watched the read slots in between.
std::vector<Finding> Diagnose(const Look& look, const Look* earlier,
                              const SlotWatch* watch = nullptr);

}  // namespace lockscope::insight
