// The words of a command line, before CLI11 reads them.
#pragma once

#include <string>
#include <vector>

namespace lockscope::tools {

struct CommandLine {
  std::vector<std::string> own;         // lockscope's: without the program's name
  std::vector<std::string> for_others;  // behind `--`, for the program that a command starts
  bool dashes = false;                  // there was a `--`
};

// Of the commands that start another program (`shell`, `exec`) nothing behind `--` is lockscope's;
// of the others `--` only says that names follow, and stays among their words.
//
// A name in brackets, which CLI11 would take for a list, gets "./" before it and stays the same.
CommandLine Split(int argc, const char* const* argv);

}  // namespace lockscope::tools
