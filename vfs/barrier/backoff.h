// Backoff: how long to sleep before the next attempt. Grows to a limit, with jitter, so that two
// who want the same do not meet for ever. An attempt that watches for a gap costs time of the
// processor, and meets one more surely: there the limit is higher.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace lockscope::barrier {

class Backoff {
 public:
  std::chrono::microseconds Next(bool watched) {
    const std::int64_t longest_us = watched ? kLongestWatchingUs : kLongestUs;
    std::uniform_int_distribution<std::int64_t> around(limit_us_ / 2, limit_us_ * 3 / 2);
    const std::chrono::microseconds pause(around(random_));
    limit_us_ = std::min<std::int64_t>(limit_us_ * 5 / 4, longest_us);
    return pause;
  }

 private:
  static constexpr std::int64_t kFirstUs = 50;
  static constexpr std::int64_t kLongestUs = 2'000;
  static constexpr std::int64_t kLongestWatchingUs = 10'000;

  std::minstd_rand random_{std::random_device{}()};
  std::int64_t limit_us_ = kFirstUs;
};

}  // namespace lockscope::barrier
