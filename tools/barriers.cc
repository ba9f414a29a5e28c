// lockscope barriers: which barriers are held, by whom, since when.
#include <array>
#include <nlohmann/json.hpp>

#include "table_command.h"

namespace lockscope::tools {
namespace {

// A JSON array of paths, as "a.db, b.db".
std::string Paths(const insight::Value& value) {
  const auto json = nlohmann::json::parse(Plain(value), nullptr, false);
  if (!json.is_array()) return Plain(value);
  std::string paths;
  for (const auto& path : json) {
    if (path.is_string()) paths += (paths.empty() ? "" : ", ") + path.get<std::string>();
  }
  return paths;
}

constexpr std::array kShown = {
    ShownColumn{"pid", "PID", Fit::kRight, Plain},
    ShownColumn{"kind", "KIND", Fit::kLeft, Plain},
    ShownColumn{"state", "STATE", Fit::kLeft, Plain},
    ShownColumn{"since", "SINCE (UTC)", Fit::kLeft, Plain},
    ShownColumn{"age_ms", "FOR", Fit::kRight, Duration},
    ShownColumn{"expires", "EXPIRES (UTC)", Fit::kLeft, Plain},
    ShownColumn{"token", "TOKEN", Fit::kLeft, Plain},
    ShownColumn{"databases", "DATABASES", Fit::kFlexible, Paths},
    ShownColumn{"label", "LABEL", Fit::kFlexible, Plain},
};

constexpr TableCommand kCommand{
    .table = "barriers",
    .description = "which barriers are held, by whom, since when",
    .shown = kShown,
    .nothing = "no barrier is seen on",
    .note =
        "Of every process that publishes its connections. Of another that holds a barrier the "
        "locks\n"
        "are in lockscope locks.\n",
};

}  // namespace

void AddBarriers(CLI::App& app, Action& action) { AddTable(app, action, kCommand); }

}  // namespace lockscope::tools
