// A part of a command that goes on in the background, once it has told how it began.
#pragma once

#include <functional>

namespace lockscope::tools {

// `work` runs in a process of its own, in a session of its own, which keeps nothing open but the
// three streams. Returns, in this process, when it has called the function it was given, the exit
// status that it gave; or else the status with which it ended. `work` is then without terminal,
// streams and working directory. The function is false where
// nobody is left to be told, because this process has been killed: `work` is then to end. REQUIRES:
// SQLite has not been used yet, since locks belong to a process. Throws std::system_error.
using Ready = std::function<bool()>;
int InBackground(const std::function<int(const Ready&)>& work);

}  // namespace lockscope::tools
