/*
** lockscope: eyes for SQLite's locks.
**
** For programs that link liblockscope. The library uses the SQLite that the program is linked with;
** the loadable extension lockscope.so brings the same functions to programs that cannot be rebuilt.
**
** Threads: every function here may be called from any thread, once SQLite may be.
** Errors: every function returns one of SQLite's result codes.
*/
#ifndef LOCKSCOPE_H
#define LOCKSCOPE_H

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOCKSCOPE_VERSION "0.1.0"

/*
** Registers a VFS called `name` that wraps the VFS called `base_vfs` and records the locks of every
** database opened through it. Only the VFS: lockscope_init() adds the SQL functions and tables.
**
**   base_vfs      NULL: the VFS that is the default now
**   name          NULL: "lockscope"
**   make_default  not 0: databases opened later without a VFS name go through the shim
**
** Several registrations with other bases may stand beside each other under other names. A
** registration lasts for the life of the process.
**
**   SQLITE_OK      registered; or the same name and base were registered before
**   SQLITE_MISUSE  the name is empty, belongs to another VFS, or was registered with another base
**   SQLITE_ERROR   there is no VFS called base_vfs, or this SQLite is older than 3.37.0
**   SQLITE_NOMEM   no memory
*/
int lockscope_register(const char* base_vfs, const char* name, int make_default);

/*
** Adds lockscope's SQL functions and tables to one connection, whichever VFS its databases use.
**
**   SQLITE_OK      added; calling it again is harmless
**   SQLITE_ERROR   this SQLite is older than 3.37.0
**   otherwise      what SQLite said when a function or table could not be registered
*/
int lockscope_init(sqlite3* db);

/* The version of the library that is linked, "0.1.0". */
const char* lockscope_libversion(void);

#ifdef __cplusplus
}
#endif

#endif /* LOCKSCOPE_H */
