// Bank: two databases, a.db and b.db, between which money is moved, and what must be true of them.
//
// In each database, changed in one transaction and so true of every consistent copy by itself:
//   accounts(id, balance, changes, payload), an index on balance
//   book       one row: total = sum of all balances; changes = sum of all accounts' changes (a lost
//              page that held both sides of a transfer would not show in the balances); opening +
//              the ledger's deltas = total; serial = the last transaction over both databases
//   ledger     the last kLedgerRows transactions over both databases, without a gap
// Across the two, true only of copies of one instant: the serials are equal, and the totals add up
// to what they were in the beginning.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "sql.h"

namespace lockscope::torture {

using Random = std::minstd_rand;

// From `least` to `most`, both included.
inline int Between(Random& random, int least, int most) {
  return std::uniform_int_distribution<int>(least, most)(random);
}
inline bool Chance(Random& random, int percent) { return Between(random, 1, 100) <= percent; }

inline constexpr int kOpeningBalance = 1000;

struct BankFiles {
  std::string a;
  std::string b;
  int accounts = 0;  // of each database, ids 1 … accounts
};

// REQUIRES: neither file exists.
void CreateBank(const BankFiles& files, const std::string& journal_mode);

// What one database says of itself.
struct Audit {
  std::string complaint;  // empty: consistent
  std::int64_t total = 0;
  std::int64_t serial = 0;
};
// One read transaction; `with_integrity`: PRAGMA integrity_check too. An error of SQLite's other
// than SQLITE_BUSY, which is thrown, is a complaint.
Audit AuditDatabase(Sql& db, const std::string& schema, bool with_integrity);

// Why two audits cannot be of one instant; empty where they can.
std::string BrokenCut(const Audit& a, const Audit& b, const BankFiles& files);

// Teller: a connection with a.db as main and b.db as other, and its transactions. All take locks in
// the order main, other, so that tellers do not wait for each other in a circle.
class Teller {
 public:
  explicit Teller(const BankFiles& files);

  Sql& db() { return db_; }
  // One transaction of `moves` transfers, within a database or over both. Throws SqlError; the
  // transaction is rolled back then.
  enum class Where { kMain, kOther, kBoth };
  void Transact(Random& random, Where where, int moves, bool roll_back);

 private:
  struct Side {
    Prepared change;
    Prepared book;
    Prepared fold;
    Prepared enter;
  };
  Side Prepare(const std::string& schema);
  void Change(Random& random, Side& side, std::int64_t amount);
  void MoveWithin(Random& random, Side& side, int moves);
  void MoveAcross(Random& random, int moves);

  int accounts_;
  Sql db_;
  Side main_;
  Side other_;
  Prepared next_serial_;
};

}  // namespace lockscope::torture
