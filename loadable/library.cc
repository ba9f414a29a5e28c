// The C interface of lockscope.h: puts shim, tables and functions together.
#include "lockscope.h"

#include <new>

#include "functions.h"
#include "insight/lock_log.h"
#include "insight/refusal_look.h"
#include "ledger/refusal.h"
#include "ledger/registry.h"
#include "pragmas.h"
#include "shim/shim_vfs.h"
#include "table_module.h"

using lockscope::Status;

extern "C" int lockscope_register(const char* base_vfs, const char* name, int make_default) {
  try {
    lockscope::ledger::SetRefusalExplainer(lockscope::insight::LookAtRefusal);
    lockscope::shim::SetPragmaHandler(lockscope::loadable::AnswerPragma);
    lockscope::ledger::SetHostSqlite({sqlite3_libversion(), sqlite3_sourceid()});
    const Status status = lockscope::shim::Register(base_vfs, name, make_default != 0);
    lockscope::insight::FollowLogSettings();
    if (!status.ok()) sqlite3_log(status.code, "lockscope: %s", status.message.c_str());
    return status.code;
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (...) {
    return SQLITE_ERROR;
  }
}

extern "C" int lockscope_init(sqlite3* db) {
  if (sqlite3_libversion_number() < lockscope::kMinimumSqliteVersion) return SQLITE_ERROR;
  try {
    lockscope::shim::Prepare();
    lockscope::insight::FollowLogSettings();
    lockscope::ledger::SetHostSqlite({sqlite3_libversion(), sqlite3_sourceid()});
    const int result = lockscope::loadable::RegisterFunctions(db);
    // SQLite does not replace functions while a statement runs, such as SELECT load_extension(…):
    // then they are there already.
    if (result == SQLITE_BUSY) return SQLITE_OK;
    if (result != SQLITE_OK) return result;
    return lockscope::loadable::RegisterTables(db);
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  } catch (...) {
    return SQLITE_ERROR;
  }
}

extern "C" const char* lockscope_libversion(void) { return LOCKSCOPE_VERSION; }
