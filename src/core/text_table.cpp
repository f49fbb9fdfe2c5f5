#include "core/text_table.hpp"

#include <algorithm>

namespace dissent {
namespace {

std::string padded(const std::string& text, size_t width, Align align) {
  const size_t used = display_width(text);
  const std::string blanks(width > used ? width - used : 0, ' ');
  return align == Align::kLeft ? text + blanks : blanks + text;
}

}  // namespace

std::vector<Align> left_then_right(size_t left, size_t right) {
  std::vector<Align> columns(left, Align::kLeft);
  columns.insert(columns.end(), right, Align::kRight);
  return columns;
}

size_t display_width(const std::string& text) {
  const auto begins_character = [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  };
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), begins_character));
}

std::vector<size_t> column_widths(const TableRows& rows, size_t least) {
  std::vector<size_t> widths(rows.empty() ? 0 : rows[0].size(), least);
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], display_width(row[c]));
  return widths;
}

std::string plain_table(const TableRows& rows, const std::vector<Align>& columns, size_t indent) {
  const auto widths = column_widths(rows);
  std::string text;
  for (const auto& row : rows) {
    std::string line(indent, ' ');
    for (size_t c = 0; c < row.size(); ++c) {
      if (c > 0) line += "  ";
      line += padded(row[c], widths[c], columns[c]);
    }

    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string markdown_table(const TableRows& rows, const std::vector<Align>& columns) {
  // A delimiter cell has at least three characters.
  const auto widths = column_widths(rows, 3);
  std::string text;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < columns.size(); ++c)
      text += "| " + padded(rows[r][c], widths[c], columns[c]) + " ";
    text += "|\n";
    if (r > 0) continue;

    // The line below the header gives the alignment: "---:" is right.
    for (size_t c = 0; c < columns.size(); ++c)
      text += columns[c] == Align::kLeft ? "|" + std::string(widths[c] + 2, '-')
                                         : "|" + std::string(widths[c] + 1, '-') + ":";
    text += "|\n";
  }
  return text;
}

}  // namespace dissent
