// Refusals of a barrier's locks: what was busy, and by whom.
#pragma once

#include <string>

#include "model/event.h"
#include "model/status.h"

namespace lockscope::barrier {

// The request behind a failure to open a database, whose connection and all that it knew are gone.
Event OpeningRefused(const Status& status);

// "held by pid 4711 (ruby import.rb)", as the kernel tells it this moment; empty where nobody is
// seen in the way of that request.
std::string HoldersOf(const std::string& path, const Event& refused);

}  // namespace lockscope::barrier
