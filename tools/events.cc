// lockscope events: which lock calls were made, by whom, and how they ended.
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "table_command.h"

namespace lockscope::tools {
namespace {

// SQLite's code without what all of them begin with: "OK", "BUSY".
std::string Code(const insight::Value& value) {
  constexpr std::string_view kPrefix = "SQLITE_";
  std::string name = Plain(value);
  if (name.starts_with(kPrefix)) name.erase(0, kPrefix.size());
  return name;
}

// What one call takes together are neighbours: "wal-read-1..4" for all from the first to the last.
std::string Span(const insight::Value& value) {
  std::string list = Plain(value);
  const std::size_t comma = list.find(',');
  if (comma == std::string::npos) return list;
  const std::string first = list.substr(0, comma);
  const std::string last = list.substr(list.rfind(',') + 1);
  const std::size_t stem = first.rfind('-') + 1;
  return first + ".." + (last.starts_with(first.substr(0, stem)) ? last.substr(stem) : last);
}

constexpr std::array kShown = {
    ShownColumn{"at", "AT (UTC)", Fit::kLeft, Plain},
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"connection", "CONN", Fit::kRight, Plain},
    ShownColumn{"operation", "OPERATION", Fit::kLeft, Plain},
    ShownColumn{"resource", "RESOURCE", Fit::kLeft, Span},
    ShownColumn{"to_mode", "TO", Fit::kLeft, Plain},
    ShownColumn{"result", "RESULT", Fit::kLeft, Code},
    ShownColumn{"process", "PROCESS", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "events",
    .description = "which lock calls were made, by whom, and how they ended",
    .shown = kShown,
    .nothing = "no lock call is recorded on",
    .note =
        "Of every process that publishes its locks, the oldest call first; a connection keeps its\n"
        "last 512. TO: the mode after the call, or asked for where RESULT is not OK. What a "
        "process\n"
        "without lockscope holds is in lockscope locks.\n",
};

}  // namespace

void AddEvents(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
