// System calls that a signal may have cut off.
#pragma once

#include <cerrno>

namespace lockscope::kernel {

// Calls until it is not EINTR that ended it.
template <class Call>
auto Retrying(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

}  // namespace lockscope::kernel
