// What every fuzz target is made of: a statement that must hold for every input, and what is made
// of bytes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string_view>

namespace lockscope::fuzz {

using Bytes = std::span<const std::uint8_t>;

[[noreturn]] inline void Fail(const char* file, int line, const char* statement) {
  std::fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, statement);
  std::abort();  // libFuzzer keeps the input
}

inline std::string_view AsText(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The next number of `bytes`, cut off them; 0 where they are too few.
template <class Integer>
Integer TakeNumber(Bytes& bytes) {
  Integer number = 0;
  if (bytes.size() < sizeof(number)) return number;
  std::memcpy(&number, bytes.data(), sizeof(number));
  bytes = bytes.subspan(sizeof(number));
  return number;
}

}  // namespace lockscope::fuzz

// Ends the program, and shows the statement, where it does not hold.
#define FUZZ_CHECK(...)                    \
  (static_cast<bool>(__VA_ARGS__) ? void() \
                                  : lockscope::fuzz::Fail(__FILE__, __LINE__, #__VA_ARGS__))

// libFuzzer's entry, for a function that takes the input: FUZZ_TARGET(lockscope::fuzz::Try).
#define FUZZ_TARGET(function)                                                         \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    function(lockscope::fuzz::Bytes(data, size));                                     \
    return 0;                                                                         \
  }
