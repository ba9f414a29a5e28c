// TextTable: rows for people. Columns as wide as they need to be; where the terminal is too narrow,
// the flexible ones give way. A column that says nothing in any row is left out.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace lockscope::tools {

enum class Fit {
  kLeft,      // text of some length
  kRight,     // numbers
  kFlexible,  // long text, cut at its end where there is no room
  kPath,      // long text, cut at its beginning
};

class TextTable {
 public:
  // `title` in capitals, by custom.
  void AddColumn(std::string title, Fit fit);
  // REQUIRES: as many cells as columns; Visible (text.h). An empty cell is shown as "-".
  void AddRow(std::vector<std::string> cells);

  // Title line and rows, each ended by a newline; nothing for no rows. `width`: columns of the
  // terminal; null: nothing is cut.
  std::string Render(std::optional<std::size_t> width) const;

 private:
  struct Column {
    std::string title;
    Fit fit = Fit::kLeft;
  };

  std::vector<std::size_t> Used() const;
  std::vector<std::size_t> Widths(const std::vector<std::size_t>& used,
                                  std::optional<std::size_t> width) const;
  std::string Line(const std::vector<std::string>& cells, const std::vector<std::size_t>& used,
                   const std::vector<std::size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lockscope::tools
