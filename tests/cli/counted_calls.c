/*
** Preloaded into a program: writes to stderr which of its calls change a folder or make a change
** last, and kills it before the one that KILLED_AT says, counted from 1.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

static const char* LastPart(const char* path) {
  const char* slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

static void Count(const char* call, const char* name) {
  static int calls = 0;
  const char* killed_at = getenv("KILLED_AT");
  fprintf(stderr, "%s %s\n", call, LastPart(name));
  if (killed_at != NULL && ++calls == atoi(killed_at)) raise(SIGKILL);
}

VISIBLE int fsync(int fd) {
  char link[64];
  char path[PATH_MAX] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, path, sizeof path - 1) < 0) path[0] = '\0';
  Count("fsync", path);
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

VISIBLE int unlinkat(int folder, const char* name, int flags) {
  Count("unlinkat", name);
  return ((int (*)(int, const char*, int))dlsym(RTLD_NEXT, "unlinkat"))(folder, name, flags);
}

VISIBLE int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  Count("linkat", to);
  return ((int (*)(int, const char*, int, const char*, int))dlsym(RTLD_NEXT, "linkat"))(
      from_folder, from, to_folder, to, flags);
}

VISIBLE int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  Count("renameat", to);
  return ((int (*)(int, const char*, int, const char*))dlsym(RTLD_NEXT, "renameat"))(
      from_folder, from, to_folder, to);
}
