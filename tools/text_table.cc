#include "text_table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "text.h"

namespace lockscope::tools {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 8;  // a flexible column stays that wide, whatever the terminal

bool IsFlexible(Fit fit) { return fit == Fit::kFlexible || fit == Fit::kPath; }

std::string Padded(const std::string& text, std::size_t width, Fit fit) {
  const std::string blanks(width - std::min(width, Width(text)), ' ');
  return fit == Fit::kRight ? blanks + text : text + blanks;
}

}  // namespace

void TextTable::AddColumn(std::string title, Fit fit) {
  columns_.push_back({std::move(title), fit});
}

void TextTable::AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

std::string TextTable::Render(std::optional<std::size_t> width) const {
  if (rows_.empty()) return {};
  const auto used = Used();
  const auto widths = Widths(used, width);
  std::vector<std::string> titles;
  for (const Column& column : columns_) titles.push_back(column.title);
  std::string text = Line(titles, used, widths);
  for (const auto& row : rows_) text += Line(row, used, widths);
  return text;
}

std::vector<std::size_t> TextTable::Used() const {
  std::vector<std::size_t> used;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const bool says_something = std::any_of(rows_.begin(), rows_.end(),
                                            [i](const auto& row) { return !row.at(i).empty(); });
    if (says_something) used.push_back(i);
  }
  return used;
}

std::vector<std::size_t> TextTable::Widths(const std::vector<std::size_t>& used,
                                           std::optional<std::size_t> width) const {
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (const std::size_t i : used) {
    widths.at(i) = Width(columns_.at(i).title);
    for (const auto& row : rows_) widths.at(i) = std::max(widths.at(i), Width(row.at(i)));
  }
  if (!width) return widths;
  std::size_t needed = std::accumulate(widths.begin(), widths.end(), std::size_t{0});
  if (!used.empty()) needed += kGap * (used.size() - 1);
  // The widest gives way first, so that a short one is not cut for a long one's sake.
  while (needed > *width) {
    std::size_t* widest = nullptr;
    for (const std::size_t i : used) {
      const std::size_t least = std::max(kNarrowest, Width(columns_.at(i).title));
      if (!IsFlexible(columns_.at(i).fit) || widths.at(i) <= least) continue;
      if (widest == nullptr || widths.at(i) >= *widest) widest = &widths.at(i);
    }
    if (widest == nullptr) break;
    --*widest;
    --needed;
  }
  return widths;
}

std::string TextTable::Line(const std::vector<std::string>& cells,
                            const std::vector<std::size_t>& used,
                            const std::vector<std::size_t>& widths) const {
  std::string line;
  for (const std::size_t i : used) {
    const Fit fit = columns_.at(i).fit;
    const std::string& cell = cells.at(i).empty() ? "-" : cells.at(i);
    const std::string fitted =
        fit == Fit::kPath ? CutFront(cell, widths.at(i)) : Cut(cell, widths.at(i));
    if (!line.empty()) line.append(kGap, ' ');
    line += Padded(fitted, widths.at(i), fit);
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace lockscope::tools
