/*
** lockscope.h from C: it compiles as C, links, and does what it says.
**   register   codes of lockscope_register()
**   init       functions and tables on a connection, whichever VFS it uses
**   use        a lock that this program holds is shown, and verified
*/
#include <lockscope.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      failures++;                                                             \
    }                                                                         \
  } while (0)

/* The first column of the first row; "(none)" without one. */
static const char* value(sqlite3* db, const char* sql) {
  static char text[300];
  sqlite3_stmt* statement = NULL;
  strcpy(text, "(none)");
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    const unsigned char* column = sqlite3_column_text(statement, 0);
    snprintf(text, sizeof text, "%s", column != NULL ? (const char*)column : "NULL");
  }
  sqlite3_finalize(statement);
  return text;
}

static void test_register(void) {
  CHECK(lockscope_register(NULL, "", 0) == SQLITE_MISUSE);
  CHECK(lockscope_register("no-such-vfs", NULL, 0) == SQLITE_ERROR);
  CHECK(sqlite3_vfs_find("lockscope") == NULL);
  CHECK(lockscope_register(NULL, NULL, 0) == SQLITE_OK);
  CHECK(strcmp(sqlite3_vfs_find(NULL)->zName, "unix") == 0);
  CHECK(lockscope_register("unix", "lockscope", 1) == SQLITE_OK);
  CHECK(strcmp(sqlite3_vfs_find(NULL)->zName, "lockscope") == 0);
  CHECK(lockscope_register("unix-none", "lockscope", 1) == SQLITE_MISUSE);
  CHECK(lockscope_register("unix-none", "beside", 0) == SQLITE_OK);
}

static void test_init(void) {
  sqlite3* db = NULL;
  CHECK(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, "unix") == SQLITE_OK);
  CHECK(strcmp(value(db, "select lockscope_version()"), "(none)") == 0);
  CHECK(lockscope_init(db) == SQLITE_OK);
  CHECK(lockscope_init(db) == SQLITE_OK);
  CHECK(strstr(value(db, "select lockscope_version()"), lockscope_libversion()) != NULL);
  CHECK(strcmp(lockscope_libversion(), LOCKSCOPE_VERSION) == 0);
  CHECK(strcmp(value(db, "select count(*) from lockscope_locks"), "0") == 0);
  sqlite3_close(db);
}

static void test_use(const char* path) {
  sqlite3* db = NULL;
  CHECK(sqlite3_open(path, &db) == SQLITE_OK);
  CHECK(lockscope_init(db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, "create table t(x); begin immediate", NULL, NULL, NULL) == SQLITE_OK);
  CHECK(strcmp(value(db, "select source || ' ' || mode || ' ' || verified from lockscope_locks"),
               "shim RESERVED 1") == 0);
  sqlite3_close(db);
}

int main(void) {
  char directory[] = "/tmp/lockscope-c-XXXXXX";
  char path[100];
  if (mkdtemp(directory) == NULL) return 2;
  snprintf(path, sizeof path, "%s/a.db", directory);
  test_register();
  test_init();
  test_use(path);
  remove(path);
  remove(directory);
  if (failures == 0) puts("ok");
  return failures == 0 ? 0 : 1;
}
