// The loadable extension's entry point.
//
// Loading wraps the default VFS, makes the wrapper the default (unless LOCKSCOPE_DEFAULT=0) and
// adds functions and tables to this connection and to all that are opened later. It stays loaded
// for the life of the process: VFSes that SQLite knows must not disappear.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "lockscope.h"
#include "shim/shim_vfs.h"

SQLITE_EXTENSION_INIT1

namespace {

// For connections opened later. Never fails an open: less information is better than no database.
int InitLater(sqlite3* db, const char**, const sqlite3_api_routines*) {
  if (const int result = lockscope_init(db); result != SQLITE_OK) {
    sqlite3_log(result, "lockscope: functions and tables are missing on a new connection");
  }
  return SQLITE_OK;
}

int Refuse(char** message, const sqlite3_api_routines* api, const char* format,
           const char* detail) {
  if (message != nullptr) *message = api->mprintf(format, detail);
  return SQLITE_ERROR;
}

bool WantsDefault() {
  const char* value = std::getenv("LOCKSCOPE_DEFAULT");
  return value == nullptr || std::strcmp(value, "0") != 0;
}

// Loaded again, in another connection: the base that was wrapped then is wrapped still, whatever
// the default is by now, and the default, which the application may have changed since, is left
// alone.
int RegisterShim() {
  static std::atomic<bool> was_made_default{false};
  const char* base = lockscope::shim::RegisteredBase("lockscope");
  const bool make_default = WantsDefault() && !was_made_default.load();
  const int result = lockscope_register(base, "lockscope", make_default ? 1 : 0);
  if (result == SQLITE_OK && make_default) was_made_default.store(true);
  return result;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int sqlite3_lockscope_init(
    sqlite3* db, char** message, const sqlite3_api_routines* api) {
  if (api->libversion_number() < lockscope::kMinimumSqliteVersion) {
    return Refuse(message, api, "lockscope needs SQLite 3.37.0 or later, this is %s",
                  api->libversion());
  }
  // One copy of this library serves one copy of SQLite: its connections are one process's ledger.
  if (sqlite3_api != nullptr && sqlite3_api != api) {
    return Refuse(message, api,
                  "this lockscope already serves another copy of SQLite in this process: %s",
                  sqlite3_api->libversion());
  }
  SQLITE_EXTENSION_INIT2(api);
  if (const int result = RegisterShim(); result != SQLITE_OK) {
    if (message != nullptr) {
      *message =
          sqlite3_mprintf("lockscope could not register its VFS: %s", sqlite3_errstr(result));
    }
    return result;
  }
  const int later = sqlite3_auto_extension(reinterpret_cast<void (*)(void)>(InitLater));
  if (later != SQLITE_OK) return later;
  if (const int result = lockscope_init(db); result != SQLITE_OK) return result;
  return SQLITE_OK_LOAD_PERMANENTLY;
}
