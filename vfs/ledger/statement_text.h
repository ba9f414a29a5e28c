// StatementText: the running statement's text, copied only when it differs from the last one.
//
// Never bound values: the text is the statement as prepared. Statements that carry a key (ATTACH …
// KEY, PRAGMA key and its kin) are withheld: for them nothing is known.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "ledger/connection_slot.h"

namespace lockscope::ledger {

// Whether a statement may carry a key: any ATTACH with the word KEY or "key=" in it, and PRAGMA
// key, rekey, hexkey, hexrekey, textkey, textrekey, with or without a schema.
bool CarriesKey(std::string_view sql);

class StatementText {
 public:
  // A null pointer, or a statement that carries a key: not known.
  void Assign(const char* sql) noexcept;
  // Not known; the same text assigned again gets a new number.
  void Forget() noexcept {
    known_ = false;
    id_ = 0;
  }

  // Names the text, among all texts of the process, while it is known; 0 while it is not.
  std::uint64_t id() const noexcept { return known_ ? id_ : 0; }
  bool known() const noexcept { return known_; }
  // Cut at kSqlBytes, on a character's border, with "…" as its end where it was cut.
  std::string_view text() const noexcept { return {text_.data(), bytes_}; }

 private:
  bool Same(const char* sql) const noexcept;
  void Copy(const char* sql) noexcept;
  std::uint64_t NextId() noexcept;

  std::uint64_t id_ = 0;  // this and the next for every statement, the rest for new texts
  bool known_ = false;
  bool cut_ = false;
  std::uint64_t next_id_ = 0;
  std::size_t bytes_ = 0;     // of text_
  std::size_t compared_ = 0;  // how much of text_ is the statement's own beginning: all but the "…"
  alignas(8) std::array<char, kSqlBytes + 8> text_{};  // zero-terminated
};

}  // namespace lockscope::ledger
