/*
** A program that links lockscope: its own open transaction has to be in lockscope's tables.
** Compiled as C and as C++.
*/
#include <lockscope.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static int Fail(sqlite3* db, const char* what) {
  fprintf(stderr, "%s: %s\n", what, db != NULL ? sqlite3_errmsg(db) : "");
  return 1;
}

int main(int argc, char** argv) {
  sqlite3* db = NULL;
  sqlite3_stmt* statement = NULL;
  char* vfs = NULL;
  const char* mode;

  if (argc != 2) return 2;
  if (strcmp(lockscope_libversion(), LOCKSCOPE_VERSION) != 0)
    return Fail(NULL, "library and header");
  if (lockscope_register(NULL, NULL, 1) != SQLITE_OK) return Fail(NULL, "lockscope_register");
  if (sqlite3_open(argv[1], &db) != SQLITE_OK) return Fail(db, "open");
  if (lockscope_init(db) != SQLITE_OK) return Fail(db, "lockscope_init");

  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_VFSNAME, &vfs) != SQLITE_OK || vfs == NULL ||
      strncmp(vfs, "lockscope/", 10) != 0) {
    return Fail(db, "the database is not opened through lockscope");
  }
  sqlite3_free(vfs);

  if (sqlite3_exec(db, "create table t(x); begin immediate", NULL, NULL, NULL) != SQLITE_OK) {
    return Fail(db, "begin");
  }
  if (sqlite3_prepare_v2(db,
                         "select mode from lockscope_locks where resource = 'database' and "
                         "source = 'shim' and granted and sql = 'begin immediate'",
                         -1, &statement, NULL) != SQLITE_OK) {
    return Fail(db, "lockscope_locks");
  }
  if (sqlite3_step(statement) != SQLITE_ROW) return Fail(db, "no lock of ours in lockscope_locks");
  mode = (const char*)sqlite3_column_text(statement, 0);
  if (mode == NULL || strcmp(mode, "RESERVED") != 0) return Fail(db, "not RESERVED");
  sqlite3_finalize(statement);
  sqlite3_close(db);
  printf("lockscope %s\n", lockscope_libversion());
  return 0;
}
