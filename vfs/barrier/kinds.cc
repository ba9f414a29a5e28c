#include "barrier/kinds.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lockscope::barrier {
namespace {

constexpr std::array<std::pair<Kind, const char*>, 3> kKinds = {
    {{Kind::kSnapshot, "snapshot"}, {Kind::kWrite, "write"}, {Kind::kExclusive, "exclusive"}}};

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

const char* Name(Kind kind) { return kKinds.at(static_cast<std::size_t>(kind)).second; }

std::optional<Kind> ParseKind(std::string_view text) {
  for (const auto& [kind, name] : kKinds) {
    const std::string_view word(name);
    if (word.size() == text.size() && std::equal(word.begin(), word.end(), text.begin(),
                                                 [](char a, char b) { return a == Lower(b); })) {
      return kind;
    }
  }
  return std::nullopt;
}

const char* Name(Role role) { return role == Role::kDatabase ? "database" : "wal"; }

}  // namespace lockscope::barrier
