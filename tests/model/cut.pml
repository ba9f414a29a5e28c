/*
** One cut through two databases. Transactions change one database or, through ATTACH, both; in WAL
** mode a transaction over both publishes its frames in one database after the other, and holds both
** write locks until that is done. A barrier that holds both while it notes the frame counts sees it
** in both databases or in none.
**
** What becomes of one database under a barrier is barrier.pml's subject and taken from there: up to
** the noted mxFrame a copy is the noted state, and after it the WAL is only appended to. So a
** database is here no more than the number of the transaction that changed it last. image[v] is
** what transaction v leaves behind: two copies are of one instant exactly if they are image[the
** larger of the two].
**
** Left out: a writer that is killed between its two databases. It breaks its own transaction in
** two, barrier or no barrier: in WAL mode a commit over several files does not survive that.
**
**   -DIN_TURN   each frame count is noted under its own database's write lock only
**   -DNO_LOCKS  the frame counts are noted under no write lock
**   -DWHOLE     the copies are whole ones: all frames that are there when they are made
**   -DKEEP      kind `write`: the write locks are kept until the copies are made
**
** Bounds: two writers with two transactions each; the barrier tries until it succeeds.
*/

#define X 0
#define Y 1
#define MAXVERSION 4

typedef Image { byte db[2] };

byte db[2];
bit lockWrite[2];
Image image[MAXVERSION + 1];
byte lastVersion;

inline Lock(d) {
  if
  :: d_step { !lockWrite[d] -> lockWrite[d] = 1; has[d] = 1 }
  :: lockWrite[d] -> goto busy
  fi
}

inline Unlock(d) {
  if
  :: d_step { has[d] -> lockWrite[d] = 0; has[d] = 0 }
  :: !has[d]
  fi
}

/* Transactions lock the databases in the order in which their statements come to them. */
active [2] proctype Writer() {
  bit has[2];
  byte transactions = 2;

  do
  :: transactions == 0 -> break
  :: transactions > 0 ->
     if
     :: Lock(X)
     :: Lock(Y)
     :: Lock(X); Lock(Y)
     :: Lock(Y); Lock(X)
     fi;
     d_step {
       lastVersion++;
       image[lastVersion].db[X] = (has[X] -> lastVersion : db[X]);
       image[lastVersion].db[Y] = (has[Y] -> lastVersion : db[Y]);
       transactions--;
       if
       :: has[X] -> db[X] = lastVersion; printf("commits %d in X\n", lastVersion)
       :: else -> db[Y] = lastVersion; printf("commits %d in Y\n", lastVersion)
       fi
     };
     if
     :: d_step { has[X] && has[Y] -> db[Y] = db[X]; printf("commits %d in Y\n", db[Y]) }
     :: !has[X] || !has[Y]
     fi;
busy:
     Unlock(X);
     Unlock(Y)
  od
}

inline Note(d) {
  d_step { copy[d] = db[d]; printf("notes transaction %d in %c\n", copy[d], 'X' + d) }
}

active proctype Barrier() {
  bit has[2];
  byte copy[2], newest;

  do
  ::
#ifdef IN_TURN
     Lock(X); Note(X); Unlock(X);
     Lock(Y); Note(Y);
#else
#ifndef NO_LOCKS
     Lock(X); Lock(Y);
#endif
     Note(X); Note(Y);
#endif
#ifndef KEEP
     Unlock(X); Unlock(Y);
#endif
#ifdef WHOLE
     d_step { copy[X] = db[X]; printf("copies transaction %d in X\n", copy[X]) };
     d_step { copy[Y] = db[Y]; printf("copies transaction %d in Y\n", copy[Y]) };
#endif
     break;
busy:
     Unlock(X);
     Unlock(Y)
  od;
  newest = (copy[X] > copy[Y] -> copy[X] : copy[Y]);
  assert(image[newest].db[X] == copy[X] && image[newest].db[Y] == copy[Y])
}
