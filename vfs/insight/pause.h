// A look waits a moment where what it sees does not fit together.
#pragma once

#include <time.h>

namespace lockscope::insight {

inline void Pause(long microseconds) {
  const timespec time{.tv_sec = 0, .tv_nsec = microseconds * 1000};
  nanosleep(&time, nullptr);
}

}  // namespace lockscope::insight
