// Options: the command line of torture.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace lockscope::torture {

struct Options {
  std::string method = "ours";
  std::string journal = "wal";
  std::vector<std::string> kinds = {"snapshot", "write", "exclusive"};
  std::string copies = "random";  // random, exact, whole
  int barriers = 100;
  int seconds = 0;  // 0: no limit
  unsigned seed = 0;
  int accounts = 1000;  // of each database
  int timeout_ms = 5000;
  int pause_us = 200;  // the longest pause after a chunk of a copy
  std::string folder;  // empty: /dev/shm, else the folder for temporary files
  bool calm = false;   // both databases in every barrier, no quiet moments: for comparisons
  bool json = false;
  bool controls = false;
};

extern const char* const kUsage;

// Null where the command line is wrong. Without --seed: a random one.
std::optional<Options> ParseOptions(int argc, char** argv);

}  // namespace lockscope::torture
