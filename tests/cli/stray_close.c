/*
** Preloaded into `lockscope exec` or `hold`: code in the process that opens and closes a file, and
** with that drops all its POSIX locks on it. Opens and closes $STRAY_CLOSE as soon as there is a
** file $STRAY_CLOSE.now. What the program starts is left alone.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char file[4096];
static char trigger[4200];

static void* Watch(void* unused) {
  (void)unused;
  while (access(trigger, F_OK) != 0) usleep(5000);
  close(open(file, O_RDONLY));
  return NULL;
}

static void StartWatching(void) {
  pthread_t thread;
  sigset_t all;
  sigset_t before;
  /* Signals are for the program's own thread. */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_create(&thread, NULL, Watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor)) static void Begin(void) {
  const char* name = getenv("STRAY_CLOSE");
  if (name == NULL || strcmp(program_invocation_short_name, "lockscope") != 0) return;
  unsetenv("LD_PRELOAD");
  snprintf(file, sizeof file, "%s", name);
  snprintf(trigger, sizeof trigger, "%s.now", name);
  StartWatching();
  /* What goes on in the background is a child. */
  pthread_atfork(NULL, NULL, StartWatching);
}
