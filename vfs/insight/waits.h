// Waits that SQLITE_BUSY began, as connections have noted them, and the table lockscope_waits.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "insight/table_parts.h"
#include "ledger/wait_notes.h"

namespace lockscope::insight {

struct SeenWait {
  Teller teller;
  std::uint64_t connection = 0;
  ledger::WaitNote note;
  // Null: it goes on.
  std::optional<ledger::WaitOutcome> outcome{};
};

std::int64_t WaitedMs(const Look& look, const SeenWait& wait);

// Of one database, newest first.
std::vector<SeenWait> CollectWaits(const Look& look, const Database& database);

inline constexpr std::array kWaitColumns = {String("database"),
                                            Integer("pid"),
                                            String("process"),
                                            Integer("connection"),
                                            String("since"),
                                            Integer("age_ms"),
                                            String("sql"),
                                            String("source"),
                                            String("at"),
                                            String("resource"),
                                            String("mode"),
                                            String("reason"),
                                            String("explanation"),
                                            Integer("waited_ms"),
                                            Integer("refusals"),
                                            Integer("blocker_pid"),
                                            Integer("blocker_connection"),
                                            String("blocker_sql"),
                                            String("outcome")};

// Over all databases, newest first.
Rows WaitRows(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
