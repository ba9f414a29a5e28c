#include "ledger/statement_text.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

namespace lockscope::ledger {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

// Just enough of SQL's lexical rules to find words: comments and blanks are skipped, a quoted name
// is one token without its quotes, everything else that is no word is a token of one character.
class Words {
 public:
  explicit Words(std::string_view sql) : rest_(sql) {}

  struct Token {
    std::string_view text;
    bool string = false;  // in single quotes
  };

  bool Next(Token& token) {
    SkipBlanks();
    if (rest_.empty()) return false;
    const char c = rest_.front();
    if (c == '\'' || c == '"' || c == '`' || c == '[') return Quoted(c == '[' ? ']' : c, token);
    std::size_t n = 0;
    while (n < rest_.size() && IsWordChar(rest_[n])) ++n;
    token = {rest_.substr(0, std::max<std::size_t>(n, 1)), false};
    rest_.remove_prefix(token.text.size());
    return true;
  }

 private:
  void SkipBlanks() {
    while (!rest_.empty()) {
      if (std::strchr(" \t\r\n\f\v", rest_.front()) != nullptr) {
        rest_.remove_prefix(1);
      } else if (rest_.starts_with("\xef\xbb\xbf")) {
        rest_.remove_prefix(3);  // a byte order mark is a blank to SQLite
      } else if (rest_.starts_with("--")) {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (rest_.starts_with("/*")) {
        const std::size_t end = rest_.find("*/", 2);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 2);
      } else {
        return;
      }
    }
  }

  bool Quoted(char close, Token& token) {
    std::size_t end = rest_.find(close, 1);
    // Doubled, it is part of the name.
    while (close != ']' && end != std::string_view::npos &&
           rest_.substr(end + 1, 1).starts_with(close)) {
      end = rest_.find(close, end + 2);
    }
    const std::size_t stop = end == std::string_view::npos ? rest_.size() : end;
    token = {rest_.substr(1, stop - 1), close == '\''};
    rest_.remove_prefix(std::min(stop + 1, rest_.size()));
    return true;
  }

  std::string_view rest_;
};

bool Same(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && std::equal(text.begin(), text.end(), lower.begin(),
                                                   [](char a, char b) { return Lower(a) == b; });
}

bool ContainsKeyParameter(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Lower);
  return lower.find("key=") != std::string::npos;
}

bool AttachCarriesKey(Words& words) {
  Words::Token token;
  while (words.Next(token)) {
    if (token.string ? ContainsKeyParameter(token.text) : Same(token.text, "key")) return true;
    if (ContainsKeyParameter(token.text)) return true;
  }
  return false;
}

bool PragmaCarriesKey(Words& words) {
  static constexpr std::array<std::string_view, 6> kKeys = {"key",      "rekey",   "hexkey",
                                                            "hexrekey", "textkey", "textrekey"};
  Words::Token name;
  Words::Token after;
  if (!words.Next(name)) return false;
  if (words.Next(after) && after.text == ".") words.Next(name);
  return std::any_of(kKeys.begin(), kKeys.end(),
                     [&name](std::string_view key) { return Same(name.text, key); });
}

// The longest beginning of at most `limit` bytes that does not end inside a UTF-8 character.
std::size_t CutAt(const char* text, std::size_t limit) {
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return limit;
}

// Whether a statement that begins so may be ATTACH, PRAGMA or VACUUM, perhaps behind EXPLAIN, a
// comment, or a byte order mark.
bool MayCarryKey(char first) {
  const char c = Lower(first);
  return c == 'a' || c == 'p' || c == 'v' || c == 'e' || !IsWordChar(c) || c == '\xef';
}

}  // namespace

bool CarriesKey(std::string_view sql) {
  Words words(sql);
  Words::Token token;
  while (words.Next(token)) {
    if (Same(token.text, "attach")) return AttachCarriesKey(words);
    if (Same(token.text, "vacuum")) return AttachCarriesKey(words);  // INTO a URI
    if (Same(token.text, "pragma")) return PragmaCarriesKey(words);
    if (Same(token.text, "explain") || Same(token.text, "query") || Same(token.text, "plan") ||
        token.text == ";") {
      continue;
    }
    return false;
  }
  return false;
}

void StatementText::Assign(const char* sql) noexcept {
  if (sql != nullptr && id_ != 0 && Same(sql)) {
    known_ = true;
    return;
  }
  known_ = false;
  if (sql != nullptr) Copy(sql);
}

bool StatementText::Same(const char* sql) const noexcept {
  if (!cut_) return std::strcmp(text_.data(), sql) == 0;
  return std::strncmp(text_.data(), sql, compared_) == 0 && sql[compared_] != 0 &&
         strnlen(sql + compared_, kSqlBytes) > kSqlBytes - compared_;
}

// From a block of its own: an atomic addition for each text would cost as much as a time stamp.
std::uint64_t StatementText::NextId() noexcept {
  constexpr std::uint64_t kBlock = std::uint64_t{1} << 20;
  static std::atomic<std::uint64_t> next_block{1};
  if (next_id_ % kBlock == 0) {
    next_id_ = next_block.fetch_add(1, std::memory_order_relaxed) * kBlock;
  }
  return next_id_++;
}

void StatementText::Copy(const char* sql) noexcept {
  static constexpr std::string_view kEllipsis = "\xe2\x80\xa6";  // …
  const std::size_t length = strnlen(sql, kSqlBytes + 1);
  id_ = 0;
  try {
    if (MayCarryKey(*sql) && CarriesKey(sql)) return;
  } catch (...) {  // no memory to look: withheld
    return;
  }
  cut_ = length > kSqlBytes;
  compared_ = cut_ ? CutAt(sql, kSqlBytes - kEllipsis.size()) : length;
  std::memcpy(text_.data(), sql, compared_);
  bytes_ = compared_;
  if (cut_) {
    std::memcpy(text_.data() + compared_, kEllipsis.data(), kEllipsis.size());
    bytes_ += kEllipsis.size();
  }
  text_.at(bytes_) = 0;
  id_ = NextId();
  known_ = true;
}

}  // namespace lockscope::ledger
