#include "time_span.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

namespace lockscope::tools {
namespace {

struct Unit {
  std::string_view name;
  double ms;
};
constexpr std::array<Unit, 5> kUnits = {
    {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}, {"", 1e3}}};
constexpr double kMostMs = 1e12;

}  // namespace

std::optional<std::chrono::milliseconds> ParseTimeSpan(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, digits);
  const std::string_view name = text.substr(digits);
  const auto* unit =
      std::find_if(kUnits.begin(), kUnits.end(), [name](const Unit& u) { return u.name == name; });
  if (unit == kUnits.end()) return std::nullopt;
  double value = 0;
  const char* const end = number.data() + number.size();
  const auto [stopped, error] =
      std::from_chars(number.data(), end, value, std::chars_format::fixed);
  if (error != std::errc() || stopped != end) return std::nullopt;
  const double ms = value * unit->ms;
  if (!(ms <= kMostMs)) return std::nullopt;
  const auto whole = static_cast<std::int64_t>(std::llround(ms));
  return std::chrono::milliseconds(whole == 0 && ms > 0 ? 1 : whole);
}

}  // namespace lockscope::tools
