#include "wal.pml"

#define SHARED 1
#define SNAPSHOT 2
#define RECHECK 4
#define SLOT 8
#define CKPT 16
#define WRITE 32
#define NOTE_LAST 64
#define LEAVE_OUT 128

#define EXACT 1
#define WHOLE 2
#define STILL 4
#define LATER 8

byte have;
byte check;

#define HAVE(x) ((have & x) != 0)

inline Note() {
  atomic {
    COPY(h, hdr[0]);
    if
    :: SAME(1) && h.isInit -> noted = live; mxFrame = h.mxFrame; held = 1
    :: else -> goto finished
    fi
  }
}

inline CopyDb() {
  copy[A] = db[A];
  copy[B] = db[B]
}

inline CopyWal() {
  if
  :: HAVE(LEAVE_OUT) && mxFrame == 0
  :: else ->
     d_step { salt = walSalt; t = 0; f = 1 };
     do
     :: d_step {
          f <= MAXFRAME && salt != 0 && wal[f].salt == salt && wal[f].before == t ->
          t = wal[f].version;
          pend[wal[f].page] = t;
          if
          :: wal[f].commit ->
             whole[A] = (pend[A] != 0 -> pend[A] : whole[A]);
             whole[B] = (pend[B] != 0 -> pend[B] : whole[B]);
             pend[A] = 0; pend[B] = 0;
             if
             :: f <= mxFrame -> exact[A] = whole[A]; exact[B] = whole[B]
             :: else
             fi
          :: else
          fi;
          f++
        }
     :: d_step { else -> f = 0; t = 0; salt = 0; pend[A] = 0; pend[B] = 0 }; break
     od
  fi
}

inline Patch(page, old) {
  page = (page != 0 -> page : old)
}

inline Old(v, f, p, last, bef) {
  wal[f].page = p; wal[f].commit = last; wal[f].version = v; wal[f].salt = 1; wal[f].before = bef
}

proctype Barrier() provided (!over) {
  mtype me = barrier;
  Hdr h;
  byte slot = NONE, handSlot = NONE, f, t, u, snap;
  bit ok, gotCkpt, gotWrite, walFirst, dbDone, walDone;
  byte noted, mxFrame;
  byte copy[NPAGE], whole[NPAGE], exact[NPAGE], pend[NPAGE];
  byte salt;

  if
  :: HAVE(SHARED) -> Connect()
  :: else
  fi;
  if
  :: HAVE(SNAPSHOT) -> BeginRead(HAVE(RECHECK))
  :: else
  fi;
  if
  :: !HAVE(NOTE_LAST) -> Note()
  :: else
  fi;
  if
  :: d_step { HAVE(CKPT) && !lockCkpt -> lockCkpt = 1 }
  :: HAVE(CKPT) && lockCkpt -> goto finished
  :: !HAVE(CKPT)
  fi;
  if
  :: HAVE(SLOT) && (slot == 0 || slot == NONE) ->
     if
     :: d_step { !readExcl[1] -> readShared[1]++ }
     :: d_step { !readExcl[2] -> readShared[2]++ }
     :: readExcl[1] && readExcl[2] -> goto finished
     fi
  :: else
  fi;
  if
  :: d_step { HAVE(WRITE) && !lockWrite -> lockWrite = 1 }
  :: HAVE(WRITE) && lockWrite -> goto finished
  :: !HAVE(WRITE)
  fi;
  if
  :: HAVE(NOTE_LAST) -> Note()
  :: else
  fi;

  if
  :: CopyDb(); CopyWal()
  :: CopyWal(); CopyDb()
  fi;

  d_step {
    Patch(whole[A], copy[A]);
    Patch(whole[B], copy[B]);
    Patch(exact[A], copy[A]);
    Patch(exact[B], copy[B]);
    t = (whole[A] > whole[B] -> whole[A] : whole[B]);
    assert(!(check & STILL) || !dbMoved);
    assert(!(check & EXACT) || (exact[A] == state[noted].page[A] && exact[B] == state[noted].page[B]));
    assert(!(check & WHOLE) || (t != TORN && t >= noted && whole[A] == state[t].page[A] && whole[B] == state[t].page[B]));
    assert(!(check & LATER) || t == noted);
  }
finished:
  over = 1
}

byte nOld, nTx, nCkpt, nReader, barriers;

init {
  c_code {
    const char* text;
#define SETTING(name, dflt) now.name = (text = getenv(#name)) != 0 ? atoi(text) : dflt
    SETTING(have, 223); SETTING(check, 7); SETTING(deaths, 1);
    SETTING(nTx, 2); SETTING(nCkpt, 1); SETTING(nReader, 0); SETTING(barriers, 1); SETTING(resetGuard, 1);
  };
  atomic {
    hdr[0].isInit = 1; hdr[1].isInit = 1;
    mark[1] = NOT_USED; mark[2] = NOT_USED;
    if
    :: skip
    :: lastVersion = 1
    :: lastVersion = 2
    fi;
    if
    :: lastVersion > 0 -> 
       walSalt = 1; lastSalt = 1;
       state[1].page[A] = 1; Old(1, 1, A, 1, 0);
       hdr[0].mxFrame = 1
    :: else
    fi;
    if
    :: lastVersion > 1 ->
       state[2].page[A] = 2; state[2].page[B] = 2;
       Old(2, 2, A, 0, 1); Old(2, 3, B, 1, 2);
       hdr[0].mxFrame = 3
    :: else
    fi;
    hdr[0].salt = lastSalt;
    live = lastVersion;
    COPY(hdr[1], hdr[0]);
    if
    :: lastVersion > 0 -> mark[1] = hdr[0].mxFrame
    :: lastVersion > 0 -> mark[1] = 0; mark[2] = hdr[0].mxFrame
    :: lastVersion == 0
    fi;
    if
    :: lastVersion > 0 -> nBackfill = hdr[0].mxFrame; db[A] = state[live].page[A]; db[B] = state[live].page[B]
    :: skip
    fi;
    sharedDb = 1;
    run Writer(nTx);
    do
    :: nCkpt > 0 -> run Checkpointer(); nCkpt--
    :: else -> break
    od;
    do
    :: nReader > 0 -> run Reader(); nReader--
    :: else -> break
    od;
    if
    :: barriers -> run Barrier()
    :: else
    fi
  }
}
