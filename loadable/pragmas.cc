#include "pragmas.h"

#include "insight/summary.h"
#include "shim/sqlite_api.h"

namespace lockscope::loadable {

bool AnswerPragma(const char* name, const char* path, std::string& answer) {
  const auto is = [name](const char* pragma) { return sqlite3_stricmp(name, pragma) == 0; };
  const bool wal = is("lockscope_wal") || is("wal_status");
  if (!wal && !is("lockscope_locks")) return false;
  const insight::Look look = insight::Look::At({path});
  const insight::Database& database = look.databases().front();
  answer = wal ? insight::DescribeWal(look, database) : insight::DescribeLocks(look, database);
  return true;
}

}  // namespace lockscope::loadable
