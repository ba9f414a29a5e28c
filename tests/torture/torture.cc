// torture: barriers on two live databases, again and again, and the proof that every copy made
// under them is consistent.
//
// Two writers move money within and between a.db and b.db, a checkpointer and readers come and go,
// all with plain SQLite, each in a process of its own. Meanwhile barriers of random kinds are
// acquired through the SQL functions, the files they list are copied by yet another process, and
// every copy is opened and audited. With --method a control takes the barrier's place.
#include <sqlite3.h>

#include <cstdio>
#include <exception>

#include "controls.h"
#include "run.h"

int main(int argc, char** argv) {
  using namespace lockscope::torture;
  const auto options = ParseOptions(argc, argv);
  if (!options) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    if (!options->json) {
      std::printf("SQLite %s, seed %u\n", sqlite3_libversion(), options->seed);
      std::fflush(stdout);
    }
    if (options->controls) return RunControls(*options) ? 0 : 1;
    const Totals totals = Run(*options);
    if (options->json) {
      std::printf("%s\n", ToJson(*options, totals).dump().c_str());
    } else {
      std::fputs(Describe(*options, totals).c_str(), stdout);
    }
    const std::string faults = Faults(*options, totals);
    if (!options->json) std::fputs(faults.c_str(), stderr);
    return faults.empty() ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "torture: seed %u: %s\n", options->seed, e.what());
    return 1;
  }
}
