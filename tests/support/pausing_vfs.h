// A VFS that forwards everything to the default one, and can stop at a chosen call.
//
// It is how a test makes a moment last: an actor that is stopped just after xShmLock granted it the
// WAL's recover lock can be looked at from outside for as long as one likes.
//
// A point is written as    WHEN OP [WHAT…] [nth=K] [by=NAME] [of=TEXT]
//
//   WHEN  before    the call is about to be made
//         after     the call returned SQLITE_OK: the lock is held now, the page is written
//         refused   the call returned anything else
//   OP    lock, unlock            WHAT: none | shared | reserved | exclusive
//         check-reserved
//         shm-lock, shm-unlock    WHAT: a slot, write | ckpt | recover | read0 … read4, which
//         matches
//                                       every request that covers it; or OFFSET+COUNT, exactly that
//                                       request; and shared | exclusive
//         shm-map, shm-barrier, shm-unmap
//         open, close, read, write, truncate, sync, delete
//                                 WHAT: main | journal | wal | other (statement journals, temporary
//                                       files, super-journals)
//         sleep                   a busy handler waiting
//         What is not said matches anything.
//   nth=K     the K-th such call from now on; without it the first
//   by=NAME   only calls made by the thread that called NameThread(NAME)
//   of=TEXT   only files with TEXT in their name
//
//   after shm-lock recover exclusive        before write main nth=3        refused lock exclusive
//   by=c
//
// A point fires once and is gone. The VFS is as transparent as the ABI allows: the base's iVersion,
// its null slots and its SQLITE_FCNTL_VFSNAME are its own; while no point is set it adds one
// relaxed load.
#pragma once

#include <sqlite3.h>

#include <functional>
#include <string>
#include <string_view>

namespace lockscope::testing {

inline constexpr char kPausingVfs[] = "pausing";

// Registers the VFS, over the VFS that is the default now, and makes it the default. Once a
// process. Returns SQLite's code.
int RegisterPausingVfs();

// Sets a point. With `stop` the calling thread waits there until ContinueAll(); without, it only
// tells. Throws std::invalid_argument with a reason where `point` is not as described above.
void SetPoint(std::string_view point, bool stop);

// Lets every thread that waits at a point go on.
void ContinueAll();

// Forgets the points that have not fired.
void ClearPoints();

// `listener` is called in the thread that reached a point, before it waits, with for example
// "after shm-lock 1+2 exclusive by=c". It must not call back into this file. Set it before SQLite
// runs.
void OnPoint(std::function<void(const std::string& event, bool stops)> listener);

// The calling thread's name, for `by=`.
void NameThread(std::string name);

}  // namespace lockscope::testing
