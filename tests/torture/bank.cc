#include "bank.h"

namespace lockscope::torture {
namespace {

constexpr int kLedgerRows = 64;

void CreateDatabase(const std::string& path, const std::string& journal_mode, int accounts) {
  Sql db(path);
  db.Exec("pragma journal_mode = " + journal_mode);
  const std::string n = std::to_string(accounts);
  const std::string opening = std::to_string(kOpeningBalance);
  const std::string total = std::to_string(std::int64_t{kOpeningBalance} * accounts);
  db.Exec(
      "begin;"
      "create table accounts(id integer primary key, balance int, changes int, payload blob);"
      "create table book(total int, changes int, opening int, serial int);"
      "create table ledger(slot integer primary key, serial int, delta int);"
      "insert into book values(" +
      total + ", 0, " + total +
      ", 0);"
      "with recursive ids(id) as (select 1 union all select id + 1 from ids where id < " +
      n +
      ")"
      " insert into accounts select id, " +
      opening +
      ", 0, randomblob(300) from ids;"
      "create index accounts_balance on accounts(balance);"
      "commit");
}

std::string Differ(const char* what, std::int64_t one, std::int64_t two) {
  if (one == two) return {};
  return std::string(what) + ": " + std::to_string(one) + " and " + std::to_string(two);
}

// The first thing that is wrong.
std::string Complaint(Sql& db, const std::string& schema, const Audit& audit) {
  const std::string accounts = " from " + schema + ".accounts ";
  const auto scan = db.Int("select sum(balance)" + accounts + "not indexed");
  const auto index = db.Int("select sum(balance)" + accounts + "indexed by accounts_balance");
  const auto changes = db.Int("select sum(changes)" + accounts + "not indexed");
  const auto booked = db.Int("select changes from " + schema + ".book");
  const auto ledger = db.Int("select opening + (select coalesce(sum(delta), 0) from " + schema +
                             ".ledger) from " + schema + ".book");
  const auto last = db.Int("select coalesce(max(serial), 0) from " + schema + ".ledger");
  const auto gaps = db.Int("select coalesce(max(serial) - min(serial) + 1 - count(*), 0) from " +
                           schema + ".ledger");
  for (std::string complaint : {Differ("sum of balances, the book's total", scan, audit.total),
                                Differ("sums of balances by table, by index", scan, index),
                                Differ("sum of changes, the book's", changes, booked),
                                Differ("the ledger's total, the book's", ledger, audit.total),
                                Differ("the ledger's last serial, the book's", last, audit.serial),
                                Differ("the ledger's gaps", gaps, 0)}) {
    if (!complaint.empty()) return complaint;
  }
  return {};
}

}  // namespace

void CreateBank(const BankFiles& files, const std::string& journal_mode) {
  for (const std::string& path : {files.a, files.b}) {
    CreateDatabase(path, journal_mode, files.accounts);
  }
}

Audit AuditDatabase(Sql& db, const std::string& schema, bool with_integrity) {
  Audit audit;
  try {
    db.Exec("begin");
    if (with_integrity) {
      const std::string check = db.Text("pragma " + schema + ".integrity_check(1)");
      if (check != "ok") audit.complaint = check;
    }
    audit.total = db.Int("select total from " + schema + ".book");
    audit.serial = db.Int("select serial from " + schema + ".book");
    if (audit.complaint.empty()) audit.complaint = Complaint(db, schema, audit);
  } catch (const SqlError& error) {
    if (db.InTransaction()) db.Exec("rollback");
    if (error.code() == SQLITE_BUSY) throw;
    audit.complaint = error.what();
  }
  if (db.InTransaction()) db.Exec("commit");
  return audit;
}

std::string BrokenCut(const Audit& a, const Audit& b, const BankFiles& files) {
  std::string complaint = Differ("serials of a and b", a.serial, b.serial);
  if (!complaint.empty()) return complaint;
  const std::int64_t all = std::int64_t{2} * files.accounts * kOpeningBalance;
  return Differ("money in a and b, and in the beginning", a.total + b.total, all);
}

Teller::Teller(const BankFiles& files) : accounts_(files.accounts), db_(files.a) {
  db_.RetryEveryMillisecond(20000);
  Prepared(db_.get(), "attach ?1 as other").Bind(1, files.b).Run();
  main_ = Prepare("main");
  other_ = Prepare("other");
  next_serial_ = Prepared(db_.get(), "select serial + 1 from main.book");
}

Teller::Side Teller::Prepare(const std::string& schema) {
  const std::string slot = "?1 % " + std::to_string(kLedgerRows);
  sqlite3* db = db_.get();
  return {
      Prepared(db, "update " + schema +
                       ".accounts set balance = balance + ?1, changes = changes + 1,"
                       " payload = randomblob(?2) where id = ?3"),
      Prepared(db, "update " + schema +
                       ".book set total = total + ?1, changes = changes + ?2,"
                       " serial = max(serial, ?3)"),
      Prepared(db, "update " + schema +
                       ".book set opening = opening + coalesce((select delta"
                       " from " +
                       schema + ".ledger where slot = " + slot + "), 0)"),
      Prepared(db, "insert or replace into " + schema + ".ledger values(" + slot + ", ?1, ?2)")};
}

void Teller::Change(Random& random, Side& side, std::int64_t amount) {
  constexpr int kMostPayload = 1200;  // some rows need overflow pages or split leaves
  const int payload = Chance(random, 10) ? Between(random, 0, kMostPayload) : 300;
  side.change.Bind(1, amount).Bind(2, payload).Bind(3, Between(random, 1, accounts_)).Run();
}

void Teller::MoveWithin(Random& random, Side& side, int moves) {
  for (int i = 0; i < moves; ++i) {
    const int amount = Between(random, 1, 100);
    Change(random, side, -amount);
    Change(random, side, amount);
  }
  side.book.Bind(1, 0).Bind(2, std::int64_t{2} * moves).Bind(3, 0).Run();
}

void Teller::MoveAcross(Random& random, int moves) {
  const std::int64_t serial = next_serial_.Int();
  std::int64_t moved = 0;
  for (int i = 0; i < moves; ++i) {
    const int amount = Between(random, -100, 100);
    Change(random, main_, -amount);
    Change(random, other_, amount);
    moved += amount;
  }
  for (auto [side, delta] : {std::pair(&main_, -moved), std::pair(&other_, moved)}) {
    side->fold.Bind(1, serial).Run();
    side->enter.Bind(1, serial).Bind(2, delta).Run();
    side->book.Bind(1, delta).Bind(2, moves).Bind(3, serial).Run();
  }
}

void Teller::Transact(Random& random, Where where, int moves, bool roll_back) {
  try {
    // IMMEDIATE locks all attached databases; the first UPDATE after a plain BEGIN only its own.
    db_.Exec(where == Where::kBoth ? "begin immediate" : "begin");
    if (where == Where::kBoth) {
      MoveAcross(random, moves);
    } else {
      MoveWithin(random, where == Where::kMain ? main_ : other_, moves);
    }
    db_.Exec(roll_back ? "rollback" : "commit");
  } catch (const SqlError&) {
    if (db_.InTransaction()) db_.Exec("rollback");
    throw;
  }
}

}  // namespace lockscope::torture
