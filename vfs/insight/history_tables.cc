#include "insight/history_tables.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "model/result_name.h"

namespace lockscope::insight {
namespace {

// ---- lockscope_events ----

// So many rows somebody may want to sort through; more would only fill the memory of whoever looks.
// The newest are kept.
constexpr std::size_t kEventRowsMax = 100'000;

struct ShownEvent {
  std::uint64_t at_ns;
  const ledger::RecordedEvent* recorded;
  const ledger::ConnectionEvents* of;
  const Database* database;
  const Teller* teller;
};

// The events of several connections, merged by time.
class EventMerge {
 public:
  explicit EventMerge(const Look& look) : look_(look) {}

  void Add(const Database& database, std::vector<ledger::ConnectionEvents> all) {
    for (ledger::ConnectionEvents& events : all) {
      OneConnection& source =
          sources_.emplace_back(OneConnection{std::move(events), {}, &database});
      source.teller = TellerOf(look_, database, source.events.process.get());
    }
  }

  Rows Run() const {
    std::vector<ShownEvent> shown;
    for (const OneConnection& source : sources_) {
      for (const auto& recorded : source.events.events) {
        const std::uint64_t at_ns =
            recorded.at != 0 ? look_.timeline().MonotonicNs(recorded.at) : 0;
        shown.push_back({at_ns, &recorded, &source.events, source.database, &source.teller});
      }
    }
    std::stable_sort(shown.begin(), shown.end(),
                     [](const ShownEvent& a, const ShownEvent& b) { return a.at_ns < b.at_ns; });
    const std::size_t first = shown.size() - std::min(shown.size(), kEventRowsMax);
    Rows rows;
    rows.reserve(shown.size() - first);
    for (std::size_t i = first; i < shown.size(); ++i) rows.push_back(EventRow(shown[i]));
    return rows;
  }

 private:
  struct OneConnection {
    ledger::ConnectionEvents events;
    Teller teller;
    const Database* database;
  };

  Row EventRow(const ShownEvent& shown) const {
    const ledger::RecordedEvent& recorded = *shown.recorded;
    const Event& event = recorded.event;
    const bool timed = recorded.at != 0;
    const bool measured = timed && recorded.duration_ticks != ledger::kNotMeasured;
    return RowOf(Text(shown.database->path), Maybe(shown.teller->pid), Maybe(shown.teller->process),
                 Int(shown.of->info.id), Text(Name(Source::kShim)), Int(recorded.number + 1),
                 Maybe(look_.Since(recorded.at)), timed ? Int(shown.at_ns) : Null(),
                 Text(Name(event.operation)), Text(event.ResourceName()), Text(Name(event.from)),
                 Text(Name(event.to)), Text(ResultName(event.result)),
                 measured ? Int(look_.timeline().DurationNs(recorded.duration_ticks)) : Null(),
                 Int(shown.of->lost));
  }

  const Look& look_;
  std::deque<OneConnection> sources_;
};

}  // namespace

Rows EventRows(const Look& look, const Asker&) {
  EventMerge merge(look);
  for (const Database& database : look.databases()) {
    merge.Add(database, ledger::Ledger::Process().Events(Of(database)));
    merge.Add(database, database.registry->Events());
  }
  return merge.Run();
}

namespace {

// ---- lockscope_stats ----

void AppendPercentiles(const Look& look, const ledger::HistogramCounts& counts, Row& row) {
  const auto micros = [&look](ledger::Ticks ticks) {
    return Int((look.timeline().DurationNs(ticks) + 500) / 1000);
  };
  if (counts.total == 0) {
    Append(row, RowOf(Null(), Null(), Null()));
    return;
  }
  Append(row, RowOf(micros(counts.Percentile(0.5)), micros(counts.Percentile(0.99)),
                    micros(counts.max)));
}

using StatKinds = std::array<ledger::StatCounts, ledger::kStatKinds>;

void AddStats(const Look& look, const Database& database, const Teller& teller,
              const StatKinds& kinds, Rows& rows) {
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const ledger::StatCounts& counts = kinds.at(i);
    if (counts.Empty()) continue;
    const ledger::StatKind kind = ledger::StatKindOf(i);
    Row row = RowOf(Text(database.path), Maybe(teller.pid), Maybe(teller.process),
                    Text(Name(Source::kShim)), Text(Name(kind.resource)), Text(Name(kind.mode)),
                    Int(counts.acquired), Int(counts.released), Int(counts.refused));
    AppendPercentiles(look, counts.wait, row);
    AppendPercentiles(look, counts.hold, row);
    rows.push_back(std::move(row));
  }
}

}  // namespace

Rows StatRows(const Look& look, const Asker&) {
  Rows rows;
  for (const Database& database : look.databases()) {
    StatKinds own{};
    for (const auto& stats : ledger::Ledger::Process().Stats(Of(database))) {
      for (std::size_t i = 0; i < own.size(); ++i) own.at(i).Merge(stats.kinds.at(i));
    }
    AddStats(look, database, TellerOf(look, database, nullptr), own, rows);
    for (const auto& stats : database.registry->Stats()) {
      AddStats(look, database, TellerOf(look, database, stats.process.get()), stats.kinds, rows);
    }
  }
  return rows;
}

}  // namespace lockscope::insight
