// Text fit for a terminal.
//
// Process names, SQL and paths come from anybody: what they contain must never move the cursor, set
// the title, or turn the writing round. Everything that a command prints for people passes
// Visible().
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lockscope::tools {

// Control characters, characters that turn the direction of writing or take no room, and bytes that
// are no UTF-8 are written out: "\n", "\x1b", "\u202e". The rest is as it was.
std::string Visible(std::string_view text);

// The same inside a JSON text, by JSON's own escapes, so that the value stays what it is. REQUIRES:
// `json` is UTF-8 and has such characters inside strings only, which JSON's own rules see to for
// those below 0x20.
std::string VisibleJson(std::string_view json);

// How many columns of a terminal `text` takes. REQUIRES: it is Visible, as for all that follows.
std::size_t Width(std::string_view text);

// At most `width` columns of it; what was cut short ends with an ellipsis.
std::string Cut(std::string_view text, std::size_t width);

// The same, from the front: of a path the end tells most.
std::string CutFront(std::string_view text, std::size_t width);

// Broken into lines of at most `width` columns, at blanks where there are any.
std::vector<std::string> Wrap(std::string_view text, std::size_t width);

}  // namespace lockscope::tools
