#include "insight/hazard_table.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "insight/hazards.h"
#include "insight/pause.h"
#include "insight/slot_watch.h"
#include "insight/summary.h"

namespace lockscope::insight {
namespace {

constexpr int kSamples = 30;  // of the read slots, between two looks
constexpr long kBetweenSamplesUs = 10'000;

Row HazardRow(const Look& look, const Database& database, const Hazard& hazard) {
  Row row;
  if (hazard.whose) {
    row = CommonColumns(look, database, *hazard.whose);
  } else {
    row = RowOf(Text(database.path), Null(), Null(), Null(), Null(), Null(), Null(),
                Text(Name(Source::kKernel)));
  }
  Append(row, RowOf(Text(hazard.hazard), Text(Name(hazard.severity)), Text(OneLine(hazard.text)),
                    Text(hazard.advice)));
  return row;
}

// `before` null: there was one look.
Rows RowsOf(const Look& look, const Look* before, const SlotWatch* watch) {
  Rows rows;
  const ProcessScan processes(look);
  for (std::size_t i = 0; i < look.databases().size(); ++i) {
    const Database& database = look.databases().at(i);
    const Sight now(look, database);
    std::optional<Sight> then;
    if (before != nullptr) then.emplace(*before, before->databases().at(i));
    const Comparison earlier(then ? &*then : nullptr, now, watch);
    auto hazards = CollectHazards({now, earlier, processes});
    std::stable_sort(hazards.begin(), hazards.end(),
                     [](const Hazard& a, const Hazard& b) { return a.severity > b.severity; });
    for (const Hazard& hazard : hazards) rows.push_back(HazardRow(look, database, hazard));
  }
  return rows;
}

}  // namespace

Rows HazardRows(const Look& look, const Asker&) {
  std::vector<std::string> paths;
  bool once = true;
  for (const Database& database : look.databases()) {
    paths.push_back(database.path);
    once = once && !NeedsAnotherLook(Sight(look, database));
  }
  if (once) return RowsOf(look, nullptr, nullptr);
  SlotWatch watch(look);
  for (int i = 0; i < kSamples; ++i) {
    Pause(kBetweenSamplesUs);
    watch.Sample();
  }
  return RowsOf(Look::At(paths), &look, &watch);
}

}  // namespace lockscope::insight
