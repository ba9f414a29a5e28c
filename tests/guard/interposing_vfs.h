// A VFS over "unix" that lets a test act inside the calls of a checkpoint.
//
// Registered below the shim, or used by itself for what stock SQLite does. Where pausing_vfs.h
// stops a thread and waits to be told, this one calls the test back in the same thread: the race
// between two connections becomes a sequence. It also knows xUnfetch, which SQLite calls between
// reading the wal-index header and looking at nBackfill, and nothing else there.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>

namespace lockscope::testing {

inline constexpr char kInterposingVfs[] = "interposing";

struct Moment {
  enum class Kind { kShmLock, kShmUnlocked, kShmBarrier, kUnfetch };
  Kind kind;
  int offset = 0;  // of xShmLock
  int count = 0;
  volatile std::uint8_t* wal_index = nullptr;  // page 0, once it is mapped

  bool Is(Kind wanted, int slot) const {
    return kind == wanted && offset <= slot && slot < offset + count;
  }
};

// Called before xShmLock is asked, after it has unlocked, after xShmBarrier, and before xUnfetch,
// for main databases. Empty: nobody is. Not while SQLite runs in another thread.
using Interposer = std::function<void(const Moment& moment)>;
void Interpose(Interposer interposer);

// Once a process. Returns SQLite's code.
int RegisterInterposingVfs();

}  // namespace lockscope::testing
