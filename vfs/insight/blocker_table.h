// The table lockscope_blockers.
#pragma once

#include <array>

#include "insight/table.h"

namespace lockscope::insight {

inline constexpr std::array kBlockerColumns = {Column{"database", "TEXT"},
                                               Column{"pid", "INTEGER"},
                                               Column{"process", "TEXT"},
                                               Column{"connection", "INTEGER"},
                                               Column{"since", "TEXT"},
                                               Column{"age_ms", "INTEGER"},
                                               Column{"sql", "TEXT"},
                                               Column{"source", "TEXT"},
                                               Column{"blocked_pid", "INTEGER"},
                                               Column{"blocked_connection", "INTEGER"},
                                               Column{"wants", "TEXT"},
                                               Column{"blocker_pid", "INTEGER"},
                                               Column{"blocker_connection", "INTEGER"},
                                               Column{"blocker_process", "TEXT"},
                                               Column{"holds", "TEXT"},
                                               Column{"held_ms", "INTEGER"},
                                               Column{"blocker_sql", "TEXT"},
                                               Column{"advice", "TEXT"},
                                               Column{"reason", "TEXT"}};

// Over all databases: those that wait first, longest wait first.
Rows BlockerRows(const Look& look, const Asker& asker);

}  // namespace lockscope::insight
