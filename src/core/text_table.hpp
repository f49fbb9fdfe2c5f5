#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace dissent {

// Tables of text for terminals, Markdown files and reports. All rows of a table have the same
// number of cells; the first row is the header.

using TableRows = std::vector<std::vector<std::string>>;
enum class Align { kLeft, kRight };

/// `left` columns that are left-aligned (names), then `right` ones that are right-aligned
/// (numbers).
std::vector<Align> left_then_right(size_t left, size_t right);

/// Columns that a text takes in a terminal: the number of its UTF-8 characters.
size_t display_width(const std::string& text);

/// The width of each column: that of its widest cell, at least `least`.
std::vector<size_t> column_widths(const TableRows& rows, size_t least = 0);

/// Columns that are separated by two blanks, each line with `indent` blanks before it and none at
/// its end.
std::string plain_table(const TableRows& rows, const std::vector<Align>& columns,
                        size_t indent = 0);

/// A Markdown table, padded so that it can be read as text too. Cells are Markdown already.
std::string markdown_table(const TableRows& rows, const std::vector<Align>& columns);

}  // namespace dissent
