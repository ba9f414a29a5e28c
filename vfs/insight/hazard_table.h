// The table lockscope_hazards.
#pragma once

#include <array>

#include "insight/table_parts.h"

namespace lockscope::insight {

inline constexpr std::array kHazardColumns = {
    String("database"), Integer("pid"),     String("process"),     Integer("connection"),
    String("since"),    Integer("age_ms"),  String("sql"),         String("source"),
    String("hazard"),   String("severity"), String("explanation"), String("advice")};

// Per database: dangers first. Looks a second time, a third of a second later, where a first look
// sees what is a hazard only if it stays.
Rows HazardRows(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
