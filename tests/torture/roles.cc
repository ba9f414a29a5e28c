#include "roles.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace lockscope::torture {
namespace {

constexpr std::int64_t kNsPerUs = 1000;
constexpr std::int64_t kNsPerMs = 1'000'000;

void SleepUs(int us) {
  if (us > 0) usleep(static_cast<useconds_t>(us));
}

bool Quiet(const SharedState& shared) { return NowNs() < shared.quiet_until.load(); }

// While all is to be quiet `connection` is closed. True where it was.
template <typename T>
bool CloseWhileQuiet(SharedState& shared, std::unique_ptr<T>& connection) {
  if (!Quiet(shared)) return false;
  if (connection != nullptr) ++shared.closings;
  connection.reset();
  while (Quiet(shared) && !shared.stop) usleep(500);
  return true;
}

// The most of [begun, ended] that lies in [from, to].
std::int64_t Overlap(std::int64_t begun, std::int64_t ended, std::int64_t from, std::int64_t to) {
  return std::max<std::int64_t>(0, std::min(ended, to) - std::max(begun, from));
}

// A window that is being overwritten meanwhile would need 64 barriers during one transaction.
void NoteStall(const SharedState& shared, WriterTotals& totals, std::int64_t begun,
               std::int64_t ended) {
  const std::int64_t count = shared.windows_begun.load();
  const std::int64_t size = static_cast<std::int64_t>(shared.windows.size());
  bool free = true;
  for (std::int64_t i = count - 1; i >= std::max<std::int64_t>(0, count - size); --i) {
    const Window& window = shared.windows[static_cast<std::size_t>(i % size)];
    const std::int64_t had = window.had.load();
    const std::int64_t over = window.over.load();
    if (over != 0 && over < begun) break;
    free = false;
    if (!window.writers_go_on) continue;
    const std::int64_t until = over != 0 ? over : ended;
    KeepLargest(totals.longest_acquiring_ns,
                Overlap(begun, ended, window.asked.load(), had != 0 ? had : until));
    if (had != 0) KeepLargest(totals.longest_held_ns, Overlap(begun, ended, had, until));
  }
  if (free) KeepLargest(totals.longest_free_ns, ended - begun);
}

class Writer {
 public:
  Writer(const Setting& setting, SharedState& shared, int number)
      : setting_(setting),
        shared_(shared),
        totals_(shared.writers[static_cast<std::size_t>(number)]),
        random_(setting.seed + 100U + static_cast<unsigned>(number)) {}

  void Run() {
    while (!shared_.stop) {
      CloseWhileQuiet(shared_, teller_);
      if (teller_ == nullptr) Open();
      Phase();
      if (!setting_.steady && Chance(random_, 10)) teller_.reset();
    }
  }

 private:
  void Open() {
    teller_ = std::make_unique<Teller>(setting_.files);
    if (setting_.steady) return;
    // Pages are spilled in the middle of a transaction.
    if (Chance(random_, 50)) teller_->db().Exec("pragma cache_size = 10");
    if (Chance(random_, 50)) teller_->db().Exec("pragma other.cache_size = 10");
  }

  void Settle() {
    if (setting_.steady || !setting_.wal) return;
    constexpr int kAutocheckpoints[] = {1, 20, 100, 400};
    constexpr int kLimits[] = {-1, 0, 100'000, 1'000'000};
    teller_->db().Exec("pragma wal_autocheckpoint = " +
                       std::to_string(kAutocheckpoints[Between(random_, 0, 3)]));
    for (const char* schema : {"main", "other"}) {
      teller_->db().Exec("pragma " + std::string(schema) + ".journal_size_limit = " +
                         std::to_string(kLimits[Between(random_, 0, 3)]));
    }
  }

  // A hot phase, without a pause, or a calm one.
  void Phase() {
    Settle();
    const bool hot = setting_.steady || Chance(random_, 40);
    const std::int64_t end = NowNs() + Between(random_, 5, 100) * kNsPerMs;
    while (NowNs() < end && !shared_.stop && !Quiet(shared_)) {
      Transact();
      if (!hot) SleepUs(Between(random_, 0, 3000));
    }
  }

  int Moves() {
    if (setting_.steady) return 5;
    return Chance(random_, 3) ? Between(random_, 50, 200) : Between(random_, 1, 10);
  }

  void Transact() {
    const int die = Between(random_, 1, 100);
    const auto where = die <= 60   ? Teller::Where::kBoth
                       : die <= 80 ? Teller::Where::kMain
                                   : Teller::Where::kOther;
    const bool roll_back = !setting_.steady && Chance(random_, 5);
    const int moves = Moves();
    const std::int64_t begun = NowNs();
    try {
      teller_->Transact(random_, where, moves, roll_back);
      ++(roll_back ? totals_.rollbacks : totals_.commits);
    } catch (const SqlError& error) {
      if (error.code() != SQLITE_BUSY) throw;
      ++totals_.busy;
    }
    NoteStall(shared_, totals_, begun, NowNs());
  }

  const Setting& setting_;
  SharedState& shared_;
  WriterTotals& totals_;
  Random random_;
  std::unique_ptr<Teller> teller_;
};

}  // namespace

void RunWriter(const Setting& setting, SharedState& shared, int number) {
  Writer(setting, shared, number).Run();
}

void RunCheckpointer(const Setting& setting, SharedState& shared) {
  Random random(setting.seed + 200U);
  constexpr int kModes[] = {SQLITE_CHECKPOINT_PASSIVE, SQLITE_CHECKPOINT_FULL,
                            SQLITE_CHECKPOINT_RESTART, SQLITE_CHECKPOINT_TRUNCATE};
  constexpr int kTimeoutsMs[] = {0, 10, 50};
  std::unique_ptr<Sql> db;
  for (int round = 0; !shared.stop; ++round) {
    CloseWhileQuiet(shared, db);
    if (db == nullptr) {
      db = std::make_unique<Sql>(Chance(random, 50) ? setting.files.a : setting.files.b);
    }
    sqlite3_busy_timeout(db->get(), kTimeoutsMs[Between(random, 0, 2)]);
    try {
      if (Chance(random, setting.wal ? 2 : 20)) {
        db->Exec("vacuum");
      } else if (setting.wal) {
        db->Int("select count(*) from book");  // a connection that has not read has no WAL open
        const int mode = kModes[round % 4];
        const int result = sqlite3_wal_checkpoint_v2(db->get(), "main", mode, nullptr, nullptr);
        ++(result == SQLITE_OK ? shared.checkpoints : shared.checkpoints_busy);
      }
    } catch (const SqlError& error) {
      if (error.code() != SQLITE_BUSY) throw;
    }
    if (Chance(random, 20)) db.reset();
    SleepUs(Between(random, 1000, 30'000));
  }
}

void RunReader(const Setting& setting, SharedState& shared, int number) {
  Random random(setting.seed + 300U + static_cast<unsigned>(number));
  std::unique_ptr<Sql> db;
  while (!shared.stop) {
    CloseWhileQuiet(shared, db);
    if (db == nullptr) {
      db = std::make_unique<Sql>(Chance(random, 50) ? setting.files.a : setting.files.b);
      db->RetryEveryMillisecond(20000);
    }
    const Audit audit = AuditDatabase(*db, "main", false);
    ++shared.snapshots_read;
    if (!audit.complaint.empty() && shared.live_complaints++ == 0) {
      std::fprintf(stderr, "torture: a live database is broken: %s\n", audit.complaint.c_str());
    }
    db->Exec("begin");
    db->Int("select count(*) from book");
    SleepUs(Chance(random, 5) ? Between(random, 20'000, 80'000) : Between(random, 0, 3000));
    db->Exec("commit");
    if (Chance(random, 20)) db.reset();
    SleepUs(Between(random, 0, 10'000));
  }
}

}  // namespace lockscope::torture
