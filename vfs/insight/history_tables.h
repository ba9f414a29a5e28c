// The tables of what was recorded: lockscope_events and lockscope_stats.
#pragma once

#include <array>

#include "insight/table_parts.h"

namespace lockscope::insight {

inline constexpr std::array kEventColumns = {
    String("database"),  Integer("pid"),         String("process"),   Integer("connection"),
    String("source"),    Integer("seq"),         String("at"),        Integer("monotonic_ns"),
    String("operation"), String("resource"),     String("from_mode"), String("to_mode"),
    String("result"),    Integer("duration_ns"), Integer("lost")};

inline constexpr std::array kStatColumns = {
    String("database"),     Integer("pid"),         String("process"),      String("source"),
    String("resource"),     String("mode"),         Integer("acquired"),    Integer("released"),
    Integer("refused"),     Integer("wait_us_p50"), Integer("wait_us_p99"), Integer("wait_us_max"),
    Integer("hold_us_p50"), Integer("hold_us_p99"), Integer("hold_us_max")};

// Of all connections, merged by time, oldest first.
Rows EventRows(const Look& look, const Asker& asker);
// This process's first.
Rows StatRows(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
