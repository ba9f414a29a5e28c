// The table lockscope_barriers.
#pragma once

#include <array>

#include "insight/table_parts.h"

namespace lockscope::insight {

inline constexpr std::array kBarrierColumns = {
    String("database"), Integer("pid"),    String("process"), Integer("connection"),
    String("since"),    Integer("age_ms"), String("sql"),     String("source"),
    String("token"),    String("label"),   String("kind"),    String("databases"),
    String("expires"),  String("state")};

// This process's first, each once, however many of the databases it holds.
Rows BarrierRows(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
