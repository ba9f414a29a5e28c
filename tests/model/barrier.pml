/*
** The barrier on one WAL database, a tool that copies the files under it, and what the copies are
** when they are opened. wal.pml has the protocol, and what it leaves out; cut.pml is about two
** databases, waiting.pml about not standing in anybody's way. `run` runs everything and knows what
** to expect.
**
** The barrier makes one attempt: each lock is tried once, and when one is refused the story is over
** (an attempt leaves nothing behind but, as every reader may, a read mark). Then it notes its
** facts, and a tool copies the database and the WAL, in either order, page by page and frame by
** frame. At the end nothing is let go: what happens later cannot change the copies. Nor does the
** barrier give itself up where it finds the wal-index torn; the copies are judged all the same.
**
** The copies are judged in two ways. The exact copy has of the WAL the frames up to the noted
** mxFrame, the whole copy all that were there when the tool came by. Either is opened, that is,
** recovered:
**
**   exact     the exact copy is the database of the moment at which the facts were noted
**   whole     the whole copy is one committed state, of that moment or of a later one
**   still     nobody wrote to the database file since the facts were noted
**   instant   the whole copy is the database of that moment too
**
** Bounds. When all begins the WAL is empty, or has two transactions in three frames (A; A and B),
** all or none of them checkpointed, with their read mark in slot 1 or 2; the writer is connected.
** Then, unless the environment says otherwise: one writer with one transaction, that closes the
** database afterwards; one checkpoint, PASSIVE or TRUNCATE; one of these processes is killed; one
** barrier. Each corruption that is known needs no more. `run --long` looks at more of everything.
**
** The settings come through the environment, so that one program is compiled for all lock sets:
**
**     spin -a barrier.pml && gcc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c
**     have=207 check=2 ./pan -E -m10000     # the design without the slot: whole copies
*/

#include "wal.pml"

/* have: the locks that the barrier takes, and two rules. */
#define SHARED 1         /* SHARED on the database file (*) */
#define SNAPSHOT 2       /* a read transaction ... */
#define RECHECK 4        /* ... begun as SQLite does, with mark and header compared again */
#define SLOT 8           /* where the snapshot is not on one already: a slot above 0, shared */
#define CKPT 16
#define WRITE 32         /* kind `write` */
#define NOTE_LAST 64     /* the facts are noted after the last lock, not after the snapshot */
#define LEAVE_OUT 128    /* where mxFrame is 0 the WAL is not copied */

/*
** (*) Without it the last connection that closes unlinks the wal-index with the barrier's locks on
** it, and the WAL that is being copied. Here the locks stay, and the tool finds the WAL empty: the
** barrier is better off than it would be, and still there is a counterexample.
*/

/* check: what is asserted of the copies. */
#define EXACT 1
#define WHOLE 2
#define STILL 4
#define INSTANT 8

byte have, check;
byte nTx, nCkpt, nReader, nBarrier;

#define HAVE(x) ((have & x) != 0)
#define CHECK(x) ((check & x) != 0)

inline Note() {
  atomic {
    if
    :: INTACT ->
       mxFrame = hdr[0].mxFrame; noted = live; watching = 1;
       printf("notes mxFrame %d, the database of transaction %d\n", mxFrame, noted)
    :: else -> goto refused
    fi
  }
}

inline CopyPage(p) {
  d_step { copy[p] = db[p]; printf("copies page %c: version %d\n", 'A' + p, copy[p]) }
}

/*
** Recovery reads a WAL from its beginning, as the tool does. So it runs along with the copying
** instead of on a copied WAL: whole and exact are the pages that it finds, pending those of a
** transaction whose commit frame has not come yet. Behind the first frame that is not valid nothing
** counts.
*/
#define VALID (f <= MAXFRAME && salt != 0 && wal[f].salt == salt && wal[f].before == t)

inline CopyWal() {
  if
  :: HAVE(LEAVE_OUT) && mxFrame == 0
  :: else ->
     d_step { salt = walSalt; f = 1; printf("copies the WAL's header: salt %d\n", salt) };
     do
     :: d_step {
          VALID ->
          t = wal[f].version;
          pending[wal[f].page] = t;
          printf("copies frame %d: page %c, version %d\n", f, 'A' + wal[f].page, t);
          if
          :: wal[f].commit ->
             whole[A] = (pending[A] != 0 -> pending[A] : whole[A]);
             whole[B] = (pending[B] != 0 -> pending[B] : whole[B]);
             pending[A] = 0; pending[B] = 0;
             if
             :: f <= mxFrame -> exact[A] = whole[A]; exact[B] = whole[B]
             :: else
             fi
          :: else
          fi;
          f++
        }
     :: d_step {
          !VALID ->
          f = 0; t = 0; salt = 0; pending[A] = 0; pending[B] = 0;
          printf("copies the rest, which does not continue that\n")
        };
        break
     od
  fi
}

/* A page that recovery found in the WAL, or else the one in the database file. */
inline Open(page, old) {
  page = (page != 0 -> page : old)
}

proctype Barrier() provided (!over) {
  WalIndexHdr h;
  byte slot = NONE, mxFrame, noted, salt, f, t, u;
  byte copy[NPAGE], whole[NPAGE], exact[NPAGE], pending[NPAGE];
  bit ok;

  if
  :: HAVE(SHARED) -> Connect()
  :: else
  fi;
  if
  :: HAVE(SNAPSHOT) -> BeginRead(HAVE(RECHECK), 0)
  :: else
  fi;
  if
  :: !HAVE(NOTE_LAST) -> Note()
  :: else
  fi;
  if
  :: d_step { HAVE(CKPT) && !lockCkpt -> lockCkpt = 1; printf("takes CKPT\n") }
  :: HAVE(CKPT) && lockCkpt -> goto refused
  :: !HAVE(CKPT)
  fi;
  if
  :: HAVE(SLOT) && (slot == 0 || slot == NONE) ->
     if
     :: d_step { !readExcl[1] -> readShared[1]++; printf("takes slot 1\n") }
     :: d_step { !readExcl[2] -> readShared[2]++; printf("takes slot 2\n") }
     :: readExcl[1] && readExcl[2] -> goto refused
     fi
  :: else
  fi;
  if
  :: d_step { HAVE(WRITE) && !lockWrite -> lockWrite = 1; printf("takes WRITE\n") }
  :: HAVE(WRITE) && lockWrite -> goto refused
  :: !HAVE(WRITE)
  fi;
  if
  :: HAVE(NOTE_LAST) -> Note()
  :: else
  fi;
  d_step { h.isInit = 0; h.mxFrame = 0; h.salt = 0; ok = 0; slot = NONE };

  if
  :: CopyPage(A); CopyPage(B); CopyWal()
  :: CopyWal(); CopyPage(A); CopyPage(B)
  fi;

  atomic {
    Open(exact[A], copy[A]);
    Open(exact[B], copy[B]);
    Open(whole[A], copy[A]);
    Open(whole[B], copy[B]);
    t = (whole[A] > whole[B] -> whole[A] : whole[B]);
    printf("exact copy: page A is version %d, page B version %d\n", exact[A], exact[B]);
    printf("whole copy: page A is version %d, page B version %d\n", whole[A], whole[B]);
    assert(!CHECK(EXACT) || (exact[A] == image[noted].page[A] && exact[B] == image[noted].page[B]));
    assert(!CHECK(WHOLE) || (t != TORN && t >= noted &&
                             whole[A] == image[t].page[A] && whole[B] == image[t].page[B]));
    assert(!CHECK(STILL) || !dbWritten);
    assert(!CHECK(INSTANT) || t == noted);
refused:
    over = 1
  }
}

c_code {
  static int Setting(const char* name, int otherwise) {
    const char* text = getenv(name);
    return text != 0 ? atoi(text) : otherwise;
  }

  static void ReadSettings(void) {
    now.have = Setting("have", 223);
    now.check = Setting("check", 7);
    now.nTx = Setting("nTx", 1);
    now.nCkpt = Setting("nCkpt", 1);
    now.nReader = Setting("nReader", 0);
    now.nBarrier = Setting("nBarrier", 1);
    now.deaths = Setting("deaths", 1);
    now.gap = Setting("gap", 0);
    now.resetGuard = Setting("resetGuard", 1);
  }
}

inline OldFrame(f, p, last, v, b) {
  wal[f].page = p; wal[f].commit = last; wal[f].version = v; wal[f].salt = 1; wal[f].before = b
}

init {
  c_code { ReadSettings(); };
  atomic {
    d_step {
      hdr[0].isInit = 1; hdr[1].isInit = 1;
      mark[1] = NOT_USED; mark[2] = NOT_USED;
      sharedDb = 1
    };
    if
    :: skip
    :: d_step {
         image[1].page[A] = 1; image[2].page[A] = 2; image[2].page[B] = 2;
         OldFrame(1, A, 1, 1, 0); OldFrame(2, A, 0, 2, 1); OldFrame(3, B, 1, 2, 2);
         walSalt = 1; lastSalt = 1; lastVersion = 2; live = 2;
         hdr[0].mxFrame = 3; hdr[0].salt = 1; COPY(hdr[1], hdr[0])
       };
       if
       :: mark[1] = 3
       :: mark[1] = 0; mark[2] = 3
       fi;
       if
       :: skip
       :: nBackfill = 3; db[A] = 2; db[B] = 2
       fi
    fi;
    printf("mxFrame %d, nBackfill %d\n", hdr[0].mxFrame, nBackfill);
    run Writer(nTx);
    do
    :: nCkpt > 0 -> run Checkpointer(); nCkpt--
    :: nCkpt == 0 && nReader > 0 -> run Reader(); nReader--
    :: nCkpt == 0 && nReader == 0 -> break
    od;
    if
    :: nBarrier > 0 -> run Barrier()
    :: else
    fi
  }
}
