/*
** Acquisition beside a TRUNCATE checkpoint that waits. The checkpointer holds CKPT and WRITE and
** waits, with a busy handler that never gives up, until nobody reads the WAL. Meanwhile nobody can
** write. A barrier that takes a read lock and then waits for CKPT waits for the checkpointer, which
** waits for the barrier: writers stand still until somebody's patience ends. In this model nobody's
** does.
**
** As designed the barrier tries each lock once; refused, it lets everything go and sleeps. But once
** it has CKPT it may watch for the write lock as long as it likes, here for ever: whoever has that
** one is a writer, and no writer waits for what the barrier holds. Then a writer that wants the
** write lock always gets it. Ways of doing it wrong, each with a counterexample:
**
**   -DWAIT_WHILE_HOLDING   the barrier keeps its read lock while it waits for CKPT
**   -DNO_SLEEP             refused, the barrier tries again at once
**   -DWATCH_WITHOUT_CKPT   it watches for the write lock with its read lock only
**
** With NO_SLEEP it may have its read lock again whenever the checkpointer looks. Sleeps that grow
** end this: sooner or later one is longer than the pause between two looks, at most 100 ms in
** SQLite.
**
** One read slot stands for all, as the checkpointer waits for every one of them, and one checkpoint
** for any number, one after the other. That it waits for CKPT too, where SQLite returns BUSY, only
** makes it hold on longer. Attempts of the barrier and transactions of the writer have no bound;
** once the barrier is had and let go that is all. Each process that can go on does so in the end
** (weak fairness, pan -f).
*/

bit lockWrite, lockCkpt;
byte readers = 1;        /* who hold a read slot; one is there when all begins */
bit wanted;              /* a writer waits for the write lock */
bit looked;              /* the checkpointer looked at the read slots while the barrier slept */

active proctype Writer() {
  do
  :: d_step { wanted = 1; printf("wants WRITE\n") };
     d_step { !lockWrite -> lockWrite = 1; wanted = 0; printf("takes WRITE\n") };
     lockWrite = 0
  od
}

active proctype OldReader() {
  d_step { readers--; printf("lets its slot go\n") }
}

active proctype Checkpointer() {
  d_step { !lockCkpt -> lockCkpt = 1; printf("takes CKPT\n") };
  d_step { !lockWrite -> lockWrite = 1; printf("takes WRITE\n") };
  do
  :: d_step { readers > 0 -> looked = 1; printf("waits: a slot is taken\n") }
  :: readers == 0 -> break
  od;
  lockWrite = 0;
  lockCkpt = 0
}

active proctype Barrier() {
  do
  :: d_step { readers++; printf("takes a slot\n") };
#ifndef WATCH_WITHOUT_CKPT
     if
     :: d_step { !lockCkpt -> lockCkpt = 1; printf("takes CKPT\n") }
#ifdef WAIT_WHILE_HOLDING
     /* ... and no other way out: blocked until CKPT is free. */
#else
     :: atomic {
          lockCkpt ->
          readers--; printf("is refused CKPT, lets its slot go\n");
#ifndef NO_SLEEP
          looked = 0
        };
        atomic {
          looked || !lockCkpt ->
#endif
          goto refused
        }
#endif
     fi;
#endif
     /* A cut, or kind `write`: blocked until the write lock is free. */
     d_step { !lockWrite -> lockWrite = 1; printf("takes WRITE\n") };
     /* The facts are noted, the copy is made. */
     d_step { lockWrite = 0; printf("lets WRITE go\n") };
#ifndef WATCH_WITHOUT_CKPT
     d_step { lockCkpt = 0; printf("lets CKPT go\n") };
#endif
     d_step { readers--; printf("lets its slot go\n") };
     break;
refused:
     skip
  od
}

ltl writers_go_on { [] (wanted -> <> !wanted) }
