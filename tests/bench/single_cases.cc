// Statements of one connection, and its opening and closing: point SELECTs and small write
// transactions, each in autocommit mode, as an application runs most of its statements.
#include <lockscope.h>

#include <array>
#include <stdexcept>

#include "bench/cases.h"
#include "bench/connection.h"

namespace lockscope::bench {
namespace {

enum class Statements : std::uint8_t {
  kOne,            // the only prepared statement
  kHundredCached,  // one of a hundred, always the same
  kHundredInTurn,  // each of a hundred different ones in its turn
};

struct Load {
  bool write = false;
  std::string journal_mode = "wal";
  std::string synchronous = "off";
  bool sibling = false;  // another connection of this process has a read snapshot, and so the slot
  bool transaction = false;  // all in one read transaction: no locks
  Statements statements = Statements::kOne;
};

// Few rows are written, so that what the other side's commits throw out of a page cache is soon
// back.
constexpr std::int64_t kWrittenRows = 32;

class StatementCase : public Case {
 public:
  StatementCase(const Load& load, const EpochOptions& options)
      : load_(load), path_(options.folder + "/statements.db") {
    CreateDatabase(path_, load.journal_mode);
    const std::array<Side, 2> order = options.shim_first ? std::array{Side::kShim, Side::kStock}
                                                         : std::array{Side::kStock, Side::kShim};
    for (const Side side : order) OpenSide(side, VfsOf(side, options.calibrate));
    if (load.sibling) {
      sibling_ = std::make_unique<Connection>(path_, "unix");
      HoldSnapshot();
    }
  }

  void Prepare(Side side) override {
    if (load_.write && load_.journal_mode == "wal") EmptyWal();
    for (int i = 0; i < kWarmUp; ++i) RunOne(sides_[Index(side)]);
  }

  Sample Run(Side side, long operations) override {
    Opened& opened = sides_[Index(side)];
    return TimeLoop(operations, [&] { RunOne(opened); });
  }

  std::string CountedDatabase() const override { return path_; }

 private:
  static constexpr int kWarmUp = 40;
  struct Opened {
    std::unique_ptr<Connection> connection;
    std::vector<Statement> statements;
    std::size_t next = 0;
    std::uint64_t random = 1;
  };

  void OpenSide(Side side, const char* vfs) {
    Opened& opened = sides_[Index(side)];
    opened.connection = std::make_unique<Connection>(path_, vfs);
    opened.connection->Exec(
        "pragma synchronous = " + load_.synchronous +
        "; pragma wal_autocheckpoint = 0; pragma journal_mode = " + load_.journal_mode);
    const int count = load_.statements == Statements::kOne ? 1 : 100;
    for (int i = 0; i < count; ++i) {
      // As an ORM writes them: long, and alike but for a part.
      const std::string tail = " -- statement " + std::to_string(i) + " of the cache";
      const std::string sql = load_.write ? "update t set v = v + 1 where id = ?1"
                                          : "select v, pad from t where id = ?1";
      opened.statements.emplace_back(opened.connection->get(), sql + (count > 1 ? tail : ""));
    }
    if (load_.transaction) {
      opened.connection->Exec("begin");
      opened.statements.front().Run(1);
    }
  }

  void RunOne(Opened& opened) {
    opened.random = opened.random * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto rows = load_.write ? kWrittenRows : kRows;
    const auto row =
        static_cast<std::int64_t>((opened.random >> 33) % static_cast<std::uint64_t>(rows));
    opened.statements[opened.next].Run(row + 1);
    if (load_.statements == Statements::kHundredInTurn) {
      opened.next = (opened.next + 1) % opened.statements.size();
    }
  }

  void HoldSnapshot() const { sibling_->Exec("begin; select count(*) from t where id = 1"); }

  // Every block of writes begins with an empty WAL; checkpoints are a comparison of their own.
  void EmptyWal() {
    if (sibling_ != nullptr) sibling_->Exec("commit");
    int frames = -1;
    const int result = sqlite3_wal_checkpoint_v2(sides_[0].connection->get(), nullptr,
                                                 SQLITE_CHECKPOINT_TRUNCATE, &frames, nullptr);
    if (result != SQLITE_OK || frames > 0) throw std::runtime_error("the WAL was not emptied");
    if (sibling_ != nullptr) HoldSnapshot();
  }

  const Load load_;
  const std::string path_;
  std::array<Opened, kSides> sides_;
  std::unique_ptr<Connection> sibling_;
};

// Opening, a first SELECT (which reads the schema), closing. Another connection stays open, as in a
// process with a pool: otherwise every close in WAL mode would be a checkpoint and a new WAL file.
class OpenCloseCase : public Case {
 public:
  OpenCloseCase(const std::string& journal_mode, bool with_tables, const EpochOptions& options)
      : path_(options.folder + "/open.db"),
        calibrate_(options.calibrate),
        with_tables_(with_tables && !options.calibrate) {
    CreateDatabase(path_, journal_mode);
    keeper_ = std::make_unique<Connection>(path_, "unix");
    keeper_->Exec("select count(*) from t where id = 1");
  }

  Sample Run(Side side, long operations) override {
    const char* vfs = VfsOf(side, calibrate_);
    return TimeLoop(operations, [&] {
      Connection connection(path_, vfs);
      if (with_tables_ && side == Side::kShim && lockscope_init(connection.get()) != SQLITE_OK) {
        throw std::runtime_error("lockscope_init");
      }
      Statement(connection.get(), "select v from t where id = ?1").Run(1);
    });
  }

 private:
  const std::string path_;
  const bool calibrate_;
  const bool with_tables_;
  std::unique_ptr<Connection> keeper_;
};

// A writer that is refused each time and has no busy handler: what a refused lock call costs, with
// the looks into who is in the way.
class RefusedCase : public Case {
 public:
  RefusedCase(const std::string& journal_mode, const EpochOptions& options)
      : path_(options.folder + "/refused.db") {
    CreateDatabase(path_, journal_mode);
    writer_ = std::make_unique<Connection>(path_, "unix");
    writer_->Exec("begin immediate");
    for (const Side side : {Side::kStock, Side::kShim}) {
      Opened& opened = sides_[Index(side)];
      opened.connection = std::make_unique<Connection>(path_, VfsOf(side, options.calibrate));
      opened.update = std::make_unique<Statement>(opened.connection->get(),
                                                  "update t set v = v + 1 where id = ?1");
    }
  }

  Sample Run(Side side, long operations) override {
    Statement& update = *sides_[Index(side)].update;
    return TimeLoop(operations, [&update] {
      if (update.TryRun(1)) throw std::runtime_error("it was not refused");
    });
  }

 private:
  struct Opened {
    std::unique_ptr<Connection> connection;
    std::unique_ptr<Statement> update;
  };

  const std::string path_;
  std::unique_ptr<Connection> writer_;
  std::array<Opened, kSides> sides_;
};

Comparison Refused(const std::string& name, const std::string& journal_mode) {
  return {.name = name, .epoch = [journal_mode](const EpochOptions& options) {
            return std::make_unique<RefusedCase>(journal_mode, options);
          }};
}

Comparison Of(const std::string& name, const Load& load) {
  return {.name = name, .epoch = [load](const EpochOptions& options) {
            return std::make_unique<StatementCase>(load, options);
          }};
}

Comparison OpenClose(const std::string& name, const std::string& journal_mode, bool with_tables) {
  return {.name = name, .epoch = [journal_mode, with_tables](const EpochOptions& options) {
            return std::make_unique<OpenCloseCase>(journal_mode, with_tables, options);
          }};
}

}  // namespace

std::vector<Comparison> SingleConnectionCases() {
  const auto cached = Statements::kHundredCached;
  const auto in_turn = Statements::kHundredInTurn;
  return {
      Of("select wal", {}),
      Of("select wal, sibling holds the slot", {.sibling = true}),
      Of("select wal, 100 cached", {.statements = cached}),
      Of("select wal, 100 in turn", {.statements = in_turn}),
      Of("select wal, sibling, 100 cached", {.sibling = true, .statements = cached}),
      Of("select wal, sibling, 100 in turn", {.sibling = true, .statements = in_turn}),
      Of("select wal, in a transaction", {.transaction = true}),
      Of("select delete", {.journal_mode = "delete"}),
      Of("select delete, sibling holds SHARED", {.journal_mode = "delete", .sibling = true}),
      Of("select delete, 100 cached", {.journal_mode = "delete", .statements = cached}),
      Of("write wal, sync off", {.write = true}),
      Of("write wal, sync normal", {.write = true, .synchronous = "normal"}),
      Of("write wal, sync off, sibling reads", {.write = true, .sibling = true}),
      Of("write wal, sync off, 100 cached", {.write = true, .statements = cached}),
      Of("write wal, sync off, 100 in turn", {.write = true, .statements = in_turn}),
      Of("write delete, sync off", {.write = true, .journal_mode = "delete"}),
      Of("write delete, sync normal",
         {.write = true, .journal_mode = "delete", .synchronous = "normal"}),
      Of("write delete, sync off, 100 cached",
         {.write = true, .journal_mode = "delete", .statements = cached}),
      Of("write truncate, sync off", {.write = true, .journal_mode = "truncate"}),
      Of("write truncate, sync normal",
         {.write = true, .journal_mode = "truncate", .synchronous = "normal"}),
      Refused("refused write wal", "wal"),
      Refused("refused write delete", "delete"),
      OpenClose("open, select, close: wal", "wal", false),
      OpenClose("open, select, close: delete", "delete", false),
      OpenClose("open with tables, select, close: wal", "wal", true),
  };
}

}  // namespace lockscope::bench
