/*
** SQLITE_EXTRA_INIT of the test program: SQLite calls it at the end of every sqlite3_initialize().
** One program serves both runs, so that nothing but the shim can make a difference.
**
** sqlite3_initialize() after a sqlite3_shutdown() makes "unix" the default again; registering once
*more
** takes that back.
*/
#include <stdlib.h>
#include <string.h>

#include "lockscope.h"

int lockscope_suite_init(const char* unused) {
  const char* vfs = getenv("LOCKSCOPE_SUITE");
  (void)unused;
  if (vfs == NULL || strcmp(vfs, "shim") != 0) return SQLITE_OK;
  return lockscope_register(NULL, "lockscope", 1);
}
