// What a record publishes besides its lock state: groups of words under a sequence counter of their
// own, and texts within them. The same templates give the live form (of Words) and the form of a
// reader's copy (of plain integers), as in connection_slot.h.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "ledger/word.h"

namespace lockscope::ledger {

// A text of at most 8 * N bytes.
template <class W, std::size_t N>
struct TextLayout {
  W bytes;
  std::array<W, N> words;
};

// Cut, on a character's border, where it is too long. REQUIRES: an Update is under way.
template <std::size_t N>
void StoreText(TextLayout<Word, N>& to, std::string_view text) {
  std::size_t bytes = std::min(text.size(), N * 8);
  while (bytes > 0 && bytes < text.size() &&
         (static_cast<unsigned char>(text[bytes]) & 0xc0) == 0x80) {
    --bytes;
  }
  for (std::size_t word = 0; word * 8 < bytes; ++word) {
    std::uint64_t value = 0;
    std::memcpy(&value, text.data() + word * 8, std::min<std::size_t>(8, bytes - word * 8));
    to.words[word].Store(value);
  }
  to.bytes.Store(bytes);
}

template <std::size_t N>
std::string LoadText(const TextLayout<std::uint64_t, N>& from) {
  const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(from.bytes, N * 8));
  return {reinterpret_cast<const char*>(from.words.data()), bytes};
}

// One group of words: Layout<Word> in memory that others read, Layout<std::uint64_t> as a copy.
template <template <class> class Layout>
struct Published {
  using Live = Layout<Word>;
  using Copy = Layout<std::uint64_t>;
  static_assert(std::is_standard_layout_v<Live> && sizeof(Live) == sizeof(Copy));

  std::atomic<std::uint64_t> sequence{0};
  Live words;
};

// A copy whose words belong together; false where the writer was in mid-update all the while.
template <template <class> class Layout>
bool ReadLive(const Published<Layout>& from, Layout<std::uint64_t>& copy) {
  constexpr int kAttempts = 100;
  const auto* words = reinterpret_cast<const Word*>(&from.words);
  auto* values = reinterpret_cast<std::uint64_t*>(&copy);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const std::uint64_t before = from.sequence.load(std::memory_order_acquire);
    if (before % 2 != 0) continue;
    for (std::size_t i = 0; i < sizeof copy / sizeof(std::uint64_t); ++i) {
      values[i] = words[i].Load();
    }
    if (from.sequence.load(std::memory_order_acquire) == before) return true;
  }
  return false;
}

}  // namespace lockscope::ledger
