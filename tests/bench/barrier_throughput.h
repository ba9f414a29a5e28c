// What writers lose while a WAL snapshot is held, and for it.
#pragma once

#include "bench/barrier_scene.h"

namespace lockscope::bench {

void PrintThroughputHead();

// Prints a line for the load: `turns` times a stretch of the writers' time with nothing held, with
// a plain read transaction held on both databases, and with a barrier, in random order.
//
// Each stretch begins when both WALs have started over, so that all begin alike, holds for
// `hold_ms`, and ends when they have started over again: then what a snapshot puts off, the copying
// of the WAL into the database, has been made up for. Two rates are taken of each: while it was
// held, and of the whole stretch.
void MeasureThroughput(const Load& load, int turns, int hold_ms, int seed);

}  // namespace lockscope::bench
