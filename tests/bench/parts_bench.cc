// The shim's parts alone, in ns (Google Benchmark): time stamps, statement texts, what the ledger
// does for a lock call, what a looker pays; and whole statements over a VFS whose locks cost
// nothing, where what lies between stock and shim is the shim.
#include <benchmark/benchmark.h>
#include <lockscope.h>
#include <sqlite3.h>

#include <memory>
#include <stdexcept>
#include <string>

#include "bench/connection.h"
#include "ledger/clock.h"
#include "ledger/connection.h"
#include "ledger/ledger.h"
#include "ledger/statement_text.h"
#include "shim/statement_tracker.h"
#include "support/temp_dir.h"

namespace lockscope::bench {
namespace {

// ---- a VFS like "unix" whose locks are always granted and cost nothing ----

int NoLock(sqlite3_file*, int) { return SQLITE_OK; }
int NoShmLock(sqlite3_file*, int, int, int) { return SQLITE_OK; }

int OpenHollow(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out) {
  static sqlite3_io_methods hollow;
  auto* unix_vfs = static_cast<sqlite3_vfs*>(vfs->pAppData);
  const int result = unix_vfs->xOpen(unix_vfs, path, file, flags, out);
  if (result != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0) return result;
  hollow = *file->pMethods;
  hollow.xLock = NoLock;
  hollow.xUnlock = NoLock;
  hollow.xShmLock = NoShmLock;
  file->pMethods = &hollow;
  return result;
}

void RegisterVfses() {
  static sqlite3_vfs hollow = *sqlite3_vfs_find("unix");
  hollow.zName = "hollow";
  hollow.pAppData = sqlite3_vfs_find("unix");
  hollow.xOpen = OpenHollow;
  if (sqlite3_vfs_register(&hollow, 0) != SQLITE_OK ||
      lockscope_register("unix", "lockscope", 0) != SQLITE_OK ||
      lockscope_register("hollow", "lockscope-hollow", 0) != SQLITE_OK) {
    throw std::runtime_error("a VFS could not be registered");
  }
}

const testing::TempDir& Folder() {
  static const testing::TempDir folder;
  return folder;
}

const char* const kSelect = "select v, pad from t where id = ?1";

// ---- clocks ----

void TimeStamp(benchmark::State& state) {
  while (state.KeepRunning()) benchmark::DoNotOptimize(ledger::Now());
}
BENCHMARK(TimeStamp);

// ---- statement texts ----

std::string TextOfLength(std::size_t length, char last) {
  std::string text = "select ";
  text.resize(length, 'x');
  text.back() = last;
  return text;
}

void StatementTextSame(benchmark::State& state) {
  ledger::StatementText text;
  const std::string sql = TextOfLength(static_cast<std::size_t>(state.range(0)), 'a');
  while (state.KeepRunning()) {
    text.Assign(sql.c_str());
    benchmark::DoNotOptimize(text);
  }
}
BENCHMARK(StatementTextSame)->Arg(40)->Arg(200)->Arg(900);

void StatementTextDifferent(benchmark::State& state) {
  ledger::StatementText text;
  const auto length = static_cast<std::size_t>(state.range(0));
  const std::string sql[] = {TextOfLength(length, 'a'), TextOfLength(length, 'b')};
  std::size_t i = 0;
  while (state.KeepRunning()) {
    text.Assign(sql[i++ % 2].c_str());
    benchmark::DoNotOptimize(text);
  }
}
BENCHMARK(StatementTextDifferent)->Arg(40)->Arg(200)->Arg(900);

// What the trace costs a statement: in a transaction, where nothing is locked.
enum class Trace { kNone, kEmpty, kTracker };

int EmptyTrace(unsigned, void*, void*, void*) { return 0; }

template <Trace kTrace>
void SelectTraced(benchmark::State& state) {
  const std::string path = Folder() / "traced.db";
  CreateDatabase(path, "wal");
  Connection connection(path, "unix");
  std::shared_ptr<shim::StatementTracker> tracker;
  if (kTrace == Trace::kEmpty) {
    sqlite3_trace_v2(connection.get(), SQLITE_TRACE_STMT, EmptyTrace, nullptr);
  } else if (kTrace == Trace::kTracker) {
    tracker = shim::StatementTracker::For(connection.get(), true);
  }
  {
    Statement select(connection.get(), kSelect);
    connection.Exec("begin");
    while (state.KeepRunning()) select.Run(7);
    connection.Exec("commit");
  }
  if (tracker != nullptr) shim::StatementTracker::MainFileClosing(tracker, connection.get());
}
BENCHMARK(SelectTraced<Trace::kNone>);
BENCHMARK(SelectTraced<Trace::kEmpty>);
BENCHMARK(SelectTraced<Trace::kTracker>);

// ---- the ledger ----

// An open connection's record, as the shim has one, with a statement to record.
class Recording {
 public:
  Recording() : connection_(ledger::Ledger::Process().Open()) {
    if (connection_ == nullptr) throw std::bad_alloc();
    ledger::ConnectionInfo info;
    info.path = Folder() / "recording.db";
    info.vfs = "lockscope/unix";
    info.opened = ledger::Now();
    ledger::Ledger::Process().Opened(*connection_, std::move(info));
    text_.Assign(kSelect);
    context_.statement = &text_;
    context_.statement_number = 2;
    context_.autocommit = ledger::Autocommit::kOn;
  }
  ~Recording() { ledger::Ledger::Process().Close(*connection_); }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  ledger::Connection& connection() { return *connection_; }
  const ledger::CallContext& context() const { return context_; }

 private:
  ledger::Connection* const connection_;
  ledger::StatementText text_;
  ledger::CallContext context_;
};

constexpr int kSlotOne = 4;
constexpr int kWriteOffset = 0;

void RecordReadSlotPair(benchmark::State& state) {
  Recording recording;
  ledger::Ticks now = ledger::Now();
  while (state.KeepRunning()) {
    recording.connection().OneShmLocked({kSlotOne, LockMode::kShared}, ++now, {});
    recording.connection().OneShmUnlocked({kSlotOne, LockMode::kShared}, ++now);
  }
}
BENCHMARK(RecordReadSlotPair);

void RecordWriteLockPair(benchmark::State& state) {
  Recording recording;
  ledger::Ticks now = ledger::Now();
  while (state.KeepRunning()) {
    recording.connection().OneShmLocked({kWriteOffset, LockMode::kExclusive}, ++now, {});
    recording.connection().OneShmUnlocked({kWriteOffset, LockMode::kExclusive}, ++now);
  }
}
BENCHMARK(RecordWriteLockPair);

void RecordDatabaseLockPair(benchmark::State& state) {
  Recording recording;
  ledger::Ticks now = ledger::Now();
  while (state.KeepRunning()) {
    recording.connection().DatabaseLocked(LockMode::kShared, ++now, recording.context());
    recording.connection().DatabaseUnlocked(LockMode::kNone, SQLITE_OK, ++now, recording.context());
  }
}
BENCHMARK(RecordDatabaseLockPair);

// ---- over the hollow VFS: the shim and nothing else ----

template <bool kShim>
const char* HollowVfs() {
  return kShim ? "lockscope-hollow" : "hollow";
}

template <bool kShim>
void AutocommitSelect(benchmark::State& state) {
  const std::string path = Folder() / "hollow.db";
  CreateDatabase(path, "wal");
  Connection connection(path, HollowVfs<kShim>());
  Statement select(connection.get(), kSelect);
  while (state.KeepRunning()) select.Run(7);
}
BENCHMARK(AutocommitSelect<false>);
BENCHMARK(AutocommitSelect<true>);

template <bool kShim>
void SelectInTransaction(benchmark::State& state) {
  const std::string path = Folder() / "hollow.db";
  CreateDatabase(path, "wal");
  Connection connection(path, HollowVfs<kShim>());
  {
    Statement select(connection.get(), kSelect);
    connection.Exec("begin");
    while (state.KeepRunning()) select.Run(7);
    connection.Exec("commit");
  }
}
BENCHMARK(SelectInTransaction<false>);
BENCHMARK(SelectInTransaction<true>);

// ---- looking ----

void CopyConnectionSlot(benchmark::State& state) {
  const auto slot = std::make_unique<ledger::ConnectionSlot>();
  ledger::SlotCopy copy{};
  while (state.KeepRunning()) {
    benchmark::DoNotOptimize(slot->Read(copy));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(CopyConnectionSlot);

// A whole look, as a query makes it, with so many connections of this process on the database. The
// kernel's list of all locks is in it: it costs in proportion to the locks of the whole machine.
void LookAtLocks(benchmark::State& state) {
  const std::string path = Folder() / "looked-at.db";
  CreateDatabase(path, "wal");
  std::vector<std::unique_ptr<Connection>> readers;
  for (int i = 0; i < state.range(0); ++i) {
    readers.push_back(std::make_unique<Connection>(path, "lockscope"));
    readers.back()->Exec("begin; select * from t limit 1");
  }
  Connection memory(":memory:", nullptr);
  if (lockscope_init(memory.get()) != SQLITE_OK) throw std::runtime_error("lockscope_init");
  Statement look(memory.get(), "select count(*) from lockscope_locks('" + path + "') where ?1");
  while (state.KeepRunning()) {
    if (look.Run(1) < state.range(0)) throw std::runtime_error("locks are missing");
  }
}
BENCHMARK(LookAtLocks)->Arg(1)->Arg(16)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace lockscope::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  try {
    lockscope::bench::RegisterVfses();
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "parts_bench: %s\n", e.what());
    return 1;
  }
  return 0;
}
