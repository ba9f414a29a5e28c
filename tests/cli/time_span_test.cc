#include "time_span.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lockscope::tools {
namespace {

TEST(TimeSpanTest, UnitsAndFractions) {
  const std::vector<std::pair<const char*, std::int64_t>> spans = {
      {"0", 0},
      {"5", 5000},
      {"300ms", 300},
      {"5s", 5000},
      {"2m", 120'000},
      {"1h", 3'600'000},
      {"0.5", 500},
      {"1.5s", 1500},
      {".25s", 250},
      {"2.m", 120'000},
      {"0.1ms", 1},
      {"1.4ms", 1},
      {"1.5ms", 2},
      {"0ms", 0},
      {"007s", 7000},
      {"0.0004s", 1},
      {"1000000000000ms", 1'000'000'000'000}};
  for (const auto& [text, ms] : spans) {
    const auto parsed = ParseTimeSpan(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->count(), ms) << text;
  }
}

TEST(TimeSpanTest, EverythingElseIsNoTime) {
  for (const char* text : {"",
                           "s",
                           "ms",
                           ".",
                           ".s",
                           "5 s",
                           " 5",
                           "5 ",
                           "-1",
                           "+1",
                           "1e3",
                           "0x10",
                           "1.2.3",
                           "5S",
                           "5sec",
                           "5d",
                           "5s5s",
                           "inf",
                           "nan",
                           "1,5",
                           "1ms ",
                           "1000000000001ms",
                           "99999999999999999999999999999999",
                           "\xc2\xb5s"}) {
    EXPECT_FALSE(ParseTimeSpan(text)) << text;
  }
  EXPECT_FALSE(ParseTimeSpan(std::string(1000, '9')));
  EXPECT_FALSE(ParseTimeSpan(std::string_view("5\0", 2)));
}

}  // namespace
}  // namespace lockscope::tools
