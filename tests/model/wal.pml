#define A 0
#define B 1
#define NPAGE 2
#define NSLOT 3
#define MAXFRAME 5
#define MAXVERSION 6
#define TORN 7
#define NOT_USED 7
#define NONE 7

typedef Frame {
  unsigned page : 1;
  unsigned commit : 1;
  unsigned version : 3;
  unsigned salt : 3;
  unsigned before : 3
};
typedef Hdr {
  unsigned mxFrame : 3;
  unsigned salt : 3;
  unsigned isInit : 1
};
typedef State { byte page[NPAGE] };

byte db[NPAGE];
byte walSalt;
Frame wal[MAXFRAME + 1];

Hdr hdr[2];
byte nBackfill;
byte mark[NSLOT];

byte sharedDb;
bit exclDb;
bit lockWrite;
bit lockCkpt;
bit lockRecover;
byte readShared[NSLOT];
bit readExcl[NSLOT];

byte lastSalt;
byte lastVersion;
State state[MAXVERSION + 1];
byte live;

bit resetGuard;
byte deaths;
bit over;
bit held;
bit dbMoved;

#define COPY(to, from) to.mxFrame = from.mxFrame; to.salt = from.salt; to.isInit = from.isInit
#define SAME(i) (hdr[i].mxFrame == h.mxFrame && hdr[i].salt == h.salt && hdr[i].isInit == h.isInit)
#define FREE(i) (readShared[i] == 0 && !readExcl[i])

inline ForgetWalIndex() {
  hdr[0].mxFrame = 0; hdr[0].salt = 0; hdr[0].isInit = 0;
  hdr[1].mxFrame = 0; hdr[1].salt = 0; hdr[1].isInit = 0;
  nBackfill = 0; mark[1] = 0; mark[2] = 0
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

/* live WAL walk: h := ..., t := version of the last committed frame */
inline WalkWal() {
  h.mxFrame = 0; h.salt = walSalt; h.isInit = 1;
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
  f = 0; t = 0;
  assert(u == 0 || u >= live);
  if
  :: u != 0 -> live = u; u = 0
  :: else
  fi
}

inline Recover(ownCkpt) {
  d_step { WalkWal(); COPY(hdr[1], h) };
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
    lockRecover = 0;
    lockCkpt = ownCkpt;
    printf("%e: recovered, mxFrame %d\n", me, h.mxFrame)
  }
}

inline ReadHdr(ownWrite, ownCkpt) {
  d_step { COPY(h, hdr[0]) };
  if
  :: d_step { SAME(1) && h.isInit -> ok = 1 }
  :: atomic { !(SAME(1) && h.isInit) && (lockWrite && !(ownWrite)) -> ok = 0 }
  :: atomic {
       !(SAME(1) && h.isInit) && (!lockWrite || (ownWrite)) ->
       lockWrite = 1;
       COPY(h, hdr[0]);
       ok = SAME(1) && h.isInit;
       if
       :: ok -> lockWrite = (ownWrite)
       :: !ok && !lockRecover && (!lockCkpt || (ownCkpt)) ->
          lockCkpt = 1;
          lockRecover = 1
       :: else -> lockWrite = (ownWrite)
       fi
     };
     if
     :: !ok && lockRecover -> 
        Recover(ownCkpt);
        atomic { ok = 1; lockWrite = (ownWrite) }
     :: else
     fi
  fi
}

inline EndRead() {
  if
  :: slot != NONE -> readShared[slot]--; slot = NONE
  :: else
  fi
}

/* Tries once; slot is NONE where it has to be tried again. */
inline ChooseSlot(recheck) {
  d_step {
    t = 0; u = 0;
    if
    :: mark[1] <= h.mxFrame -> t = mark[1]; u = 1
    :: else
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
     d_step {
       if
       :: (recheck) && !(mark[slot] == t && SAME(0)) -> EndRead()
       :: else -> snap = live
       fi;
       t = 0; u = 0
     }
  :: d_step { (u == 0 || readExcl[u]) -> t = 0; u = 0 }
  fi
}

inline BeginRead(recheck) {
  do
  :: ReadHdr(0, 0);
     if
     :: !ok
     :: ok && nBackfill == h.mxFrame ->
        if
        :: d_step { !readExcl[0] -> readShared[0]++; slot = 0 };
           d_step {
             if
             :: (recheck) && !SAME(0) -> EndRead()
             :: else -> snap = live
             fi
           }
        :: readExcl[0] -> ChooseSlot(recheck)
        fi
     :: ok && nBackfill != h.mxFrame -> ChooseSlot(recheck)
     fi;
     if
     :: slot != NONE -> break
     :: else
     fi
  od
}

/* Caller: WRITE, readExcl[1..2] */
inline RestartHdr() {
  d_step {
    lastSalt++;
    h.mxFrame = 0; h.salt = lastSalt;
    COPY(hdr[1], h)
  };
  if
  :: d_step { deaths > 0 -> deaths--; dead = 1 }
  :: d_step { COPY(hdr[0], h) };
     d_step {
       nBackfill = 0;
       mark[1] = 0; mark[2] = NOT_USED;
       readExcl[1] = 0; readExcl[2] = 0
     }
  fi
}

inline WriteFrame(p, last) {
  f = h.mxFrame + 1;
  wal[f].page = p;
  wal[f].commit = last;
  wal[f].version = version;
  wal[f].salt = h.salt;
  wal[f].before = (f > 1 -> wal[f - 1].version : 0);
  h.mxFrame = f;
  f = 0;
  if
  :: last ->
     state[version].page[A] = (pages & 1 -> version : state[live].page[A]);
     state[version].page[B] = (pages & 2 -> version : state[live].page[B])
  :: else
  fi
}

/* newest frame of p, up to h.mxFrame, is written to db if in (from, to] */
inline Backfill(p, from, to) {
  d_step {
    f = h.mxFrame;
    do
    :: f > 0 && wal[f].page != p -> f--
    :: else -> break
    od;
    if
    :: f > from && f <= to -> db[p] = TORN; dbMoved = dbMoved || held
    :: else -> f = 0
    fi
  };
  if
  :: d_step { f > 0 -> db[p] = wal[f].version; f = 0 }
  :: f == 0
  fi
}

inline ReadPage(p) {
  d_step {
    f = (slot == 0 -> 0 : h.mxFrame);
    do
    :: f > 0 && wal[f].page != p -> f--
    :: else -> break
    od;
    page[p] = (f > 0 && f >= minFrame -> wal[f].version : db[p]);
    f = 0
  }
}

mtype = { writer, checkpointer, reader, barrier };

proctype Writer(byte nTx) provided (!over) {
  mtype me = writer;
  Hdr h;
  byte slot = NONE, pages, version, f, t, u, snap;
  bit ok, dead;

  do
  :: nTx == 0 -> break
  :: else ->
     BeginRead(1);
     if
     :: d_step { !lockWrite && SAME(0) -> lockWrite = 1; nTx-- }
     :: d_step { lockWrite || !SAME(0) -> EndRead() };
        goto next
     fi;
     if
     :: slot == 0 ->
        if
        :: d_step {
             h.mxFrame > 0 && FREE(1) && FREE(2) ->
             readExcl[1] = 1; readExcl[2] = 1;
             printf("%e: restarts the WAL: wal-index first\n", me)
           };
           RestartHdr()
        :: else
        fi;
        if
        :: dead -> goto died
        :: else
        fi;
        d_step { EndRead() };
        do
        :: slot != NONE -> break
        :: else -> ChooseSlot(1)
        od
     :: else
     fi;
     if
     :: pages = 0
     :: h.mxFrame < MAXFRAME -> pages = 1
     :: h.mxFrame < MAXFRAME -> pages = 2
     :: h.mxFrame + 1 < MAXFRAME -> pages = 3
     fi;
     if
     :: pages == 0 -> goto ended
     :: else
     fi;
     if
     :: d_step {
          h.mxFrame == 0 ->
          if
          :: h.salt == 0 -> lastSalt++; h.salt = lastSalt
          :: else
          fi;
          walSalt = h.salt
        }
     :: h.mxFrame > 0
     fi;
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
        :: goto ended
        :: d_step { deaths > 0 -> deaths-- }; goto died
        :: d_step { WriteFrame(B, 1) }
        fi
     :: else
     fi;
     if
     :: d_step { deaths > 0 -> deaths-- }; goto died
     :: d_step { COPY(hdr[1], h) }
     fi;
     if
     :: d_step { deaths > 0 -> deaths-- }; goto died
     :: d_step { COPY(hdr[0], h); live = version }
     fi;
ended:
     d_step { lockWrite = 0; EndRead(); pages = 0; version = 0 };
     goto next;
died:
     d_step {
       lockWrite = 0; readExcl[1] = 0; readExcl[2] = 0;
       EndRead(); pages = 0; version = 0; dead = 0; sharedDb--
     };
     Connect();
next:
     skip
  od;

  /* Close. */
  if
  :: d_step { sharedDb == 1 && !exclDb -> sharedDb = 0; exclDb = 1 }
  :: d_step { sharedDb != 1 -> sharedDb-- }; goto closed
  fi;
  atomic {
    COPY(h, hdr[0]);
    if
    :: SAME(1) && h.isInit
    :: else -> d_step { WalkWal() }
    fi
  };
  Backfill(A, 0, h.mxFrame);
  Backfill(B, 0, h.mxFrame);
  d_step {
    ForgetWalIndex();
    walSalt = 0;
    f = 1;
    do
    :: f <= MAXFRAME -> wal[f].page = 0; wal[f].commit = 0; wal[f].version = 0; wal[f].salt = 0; wal[f].before = 0; f++
    :: else -> break
    od;
    f = 0;
    exclDb = 0
  };
closed:
  skip
}

proctype Checkpointer() provided (!over) {
  mtype me = checkpointer;
  Hdr h;
  byte slot = NONE, mxSafe, f, t, u, snap;
  bit ok, dead, truncate;

  Connect();
  if
  :: d_step { !lockCkpt -> lockCkpt = 1 }
  :: lockCkpt -> goto closed
  fi;
  if
  :: d_step { !lockWrite -> lockWrite = 1; truncate = 1 }
  :: skip
  fi;
  ReadHdr(truncate, 1);
  if
  :: !ok -> goto ended
  :: ok && nBackfill >= h.mxFrame -> goto backfilled
  :: else
  fi;
  d_step {
    mxSafe = h.mxFrame;
    if
    :: mxSafe > mark[1] && FREE(1) -> mark[1] = mxSafe
    :: mxSafe > mark[1] && !FREE(1) -> mxSafe = mark[1]
    :: else
    fi
  };
  d_step {
    if
    :: mxSafe > mark[2] && FREE(2) -> mark[2] = NOT_USED
    :: mxSafe > mark[2] && !FREE(2) -> mxSafe = mark[2]
    :: else
    fi
  };
  if
  :: d_step { nBackfill < mxSafe && FREE(0) -> readExcl[0] = 1 }
  :: nBackfill >= mxSafe || !FREE(0) -> goto backfilled
  fi;
  if
  :: resetGuard && hdr[0].salt != h.salt -> readExcl[0] = 0; goto ended
  :: else
  fi;
  Backfill(A, nBackfill, mxSafe);
  Backfill(B, nBackfill, mxSafe);
  d_step { nBackfill = mxSafe; readExcl[0] = 0 };
backfilled:
  if
  :: d_step { truncate && nBackfill == h.mxFrame && FREE(1) && FREE(2) -> readExcl[1] = 1; readExcl[2] = 1 };
     RestartHdr();
     if
     :: dead -> d_step { readExcl[1] = 0; readExcl[2] = 0 }
     :: else ->
    d_step {
    walSalt = 0;
    f = 1;
    do
    :: f <= MAXFRAME -> wal[f].page = 0; wal[f].commit = 0; wal[f].version = 0; wal[f].salt = 0; wal[f].before = 0; f++
    :: else -> break
    od;
    f = 0;
   }
     fi
  :: skip
  fi;
ended:
  d_step {
    lockCkpt = 0;
    if
    :: truncate -> lockWrite = 0
    :: else
    fi
  };
closed:
  sharedDb--
}

proctype Reader() provided (!over) {
  mtype me = reader;
  Hdr h;
  byte slot = NONE, f, t, u, snap, minFrame;
  byte page[NPAGE];
  bit ok;

  Connect();
  BeginRead(1);
  minFrame = nBackfill + 1;
  ReadPage(A);
  ReadPage(B);
  t = page[A];
  u = page[B];
  assert(page[A] == state[snap].page[A] && page[B] == state[snap].page[B]);
  d_step { EndRead(); sharedDb-- }
}

