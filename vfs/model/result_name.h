// SQLite's result codes by name, for tables and messages.
#pragma once

#include <string>

namespace lockscope {

// "SQLITE_BUSY_SNAPSHOT" for 517; "SQLITE_BUSY" with the extended part appended in figures for an
// extended code that this list does not know; the figure itself for an unknown primary code.
std::string ResultName(int code);

}  // namespace lockscope
