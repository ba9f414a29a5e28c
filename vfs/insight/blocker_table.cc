#include "insight/blocker_table.h"

#include <algorithm>
#include <iterator>

#include "insight/blockers.h"

namespace lockscope::insight {
namespace {

struct Pair {
  const Database* database;
  Block block;
};

Value ConnectionNumber(const LockFacts& lock) {
  return lock.view != nullptr ? Int(lock.view->info.id) : Null();
}

Value LockName(Resource resource, LockMode mode) {
  return Text(std::string(Name(resource)) + " " + Name(mode));
}

// Who waits, in the columns that most tables begin with.
Row WaiterColumns(const Look& look, const Pair& pair) {
  Value database = Text(pair.database->path);
  if (!pair.block.waiter) {
    return RowOf(std::move(database), Null(), Null(), Null(), Null(), Null(), Null(), Null());
  }
  const LockFacts& waiter = *pair.block.waiter;
  return RowOf(std::move(database), Maybe(waiter.pid),
               Maybe(look.ProcessName(waiter.pid, waiter.view)), ConnectionNumber(waiter),
               Maybe(look.Since(waiter.since)), Maybe(look.AgeMs(waiter.since)), Maybe(waiter.sql),
               Text(Name(waiter.source)));
}

Row PairColumns(const Look& look, const Block& block) {
  const LockFacts& blocker = block.blocker;
  return RowOf(block.waiter ? Maybe(block.waiter->pid) : Null(),
               block.waiter ? ConnectionNumber(*block.waiter) : Null(),
               LockName(block.wants.resource, block.wants.mode), Maybe(blocker.pid),
               ConnectionNumber(blocker), Maybe(look.ProcessName(blocker.pid, blocker.view)),
               LockName(blocker.resource, blocker.mode), Maybe(look.AgeMs(blocker.since)),
               Maybe(blocker.sql), Text(block.advice), Text(Name(block.reason)));
}

}  // namespace

Rows BlockerRows(const Look& look, const Asker&) {
  std::vector<Pair> pairs;
  for (const Database& database : look.databases()) {
    for (Block& block : CollectBlocks(look, database)) {
      pairs.push_back({&database, std::move(block)});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return ComesFirst(a.block, b.block); });
  Rows rows;
  rows.reserve(pairs.size());
  for (const Pair& pair : pairs) {
    Row row = WaiterColumns(look, pair);
    Row more = PairColumns(look, pair.block);
    std::move(more.begin(), more.end(), std::back_inserter(row));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace lockscope::insight
