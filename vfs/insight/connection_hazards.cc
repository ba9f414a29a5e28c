// What connections tell of themselves: this process's, and those that other processes publish.
#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "insight/hazard_rules.h"
#include "insight/summary.h"
#include "ledger/registry.h"
#include "model/wal_reset_bug.h"
#include "settings/settings.h"

namespace lockscope::insight {
namespace {

using ledger::ConnectionView;

// "3.40.1" as 3040001; null for what is no version.
std::optional<int> VersionNumber(std::string_view version) {
  int number = 0;
  const char* at = version.data();
  const char* const end = at + version.size();
  for (int part = 0; part < 3; ++part) {
    int value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    if (error != std::errc{} || value < 0 || value > 999) return std::nullopt;
    number = number * 1000 + value;
    at = stop;
    if (part < 2 && (at == end || *at++ != '.')) return std::nullopt;
  }
  return number;
}

const std::string& SqliteOf(const ConnectionView& view) {
  return view.process != nullptr ? view.process->sqlite_version
                                 : ledger::CurrentHostSqlite().version;
}

bool Guarded(const ConnectionView& view) {
  const settings::Switch word =
      view.process != nullptr ? view.process->guard : settings::WalResetGuardWord();
  return word == settings::Switch::kUnset ? !view.info.unguarded : word == settings::Switch::kOn;
}

LockFacts Whose(const Scene& scene, const ConnectionView& view) {
  return {.source = Source::kShim, .pid = scene.look().PidOf(view), .view = &view};
}

// One of the connections of each such process. Of processes without lockscope nothing tells which
// SQLite they have, and what is not known is no hazard. A barrier's own connection never
// checkpoints.
void AddWalResetBug(const Scene& scene, std::vector<Hazard>& hazards) {
  if (!scene.database().wal_mode) return;
  std::set<std::uint64_t> told;  // by instance; 0 is ours
  for (const ConnectionView* view : scene.database().Connections()) {
    const auto version = VersionNumber(SqliteOf(*view));
    if (view->info.barrier || !version || !HasWalResetBug(*version) || Guarded(*view)) continue;
    if (!told.insert(KeyOf(*view).first).second) continue;
    const LockFacts who = Whose(scene, *view);
    hazards.push_back(
        {.hazard = "wal-reset-bug",
         .severity = Severity::kWarning,
         .whose = who,
         .text = "WAL-reset bug. " + DescribeHolder(scene.look(), who) + " has SQLite " +
                 SqliteOf(*view) +
                 ", whose checkpoints can lose committed transactions when another process starts "
                 "the WAL over meanwhile, and checkpoints without the guard.",
         .advice = "set wal_reset_guard on in that process, or give it SQLite 3.51.3 or later, "
                   "3.50.7 or 3.44.6"});
  }
}

// ---- immutable ----

// Who is about to change the database; null for nobody.
const LockFacts* Writer(const Sight& now) {
  const auto found = std::find_if(now.locks.begin(), now.locks.end(), [](const LockFacts& lock) {
    if (!lock.granted) return false;
    if (lock.resource == Resource::kDatabase) return lock.mode >= LockMode::kReserved;
    return lock.resource == Resource::kWalWrite && lock.mode == LockMode::kExclusive;
  });
  return found == now.locks.end() ? nullptr : &*found;
}

// File systems tell a time some milliseconds old: what was written just after the opening may
// seem to be from before, and not the other way round.
bool WrittenSinceOpened(const Scene& scene, const ConnectionView& view) {
  if (view.info.opened == 0) return false;
  const std::int64_t opened_ns = scene.look().timeline().RealtimeNs(view.info.opened);
  const Database& database = scene.database();
  // A WAL that somebody has made and not yet written says nothing.
  return database.written_ns > opened_ns ||
         (database.wal_bytes > 0 && database.wal_written_ns > opened_ns);
}

void AddImmutable(const Scene& scene, std::vector<Hazard>& hazards) {
  for (const ConnectionView* view : scene.database().Connections()) {
    if (!view->info.immutable) continue;
    const bool written = WrittenSinceOpened(scene, *view);
    const LockFacts* writer = Writer(scene.now);
    if (!written && writer == nullptr) continue;
    const LockFacts who = Whose(scene, *view);
    std::string text = "immutable open. " + DescribeHolder(scene.look(), who) +
                       " has opened the database as immutable, takes no lock and looks for no "
                       "change: ";
    text += written ? "it has been written since"
                    : DescribeHolder(scene.look(), *writer) + " is about to write it";
    hazards.push_back({.hazard = "immutable-open",
                       .severity = Severity::kDanger,
                       .whose = who,
                       .text = text + ", and what it reads may be wrong.",
                       .advice = "open it there without immutable=1: mode=ro is enough to change "
                                 "nothing"});
  }
}

}  // namespace

void AddConnectionHazards(const Scene& scene, std::vector<Hazard>& hazards) {
  AddWalResetBug(scene, hazards);
  AddImmutable(scene, hazards);
}

}  // namespace lockscope::insight
