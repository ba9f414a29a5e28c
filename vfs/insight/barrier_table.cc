#include "insight/barrier_table.h"

#include <set>
#include <utility>

#include "ledger/barrier_board.h"

namespace lockscope::insight {
namespace {

using BarrierMember = ledger::BarrierNotice::Member;

// The member that is one of the databases looked at; null for none.
const BarrierMember* MemberLookedAt(const Look& look, const ledger::BarrierNotice& notice) {
  for (const Database& database : look.databases()) {
    for (const BarrierMember& member : notice.members) {
      if (member.path == database.path || (database.id.known() && member.database == database.id)) {
        return &member;
      }
    }
  }
  return nullptr;
}

std::string PathsAsJson(const std::vector<BarrierMember>& members) {
  std::vector<std::string> paths;
  paths.reserve(members.size());
  for (const BarrierMember& member : members) paths.push_back(member.path);
  return JsonStrings(paths);
}

struct ShownBarrier {
  const ledger::BarrierNotice& notice;
  const std::string& database;
  std::optional<std::int64_t> pid;
  std::optional<std::string> process;
  std::uint64_t connection;
};

Row BarrierRow(const Look& look, const ShownBarrier& barrier) {
  const ledger::BarrierNotice& notice = barrier.notice;
  Value expires = Null();
  if (notice.expires_monotonic_ns != 0) {
    // Another process may say anything: the sum need not be a time.
    const std::uint64_t from_now = notice.expires_monotonic_ns - look.now().monotonic_ns;
    const auto now = static_cast<std::uint64_t>(look.now().realtime_ns);
    expires = Text(ledger::FormatUtc(static_cast<std::int64_t>(now + from_now)));
  }
  return RowOf(Text(barrier.database), Maybe(barrier.pid), Maybe(barrier.process),
               Int(barrier.connection), Maybe(look.Since(notice.since)),
               Maybe(look.AgeMs(notice.since)), Null(), Text(Name(Source::kShim)),
               Text(notice.token), Known(notice.label), Text(notice.kind),
               notice.members.empty() ? Null() : Text(PathsAsJson(notice.members)),
               std::move(expires), Text(Name(notice.state)));
}

}  // namespace

Rows BarrierRows(const Look& look, const Asker&) {
  Rows rows;
  for (const ledger::BarrierNotice& notice : ledger::BarrierBoard::Process().All()) {
    const BarrierMember* member = MemberLookedAt(look, notice);
    if (member == nullptr) continue;
    rows.push_back(BarrierRow(look, {notice, member->path, look.pid(), look.ProcessName(look.pid()),
                                     member->connection}));
  }
  // Of another process each private connection tells of the whole barrier.
  std::set<std::pair<std::uint64_t, std::string>> told;
  for (const Database& database : look.databases()) {
    for (const ledger::BarrierView& view : database.registry->Barriers()) {
      if (!told.emplace(view.process->instance, view.notice.token).second) continue;
      const Teller teller = TellerOf(look, database, view.process.get());
      rows.push_back(BarrierRow(
          look, {view.notice, database.path, teller.pid, teller.process, view.connection}));
    }
  }
  return rows;
}

}  // namespace lockscope::insight
