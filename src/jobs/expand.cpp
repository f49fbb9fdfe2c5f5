#include "jobs/expand.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <dissent/error.hpp>

#include "core/options.hpp"

namespace dissent::jobs {
namespace {

constexpr size_t kMaxRows = 100000;
constexpr size_t kMaxCells = 4000000;
constexpr size_t kMaxReferences = 1000;

// A piece of a cell: alternatives (a single one is plain text), or the name of another column.
struct Piece {
  std::vector<std::string> alternatives;
  std::string column;
};
using Cell = std::vector<Piece>;

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string> split(const std::string& text, const std::string& mark) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t at; (at = text.find(mark, start)) != std::string::npos; start = at + mark.size())
    parts.push_back(trimmed(text.substr(start, at - start)));
  parts.push_back(trimmed(text.substr(start)));
  return parts;
}

std::optional<int64_t> integer(const std::string& text) {
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && !text.empty()
             ? std::optional(value)
             : std::nullopt;
}

// The values of "1..5" or "10..50..20"; nothing for another text.
std::optional<std::vector<std::string>> range(const std::string& column, const std::string& text) {
  // A text that is not two or three integers may still be the name of a column: no error here.
  const auto parts = split(text, "..");
  if (parts.size() < 2 || parts.size() > 3) return std::nullopt;
  const auto first = integer(parts[0]), last = integer(parts[1]),
             step = parts.size() == 3 ? integer(parts[2]) : std::optional<int64_t>(1);
  if (!first || !last || !step) return std::nullopt;

  // The count is compared without a division and in unsigned numbers: last - first may be larger
  // than the largest int64.
  DISSENT_CHECK(*step >= 1 && *first <= *last, kUsage,
                "{}: {{{}}}: expected an ascending range with a step >= 1", column, text);
  DISSENT_CHECK(static_cast<uint64_t>(*last) - static_cast<uint64_t>(*first) <
                    kMaxRows * static_cast<uint64_t>(*step),
                kUsage, "{0}: {{{1}}}: expected at most {2} values, found more", column, text,
                kMaxRows);

  // The loop ends before value + step could overflow.
  std::vector<std::string> values;
  for (int64_t value = *first; value <= *last; value += *step) {
    values.push_back(std::to_string(value));
    if (*last - value < *step) break;
  }
  return values;
}

Piece brace(const std::string& column, const std::string& text,
            const std::vector<std::string>& columns) {
  // In this order, so that a '|' always means alternatives, even between texts that look like a
  // range or a column.
  if (text.find('|') != std::string::npos) return {split(text, "|"), ""};
  if (auto values = range(column, text)) return {std::move(*values), ""};
  const std::string name = trimmed(text);
  for (const auto& other : columns)
    if (other == name) return {{}, name};
  const auto near = nearest(name, columns);
  DISSENT_FAIL(kUsage,
               "{}: {{{}}}: expected {{a | b}}, {{1..5}} or the name of a column{} ({{{{ and }}}} "
               "are plain braces)",
               column, text, near ? fmt::format("; did you mean {{{}}}?", *near) : "");
}

Cell parse_cell(const std::string& column, const std::string& text,
                const std::vector<std::string>& columns) {
  Cell cell;
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    // "{{" and "}}" are plain braces.
    const bool doubled = at + 1 < text.size() && text[at + 1] == text[at];
    if (text[at] == '{' && !doubled) {
      const size_t end = text.find('}', at);
      DISSENT_CHECK(end != std::string::npos, kUsage,
                    "{}: expected a closing brace, found the end of the cell: {}", column, text);
      if (!plain.empty()) cell.push_back(Piece{{std::exchange(plain, "")}, ""});
      cell.push_back(brace(column, text.substr(at + 1, end - at - 1), columns));
      at = end;
      continue;
    }

    // A single '}' here has no opening brace: probably a misspelt alternative.
    if (text[at] == '{' || (text[at] == '}' && doubled))
      ++at;
    else
      DISSENT_CHECK(text[at] != '}', kUsage,
                    "{}: expected an opening brace before a closing one, found none: {} ({{{{ "
                    "and }}}} are plain braces)",
                    column, text);
    plain += text[at];
  }
  if (!plain.empty() || cell.empty()) cell.push_back({{plain}, ""});
  return cell;
}

// One combination: the index of the alternative of each piece.
class Combination {
 public:
  Combination(const std::vector<std::string>& columns, const std::vector<Cell>& cells)
      : columns_(columns), cells_(cells) {
    for (const auto& cell : cells) choice_.emplace_back(cell.size(), 0);
  }

  Expansion expansion() const {
    // chosen: only pieces with several alternatives, since they distinguish the names of the rows.
    Expansion out;
    for (size_t c = 0; c < cells_.size(); ++c) {
      size_t references = 0;
      out.cells[columns_[c]] = text(c, 0, references);
      for (size_t p = 0; p < cells_[c].size(); ++p)
        if (cells_[c][p].alternatives.size() > 1)
          out.chosen.push_back(cells_[c][p].alternatives[choice_[c][p]]);
    }
    return out;
  }

  // Advances to the next combination, the rightmost piece first; false after the last.
  bool next() {
    for (size_t c = cells_.size(); c-- > 0;) {
      for (size_t p = cells_[c].size(); p-- > 0;) {
        if (++choice_[c][p] < cells_[c][p].alternatives.size()) return true;
        choice_[c][p] = 0;
      }
    }
    return false;
  }

 private:
  // references: number in the cell so far. Columns that refer to another one twice each would
  // double it with each level.
  std::string text(size_t c, size_t depth, size_t& references) const {
    DISSENT_CHECK(depth <= columns_.size(), kUsage,
                  "{}: expected columns without a cycle, found columns that refer to each other",
                  columns_[c]);
    DISSENT_CHECK(references++ <= kMaxReferences, kUsage,
                  "{}: expected a cell with at most {} references, found more", columns_[c],
                  kMaxReferences);

    // A reference has no alternatives of its own: it shows what was chosen in the other column, so
    // that both agree in every row.
    std::string out;
    for (size_t p = 0; p < cells_[c].size(); ++p) {
      const auto& piece = cells_[c][p];
      if (piece.column.empty()) out += piece.alternatives[choice_[c][p]];
      for (size_t other = 0; other < columns_.size() && !piece.column.empty(); ++other)
        if (columns_[other] == piece.column) out += text(other, depth + 1, references);
    }
    return out;
  }

  const std::vector<std::string>& columns_;
  const std::vector<Cell>& cells_;
  std::vector<std::vector<size_t>> choice_;
};

}  // namespace

std::vector<Expansion> expand(const std::vector<std::string>& columns,
                              const std::vector<std::string>& cells) {
  // The number of combinations is checked while it grows, before any of them is made.
  std::vector<Cell> parsed;
  size_t count = 1;
  for (size_t c = 0; c < cells.size(); ++c) {
    parsed.push_back(parse_cell(columns[c], cells[c], columns));
    for (const auto& piece : parsed.back()) {
      count *= std::max<size_t>(1, piece.alternatives.size());
      DISSENT_CHECK(count <= kMaxRows, kUsage, "{}: expected at most {} combinations, found more",
                    columns[c], kMaxRows);
    }
  }

  // Many columns need much memory even for fewer rows than kMaxRows.
  DISSENT_CHECK(count <= kMaxCells / std::max<size_t>(1, cells.size()), kUsage,
                "expected at most {} cells, found {} combinations of {} columns", kMaxCells, count,
                cells.size());

  std::vector<Expansion> out;
  Combination combination(columns, parsed);
  do out.push_back(combination.expansion());
  while (combination.next());
  return out;
}

}  // namespace dissent::jobs
