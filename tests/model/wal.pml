/*
** SQLite's WAL protocol: one database of two pages, its WAL and its wal-index, the locks on them,
** and the connections that read, write, checkpoint, recover and close. barrier.pml adds the barrier
** and the copying tool, and chooses who takes part.
**
** Contents
**
** A page's content is the number of the transaction that wrote it last, its version. Versions are
** never used twice, not even those of transactions that were rolled back. A transaction changes
** page A, page B or both: where each changes all pages, any newer page hides an older one, and with
** it most corruption. image[v] is the database that transaction v leaves behind, so pages a and b
** belong together exactly if they are image[max(a, b)].
**
** Granularity
**
** A step is one access to something shared: a lock asked for, one of the two copies of the
** wal-index header read or written, nBackfill read or written, a frame or the WAL's header written,
** a page of the database file written. Everybody else may come between any two steps. Coarser than
** SQLite are:
**
**   - A slot locked exclusively for the time of writing its read mark is one step, lock to unlock.
**     That somebody meets the lock meanwhile and is refused also happens where a reader holds the
**     slot.
**   - The read marks are looked at together with the attempt to lock the slot (checkpointer), or
**     all in one step (reader). Of an old value the checkpointer would make a smaller mxSafeFrame;
**     a reader would choose another slot, whose mark it compares again once it has the lock.
**   - At the end of a restart nBackfill and the marks change in one step: slots 1 and 2 are locked
**     exclusively until then, and nobody can make use of a mark without a lock on its slot.
**   - The write lock is taken and the header compared in one step, and it is let go together with
**     the slot: the header stays as it is while the write lock is held, and a slot held a little
**     longer is a reader.
**   - A header that did not look right is read again in one step, with the write lock taken and let
**     go: nobody else changes it meanwhile.
**   - Recovery reads the WAL in one step: it holds the write lock, so nobody writes to it.
**
** Finer is the database file: a page being written is TORN for a step, for readers of the file that
** hold no lock. A frame is not: half written it is invalid, as its predecessor in that place is to
** those who have read the new frames before it, and its successor to those who have read the old
** ones. Nor is the WAL's header: half written it is that of an empty WAL, and is only written where
** all frames are in the database.
**
** The checksum of a frame is `before`, the version of the frame that precedes it (0: the header),
** with its salt: checksums are cumulative, and frames of the same version are never written in the
** same place twice. So frames left behind by a transaction that came to nothing do not continue
** another's.
**
** Left out, and why that is safe
**
**   - Sizes of files. The database always has two pages. What journal_size_limit cuts off the WAL
**     are frames with an old salt, which count for nothing.
**   - Waiting. Whoever is refused may go on trying as long as it likes: it just makes no step. A
**     busy timeout that ends is the choice to give up, which is always there. (Waiting that never
**     ends is the subject of waiting.pml.)
**   - FULL and RESTART checkpoints: a TRUNCATE checkpoint does all they do, and gives up at any
**     point.
**   - Slots 3 and 4: slot 2 stands for 2, 3 and 4.
**   - Snapshots opened by name, savepoints, frames overwritten by their own transaction, sync and
**     power failures: processes are killed, the machine is not.
**   - Memory order: steps happen one after the other. SQLite puts a barrier between any two
**     accesses that matter.
**
** Processes are killed between two frames, between the last frame and the header, between the two
** copies of the header, and in the middle of a checkpoint. Only where `gap` is set are they killed
** between a restart's header and its nBackfill = 0, too. That instant is not harmless: nBackfill
** still counts frames of the old WAL, the first frames of the new one pass for checkpointed, and
** SQLite loses them. No reader's lock helps against it, so it would only hide what locks are for.
*/

#define A 0
#define B 1
#define TORN 7           /* content of a page that is being written */
#define NPAGE 2
#define NSLOT 3          /* WAL_READ_LOCK(0) to WAL_READ_LOCK(2) */
#define NONE 7           /* no slot */
#define NOT_USED 7       /* READMARK_NOT_USED */
#define MAXFRAME 5
#define MAXVERSION 6

typedef Image { byte page[NPAGE] };
typedef Frame {
  unsigned page : 1;
  unsigned commit : 1;
  unsigned version : 3;
  unsigned salt : 3;     /* 0: the file ends before this frame */
  unsigned before : 3
};
typedef WalIndexHdr {
  unsigned isInit : 1;
  unsigned mxFrame : 3;
  unsigned salt : 3
};

/* The files. */
byte db[NPAGE];
byte walSalt;            /* in the WAL's header; 0: the file is empty or absent */
Frame wal[MAXFRAME + 1]; /* from 1 */

/* The wal-index. hdr[1] is written first and read last. */
WalIndexHdr hdr[2];
byte nBackfill;
byte mark[NSLOT];        /* aReadMark */

/* The locks. Everyone with the WAL open holds SHARED on the database file. */
byte sharedDb;
bit exclDb;
bit lockWrite, lockCkpt, lockRecover;
byte readShared[NSLOT];
bit readExcl[NSLOT];

/* What has happened, for the assertions. Nobody decides by it. */
Image image[MAXVERSION + 1];
byte live;               /* the newest transaction that connections see */
byte lastVersion, lastSalt;
bit watching;            /* a barrier has noted its facts ... */
bit dbWritten;           /* ... and the database file was written since */

/* The environment, chosen before anything happens. */
byte deaths;             /* how many processes may still be killed */
bit gap;
bit resetGuard;          /* 3.51.3's cure of the WAL-reset bug */
bit over;                /* the barrier's story is told, nothing else is of interest */

#define COPY(to, from) to.isInit = from.isInit; to.mxFrame = from.mxFrame; to.salt = from.salt
#define EQUAL(x, y) (x.isInit == y.isInit && x.mxFrame == y.mxFrame && x.salt == y.salt)
#define INTACT (hdr[0].isInit && EQUAL(hdr[0], hdr[1]))
#define FREE(i) (readShared[i] == 0 && !readExcl[i])
#define DIES(where) atomic { deaths > 0 -> deaths--; printf(where); goto died }

/*
** A process has these: h, its copy of the wal-index header (Wal.hdr); slot, the read lock that it
** holds; ok, whether it could read the header; and f, t, u for use within a step or between a few.
** What it does not need any more it sets to 0: fewer states. It stops where a barrier's story is
** over.
*/

/* Who opens a wal-index that nobody has open finds it not initialised. */
inline ForgetWalIndex() {
  hdr[0].isInit = 0; hdr[0].mxFrame = 0; hdr[0].salt = 0;
  COPY(hdr[1], hdr[0]);
  nBackfill = 0; mark[1] = 0; mark[2] = 0
}

inline EmptyWal() {
  walSalt = 0;
  f = 1;
  do
  :: f <= MAXFRAME ->
     wal[f].page = 0; wal[f].commit = 0; wal[f].version = 0; wal[f].salt = 0; wal[f].before = 0;
     f++
  :: else -> break
  od;
  f = 0
}

inline Connect() {
  atomic {
    !exclDb ->
    if
    :: sharedDb == 0 -> d_step { ForgetWalIndex() }
    :: else
    fi;
    sharedDb++
  }
}

/* What recovery finds in the WAL: h. It may be more than was published, never less. */
inline ReadWal() {
  h.isInit = 1; h.mxFrame = 0; h.salt = walSalt;
  f = 1; t = 0; u = 0;
  do
  :: f <= MAXFRAME && walSalt != 0 && wal[f].salt == walSalt && wal[f].before == t ->
     t = wal[f].version;
     if
     :: wal[f].commit -> h.mxFrame = f; u = t
     :: else
     fi;
     f++
  :: else -> break
  od;
  assert(u == 0 || u >= live);
  if
  :: u != 0 -> live = u
  :: else
  fi;
  f = 0; t = 0; u = 0
}

/* walIndexRecover. WRITE, CKPT and RECOVER are held, the last only to tell others why they wait. */
inline Recover(ownWrite, ownCkpt) {
  d_step { ReadWal(); COPY(hdr[1], h) };
  d_step { COPY(hdr[0], h) };
  d_step {
    nBackfill = 0;
    if
    :: FREE(1) -> mark[1] = (h.mxFrame > 0 -> h.mxFrame : NOT_USED)
    :: else
    fi;
    if
    :: FREE(2) -> mark[2] = NOT_USED
    :: else
    fi;
    lockRecover = 0; lockCkpt = (ownCkpt); lockWrite = (ownWrite);
    ok = 1;
    printf("has recovered the wal-index: mxFrame %d\n", h.mxFrame)
  }
}

/* walIndexReadHdr. ok is 0 where a lock was refused. */
inline ReadHdr(ownWrite, ownCkpt) {
  d_step { COPY(h, hdr[0]) };
  if
  :: d_step { h.isInit && EQUAL(h, hdr[1]) -> ok = 1 }
  :: else ->
     if
     :: d_step { lockWrite && !(ownWrite) -> ok = 0 }
     :: d_step { (!lockWrite || (ownWrite)) && INTACT -> COPY(h, hdr[0]); ok = 1 }
     :: d_step { (!lockWrite || (ownWrite)) && !INTACT && lockCkpt && !(ownCkpt) -> ok = 0 }
     :: d_step {
          (!lockWrite || (ownWrite)) && !INTACT && (!lockCkpt || (ownCkpt)) ->
          lockWrite = 1; lockCkpt = 1; lockRecover = 1
        };
        Recover(ownWrite, ownCkpt)
     fi
  fi
}

inline EndRead() {
  if
  :: slot != NONE -> readShared[slot]--; slot = NONE
  :: else
  fi
}

/*
** walTryBeginRead where the reader uses the WAL: t is the mark, u the slot that is chosen. slot
** stays NONE where everything has to be tried again. recheck is 0 for a barrier that does not
** compare mark and header again; reads is 1 where minFrame is of interest, which is left in f.
*/
inline LockSlot(recheck, reads) {
  d_step {
    if
    :: mark[1] <= h.mxFrame -> t = mark[1]; u = 1
    :: else -> t = 0; u = 0
    fi;
    if
    :: t <= mark[2] && mark[2] <= h.mxFrame -> t = mark[2]; u = 2
    :: else
    fi;
    if
    :: (t < h.mxFrame || u == 0) && FREE(1) -> mark[1] = h.mxFrame; t = h.mxFrame; u = 1
    :: (t < h.mxFrame || u == 0) && !FREE(1) && FREE(2) ->
       mark[2] = h.mxFrame; t = h.mxFrame; u = 2
    :: else
    fi
  };
  if
  :: d_step { u != 0 && !readExcl[u] -> readShared[u]++; slot = u };
     if
     :: (reads) -> f = nBackfill + 1
     :: else
     fi;
     d_step {
       if
       :: (recheck) && !(mark[slot] == t && EQUAL(h, hdr[0])) -> EndRead()
       :: else -> printf("begins to read: slot %d, mxFrame %d\n", slot, h.mxFrame)
       fi;
       t = 0; u = 0
     }
  :: d_step { u == 0 || readExcl[u] -> t = 0; u = 0 }
  fi
}

/* sqlite3WalBeginReadTransaction. Slot 0 where everything is in the database. */
inline BeginRead(recheck, reads) {
  do
  :: ReadHdr(0, 0);
     if
     :: ok && nBackfill == h.mxFrame ->
        if
        :: d_step { !readExcl[0] -> readShared[0]++; slot = 0 };
           d_step {
             if
             :: (recheck) && !EQUAL(h, hdr[0]) -> EndRead(); ok = 0
             :: else -> printf("begins to read: slot 0, mxFrame %d\n", h.mxFrame)
             fi
           }
        :: readExcl[0]
        fi
     :: else
     fi;
     if
     :: ok && slot == NONE -> LockSlot(recheck, reads)
     :: else
     fi;
     if
     :: slot != NONE -> break
     :: else
     fi
  od
}

/* walRestartHdr. WRITE is held, and slots 1 and 2 exclusively. DIES needs a label, `died`. */
inline RestartHdr() {
  d_step { lastSalt++; h.mxFrame = 0; h.salt = lastSalt; COPY(hdr[1], h) };
  if
  :: DIES("dies between the two copies of the wal-index header\n")
  :: d_step { COPY(hdr[0], h); printf("restarts the wal-index: mxFrame 0, salt %d\n", h.salt) }
  fi;
  if
  :: atomic { gap -> DIES("dies before it sets nBackfill to 0\n") }
  :: d_step { nBackfill = 0; mark[1] = 0; mark[2] = NOT_USED; readExcl[1] = 0; readExcl[2] = 0 }
  fi
}

inline WriteFrame(p, last) {
  f = h.mxFrame + 1;
  wal[f].page = p; wal[f].commit = last; wal[f].version = version; wal[f].salt = h.salt;
  wal[f].before = (f > 1 -> wal[f - 1].version : 0);
  h.mxFrame = f;
  if
  :: last ->
     image[version].page[A] = (pages & 1 -> version : image[live].page[A]);
     image[version].page[B] = (pages & 2 -> version : image[live].page[B])
  :: else
  fi;
  printf("writes frame %d: page %c, version %d\n", f, 'A' + p, version);
  f = 0
}

/*
** A checkpoint's work on one page: the newest frame up to mxFrame is written, unless it is among
** those that were backfilled before, or is not safe. No older frame is written in its place.
*/
inline Backfill(p, backfilled, safe) {
  d_step {
    f = h.mxFrame;
    do
    :: f > 0 && wal[f].page != p -> f--
    :: else -> break
    od;
    if
    :: backfilled < f && f <= safe ->
       db[p] = TORN; dbWritten = dbWritten || watching;
       printf("begins to write page %c of the database\n", 'A' + p)
    :: else -> f = 0
    fi
  };
  if
  :: d_step {
       f > 0 -> db[p] = wal[f].version; f = 0;
       printf("has written page %c of the database: version %d\n", 'A' + p, db[p])
     }
  :: f == 0
  fi
}

/* A connection that writes transactions, and closes after the last. */
proctype Writer(byte transactions) provided (!over) {
  WalIndexHdr h;
  byte slot = NONE, pages, version, f, t, u;  /* pages: 1 is A, 2 is B */
  bit ok;

begin:
  BeginRead(1, 0);
  if
  :: d_step { !lockWrite && EQUAL(h, hdr[0]) -> lockWrite = 1; transactions-- }
  :: atomic { lockWrite || !EQUAL(h, hdr[0]) -> EndRead(); goto begin }
  fi;

  /* walRestartLog */
  if
  :: slot == 0 ->
     if
     :: d_step { h.mxFrame > 0 && FREE(1) && FREE(2) -> readExcl[1] = 1; readExcl[2] = 1 };
        RestartHdr()
     :: h.mxFrame == 0 || !FREE(1) || !FREE(2)
     fi;
     d_step { EndRead() };
     do
     :: slot == NONE -> LockSlot(1, 0)
     :: else -> break
     od
  :: else
  fi;

  /* sqlite3WalFrames */
  atomic {
    if
    :: h.mxFrame < MAXFRAME -> pages = 1
    :: h.mxFrame < MAXFRAME -> pages = 2
    :: h.mxFrame + 1 < MAXFRAME -> pages = 3
    :: printf("rolls back\n"); goto ended
    fi;
    if
    :: h.mxFrame == 0 ->
       if
       :: h.salt == 0 -> lastSalt++; h.salt = lastSalt
       :: else
       fi;
       walSalt = h.salt;
       printf("writes the WAL's header: salt %d\n", walSalt)
    :: else
    fi
  };
  d_step {
    lastVersion++; version = lastVersion;
    if
    :: pages & 1 -> WriteFrame(A, pages == 1)
    :: else -> WriteFrame(B, 1)
    fi
  };
  if
  :: pages == 3 ->
     if
     :: d_step { WriteFrame(B, 1) }
     :: atomic { printf("rolls back\n"); goto ended }
     :: DIES("dies between two frames\n")
     fi
  :: else
  fi;
  if
  :: d_step { COPY(hdr[1], h) }
  :: DIES("dies before it publishes the transaction\n")
  fi;
  if
  :: d_step {
       COPY(hdr[0], h); live = version;
       printf("publishes transaction %d: mxFrame %d\n", version, h.mxFrame)
     }
  :: DIES("dies between the two copies of the wal-index header\n")
  fi;
ended:
  atomic {
    lockWrite = 0; EndRead();
    h.mxFrame = 0; h.salt = 0; pages = 0; version = 0;
    if
    :: transactions > 0 -> goto begin
    :: else -> goto close
    fi
  };
died:
  atomic {
    lockWrite = 0; readExcl[1] = 0; readExcl[2] = 0; EndRead(); sharedDb--;
    h.mxFrame = 0; h.salt = 0; pages = 0; version = 0
  };
  Connect();
  if
  :: transactions > 0 -> goto begin
  :: else
  fi;

close:
  /* sqlite3WalClose: the last one checkpoints, under EXCLUSIVE instead of the WAL's own locks. */
  if
  :: d_step { sharedDb > 1 -> sharedDb-- }; goto closed
  :: d_step { sharedDb == 1 && !exclDb -> sharedDb = 0; exclDb = 1 }
  fi;
  d_step {
    printf("is the last to close, and checkpoints\n");
    if
    :: INTACT -> COPY(h, hdr[0])
    :: else -> ReadWal()
    fi
  };
  Backfill(A, 0, h.mxFrame);
  Backfill(B, 0, h.mxFrame);
  d_step {
    EmptyWal(); ForgetWalIndex(); exclDb = 0; h.mxFrame = 0; h.salt = 0;
    printf("unlinks the WAL\n")
  };
closed:
  skip
}

/* A connection that makes one checkpoint, PASSIVE or TRUNCATE. */
proctype Checkpointer() provided (!over) {
  WalIndexHdr h;
  byte mxSafeFrame, f, t, u;
  bit ok, truncate;

  Connect();
  if
  :: d_step { !lockCkpt -> lockCkpt = 1 }
  :: lockCkpt -> goto closed
  fi;
  if
  :: d_step { !lockWrite -> lockWrite = 1; truncate = 1; printf("begins a TRUNCATE checkpoint\n") }
  :: printf("begins a PASSIVE checkpoint\n")
  fi;
  ReadHdr(truncate, 1);

  /* walCheckpoint: how far it is safe to go, ... */
  if
  :: !ok -> goto ended
  :: ok && nBackfill >= h.mxFrame -> goto backfilled
  :: else
  fi;
  d_step {
    mxSafeFrame = h.mxFrame;
    if
    :: mxSafeFrame > mark[1] && FREE(1) -> mark[1] = mxSafeFrame
    :: mxSafeFrame > mark[1] && !FREE(1) -> mxSafeFrame = mark[1]
    :: else
    fi
  };
  d_step {
    if
    :: mxSafeFrame > mark[2] && FREE(2) -> mark[2] = NOT_USED
    :: mxSafeFrame > mark[2] && !FREE(2) -> mxSafeFrame = mark[2]
    :: else
    fi
  };

  /* ... the pages, unless the WAL was restarted since the header was read, ... */
  if
  :: d_step { nBackfill < mxSafeFrame && FREE(0) -> readExcl[0] = 1 }
  :: nBackfill >= mxSafeFrame || !FREE(0) -> goto backfilled
  fi;
  if
  :: atomic { resetGuard && hdr[0].salt != h.salt -> readExcl[0] = 0; goto ended }
  :: else
  fi;
  Backfill(A, nBackfill, mxSafeFrame);
  if
  :: DIES("dies half way through the checkpoint\n")
  :: skip
  fi;
  Backfill(B, nBackfill, mxSafeFrame);
  d_step {
    nBackfill = mxSafeFrame; readExcl[0] = 0;
    printf("sets nBackfill to %d\n", nBackfill)
  };
backfilled:
  /* ... and the restart, if all is done and nobody reads the WAL. */
  if
  :: d_step {
       truncate && nBackfill == h.mxFrame && FREE(1) && FREE(2) -> readExcl[1] = 1; readExcl[2] = 1
     };
     RestartHdr();
     d_step { EmptyWal(); printf("truncates the WAL\n") }
  :: skip
  fi;
  goto ended;
died:
  atomic {
    readExcl[0] = 0;
    if
    :: truncate -> readExcl[1] = 0; readExcl[2] = 0
    :: else
    fi
  };
ended:
  atomic {
    lockCkpt = 0;
    if
    :: truncate -> lockWrite = 0
    :: else
    fi
  };
closed:
  atomic { sharedDb--; h.mxFrame = 0; h.salt = 0; mxSafeFrame = 0; truncate = 0; ok = 0 }
}

inline ReadPage(p) {
  d_step {
    f = h.mxFrame;
    do
    :: f > 0 && wal[f].page != p -> f--
    :: else -> break
    od;
    page[p] = (f > 0 && f >= minFrame -> wal[f].version : db[p]);
    f = 0;
    printf("reads page %c: version %d\n", 'A' + p, page[p])
  }
}

/* A connection that reads both pages. Where no barrier takes part it is what judges the model. */
proctype Reader() provided (!over) {
  WalIndexHdr h;
  byte slot = NONE, minFrame, known, f, t, u;
  byte page[NPAGE];
  bit ok;

  Connect();
  known = live;
  BeginRead(1, 1);
  atomic { minFrame = (slot == 0 -> NONE : f); f = 0 };
  ReadPage(A);
  ReadPage(B);
  d_step {
    t = (page[A] > page[B] -> page[A] : page[B]);
    assert(t != TORN && t >= known);
    assert(page[A] == image[t].page[A] && page[B] == image[t].page[B])
  };
  d_step { EndRead(); sharedDb--; page[A] = 0; page[B] = 0; h.mxFrame = 0; h.salt = 0; t = 0 }
}
