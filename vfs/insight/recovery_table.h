// The table lockscope_recoveries.
#pragma once

#include <array>

#include "insight/table_parts.h"

namespace lockscope::insight {

inline constexpr std::array kRecoveryColumns = {
    String("database"),     Integer("pid"),         String("process"), Integer("connection"),
    String("since"),        Integer("age_ms"),      String("sql"),     String("source"),
    String("kind"),         String("state"),        String("journal"), Integer("journal_bytes"),
    Integer("pages_total"), Integer("pages_done"),  String("started"), Integer("duration_ms"),
    Integer("refused"),     String("super_journal")};

// Per database: what waits and what runs first, then the newest.
Rows RecoveryRows(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
