/*
** Preloaded into a program: an SQLite that ends whoever begins to use it.
*/
#include <stdlib.h>

#define DEADLY(name) \
  __attribute__((visibility("default"))) int name(void) { abort(); }

int sqlite3_initialize(void);
int sqlite3_open(void);
int sqlite3_open_v2(void);
int sqlite3_vfs_find(void);

DEADLY(sqlite3_initialize)
DEADLY(sqlite3_open)
DEADLY(sqlite3_open_v2)
DEADLY(sqlite3_vfs_find)
