#include "methods.h"

#include <lockscope.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace lockscope::torture {
namespace {

using nlohmann::json;

// ---- the controls ----

// A connection with a as main and b as other, some SQL before the copy and some after it. What is
// copied: of each database the files with these suffixes.
class PlainSql : public Method {
 public:
  PlainSql(const BankFiles& files, std::string before, std::string after,
           const std::vector<std::string>& suffixes = {"", "-wal"})
      : bank_(files), before_(std::move(before)), after_(std::move(after)) {
    for (const std::string& path : {files.a, files.b}) {
      for (const std::string& suffix : suffixes) files_.push_back({path + suffix, std::nullopt});
    }
  }

  bool Begin(const Plan&) override {
    if (db_ == nullptr) {
      db_ = std::make_unique<Sql>(bank_.a);
      db_->RetryEveryMillisecond(20000);
      Prepared(db_->get(), "attach ?1 as other").Bind(1, bank_.b).Run();
    }
    db_->Exec(before_);
    return true;
  }
  std::string End() override {
    db_->Exec(after_);
    return {};
  }
  void Reopen(Random&) override { db_.reset(); }

 private:
  const BankFiles bank_;
  const std::string before_;
  const std::string after_;
  std::unique_ptr<Sql> db_;
};

constexpr const char* kReadBoth =
    "begin; select count(*) from main.book; select count(*) from other.book;";

// SQLite's backup API, a hundred pages at a time.
class BackupApi : public Method {
 public:
  BackupApi(const BankFiles& files, std::string copies)
      : bank_(files), copies_(std::move(copies)) {}

  bool Begin(const Plan&) override {
    return Copy(bank_.a, copies_ + "/a.db") && Copy(bank_.b, copies_ + "/b.db");
  }
  bool made_copies() const override { return true; }
  void Reopen(Random&) override {}

 private:
  // False where it did not come to its end in this time.
  static bool Copy(const std::string& from, const std::string& to) {
    constexpr std::int64_t kDeadlineNs = 5'000'000'000;
    constexpr int kPages = 100;
    Sql source(from);
    Sql target(to);
    sqlite3_backup* backup = sqlite3_backup_init(target.get(), "main", source.get(), "main");
    if (backup == nullptr) throw std::runtime_error(sqlite3_errmsg(target.get()));
    const std::int64_t end = NowNs() + kDeadlineNs;
    int result = SQLITE_OK;
    while (result != SQLITE_DONE && NowNs() < end) {
      result = sqlite3_backup_step(backup, kPages);
      if (result == SQLITE_BUSY || result == SQLITE_LOCKED) sqlite3_sleep(1);
    }
    sqlite3_backup_finish(backup);
    return result == SQLITE_DONE;
  }

  const BankFiles bank_;
  const std::string copies_;
};

// ---- lockscope ----

// The SQL functions, as a user has them: on a connection of his own, through the shim or not.
class Barrier : public Method {
 public:
  explicit Barrier(const BankFiles& files) : bank_(files) {
    if (lockscope_register("unix", "lockscope", 0) != SQLITE_OK) {
      throw std::runtime_error("lockscope_register failed");
    }
  }

  bool Begin(const Plan& plan) override {
    if (db_ == nullptr) Open();
    const std::string schemas = !plan.b         ? "main"
                                : !plan.a       ? "other"
                                : plan.reversed ? "other, main"
                                                : "main,other";
    Prepared acquire(db_->get(), "select lockscope_barrier(?1, ?2, ?3)");
    acquire.Bind(1, plan.kind).Bind(2, plan.timeout_ms).Bind(3, schemas);
    try {
      token_ = acquire.Text();
    } catch (const SqlError& error) {
      if (error.code() != SQLITE_BUSY) throw;
      std::fprintf(stderr, "torture: refused: %s\n", error.what());
      return false;
    }
    ListFiles(plan.exact);
    return true;
  }

  void Check() override { Ask("check"); }

  std::string End() override {
    try {
      Ask("release");
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return {};
  }

  void Reopen(Random& random) override {
    db_.reset();
    vfs_ = Chance(random, 50) ? "lockscope" : nullptr;
  }

 private:
  void Open() {
    db_ = std::make_unique<Sql>(bank_.a, vfs_);
    db_->RetryEveryMillisecond(20000);
    Prepared(db_->get(), "attach ?1 as other").Bind(1, bank_.b).Run();
    if (lockscope_init(db_->get()) != SQLITE_OK) throw std::runtime_error("lockscope_init failed");
  }

  void Ask(const std::string& what) {
    Prepared ask(db_->get(), "select lockscope_barrier_" + what + "(?1)");
    if (ask.Bind(1, token_).Int() != 1) throw std::runtime_error(what + " did not return 1");
  }

  void ListFiles(bool exact) {
    files_.clear();
    Prepared manifest(db_->get(), "select lockscope_barrier_manifest(?1)");
    for (const json& file : json::parse(manifest.Bind(1, token_).Text())) {
      const auto bytes = file["bytes"].get<std::int64_t>();
      files_.push_back({file["path"], exact ? std::optional(bytes) : std::nullopt});
    }
  }

  const BankFiles bank_;
  const char* vfs_ = nullptr;
  std::unique_ptr<Sql> db_;
  std::string token_;
};

}  // namespace

std::unique_ptr<Method> MakeMethod(const std::string& name, const BankFiles& files,
                                   const std::string& copies) {
  const std::string read = kReadBoth;
  if (name == "none") return std::make_unique<PlainSql>(files, "", "", std::vector<std::string>{});
  if (name == "naive") return std::make_unique<PlainSql>(files, "", "");
  if (name == "read-released") return std::make_unique<PlainSql>(files, read + "commit", "");
  if (name == "read-held") return std::make_unique<PlainSql>(files, read, "commit");
  if (name == "immediate") return std::make_unique<PlainSql>(files, "begin immediate", "rollback");
  if (name == "immediate-alone") {
    const std::string checkpoint =
        "pragma main.wal_checkpoint(truncate); pragma other.wal_checkpoint(truncate);";
    return std::make_unique<PlainSql>(files, checkpoint + "begin immediate", "rollback",
                                      std::vector<std::string>{""});
  }
  if (name == "backup") return std::make_unique<BackupApi>(files, copies);
  if (name == "ours") return std::make_unique<Barrier>(files);
  return nullptr;
}

}  // namespace lockscope::torture
