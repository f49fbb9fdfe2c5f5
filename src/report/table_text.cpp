#include "report/table_text.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/ranges.h>

#include "core/enum_names.hpp"
#include "core/option_page.hpp"
#include "core/text_table.hpp"
#include "storage/csv.hpp"

namespace dissent::report {
namespace {

constexpr EnumName<TableFormat> kFormats[] = {{TableFormat::kCsv, "csv"},
                                              {TableFormat::kMarkdown, "markdown"},
                                              {TableFormat::kLatex, "latex"}};

std::string number(double value, int digits) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits);
}
// All digits: the shortest text of the double. Percentages have 15 digits, because the product with
// 100 adds noise behind them.
std::string full(double value, int precision, double scale) {
  if (std::isnan(value)) return "";
  return precision >= 0 ? fmt::format("{:.{}f}", value, precision)
         : scale == 1   ? number_text(value)
                        : fmt::format("{:.15g}", value);
}
int digits_of(const Selection& column, const TextOptions& options) {
  return options.precision < 0 ? column.digits : options.precision;
}
std::string heading(const Selection& column) {
  return column.group.empty() ? column.name : column.group + " " + column.name;
}

struct Marks {
  const char *plus_minus, *dagger, *none;
  std::string (*escape)(const std::string&);
};
std::string latex_text(const std::string& text) {
  // Characters that LaTeX takes as commands. A backslash before \, ~ or ^ would be an accent or a
  // line break.
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\textbackslash{}";
    else if (c == '~' || c == '^')
      out += fmt::format("\\{}{{}}", c);
    else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
      out += fmt::format("\\{}", c);
    else
      out += c;
  }
  return out;
}
const Marks kMarkdown{" ± ", "†", "-", markdown_cell};
const Marks kLatex{" $\\pm$ ", "$^\\dagger$", "--", latex_text};

// "85.28 ± 0.12 (n=4 of 5)†"
std::string cell_text(const Cell& cell, int digits, const TextOptions& options,
                      const Marks& marks) {
  const bool finite = cell.values.empty() || std::isfinite(cell.mean());
  std::string text = cell.values.empty()       ? marks.none
                     : std::isnan(cell.mean()) ? "NaN"
                                               : number(cell.mean(), digits);
  // A value that is not finite has no deviation; a note below the table gives its seed.
  const auto deviation = finite ? cell.deviation(options.freedom) : std::nullopt;
  if (deviation && cell.values.size() > 1)
    text += marks.plus_minus + number(*deviation, digits);
  else if (finite && cell.stated_deviation)
    text += marks.plus_minus + number(*cell.stated_deviation, digits);
  if (!cell.missing.empty())
    text += fmt::format(" (n={} of {})", cell.values.size(), cell.expected());
  return cell.chosen_on_test ? text + marks.dagger : text;
}

// The two rows below a row of ours: the published values, and ours minus these.
void add_published(TableRows& rows, const Table& table, size_t r, const Published& published,
                   const TextOptions& options, const Marks& marks) {
  // Both rows have no names of their own, except what they are in the last column of names.
  std::vector<std::string> theirs(table.names[r].size()), difference = theirs;
  theirs.back() = "published";
  difference.back() = "difference";
  for (size_t c = 0; c < table.layout.columns.size(); ++c) {
    const int digits = digits_of(table.layout.columns[c], options);
    const double value = published.values[r][c], minus = table.cells[r][c].mean() - value;
    const double deviation = published.deviations[r][c];
    theirs.push_back(std::isnan(value) ? marks.none : number(value, digits));
    if (!std::isnan(deviation)) theirs.back() += marks.plus_minus + number(deviation, digits);
    difference.push_back(std::isnan(minus) ? marks.none : fmt::format("{:+.{}f}", minus, digits));
  }

  rows.push_back(theirs);
  rows.push_back(difference);
}

TableRows body(const Table& table, const TextOptions& options, const Published* published,
               const Marks& marks) {
  TableRows rows;
  const auto& columns = table.layout.columns;
  for (size_t r = 0; r < table.names.size(); ++r) {
    std::vector<std::string> row;
    for (const auto& name : table.names[r]) row.push_back(marks.escape(name));
    for (size_t c = 0; c < columns.size(); ++c)
      row.push_back(cell_text(table.cells[r][c], digits_of(columns[c], options), options, marks));
    rows.push_back(row);

    // A row without published values has no rows below it.
    const bool any_published =
        published && !std::all_of(published->values[r].begin(), published->values[r].end(),
                                  [](double value) { return std::isnan(value); });
    if (any_published) add_published(rows, table, r, *published, options, marks);
  }
  return rows;
}

bool any_given(const std::vector<std::vector<double>>& values) {
  return std::any_of(values.begin(), values.end(), [](const auto& row) {
    return std::any_of(row.begin(), row.end(), [](double value) { return !std::isnan(value); });
  });
}

// What the notes below a table report about its cells.
struct CellNotes {
  size_t most_values = 0;  // of any cell
  bool chosen_on_test = false, stated_deviation = false;
  std::map<std::string, std::vector<std::string>> missing;     // by row: "C-1 (seed 3)"
  std::map<std::string, std::vector<std::string>> not_finite;  // the same
};

CellNotes notes_of_cells(const Table& table) {
  CellNotes notes;
  for (size_t r = 0; r < table.names.size(); ++r)
    for (size_t c = 0; c < table.cells[r].size(); ++c) {
      // Seeds without a value, and why a mean over data sets has none; each cell of a row is
      // listed.
      const auto& cell = table.cells[r][c];
      const auto row = fmt::format("{}", fmt::join(table.names[r], " "));
      const auto column = heading(table.layout.columns[c]);
      notes.most_values = std::max(notes.most_values, cell.values.size());
      notes.chosen_on_test |= cell.chosen_on_test;
      notes.stated_deviation |= cell.stated_deviation.has_value();

      std::string missing;
      if (!cell.missing.empty())
        missing = fmt::format("{} (seed {})", column, fmt::join(cell.missing, ", "));
      if (!cell.gaps.empty()) missing += fmt::format(" [{}]", fmt::join(cell.gaps, "; "));
      if (!missing.empty()) notes.missing[row].push_back(missing);

      std::vector<std::string> seeds;
      // NaN of one seed makes the mean NaN, so the seed is named.
      for (const auto& [seed, value] : cell.values)
        if (!std::isfinite(value)) seeds.push_back(std::to_string(seed));
      if (!seeds.empty())
        notes.not_finite[row].push_back(
            fmt::format("{} (seed {})", column, fmt::join(seeds, ", ")));
    }
  return notes;
}

std::string deviation_note(const CellNotes& notes, int freedom) {
  if (notes.most_values > 1)
    return fmt::format(
        "Mean ± {} standard deviation (divided by {}) over seeds; n = {} unless stated otherwise.",
        freedom ? "sample" : "population", freedom ? "n - 1" : "n", notes.most_values);
  return notes.stated_deviation ? "Deviations as stated with the values."
                                : "One seed per value: no deviation.";
}

std::string published_note(const Published& published) {
  if (any_given(published.values))
    return fmt::format("Published values: {}{}; difference: ours minus published.",
                       published.source,
                       any_given(published.deviations) ? ", with their published deviations" : "");
  return fmt::format(
      "Published values: {} has none for these rows (--published-as OURS=THEIRS "
      "renames an experiment).",
      published.source);
}

// The notes below a table, one per line.
std::vector<std::string> notes(const Table& table, const TextOptions& options,
                               const Published* published) {
  const auto of_cells = notes_of_cells(table);
  std::vector<std::string> lines{deviation_note(of_cells, options.freedom)};

  // What is missing is stated below the table, so that a mean over fewer seeds is not taken for
  // one over all.
  for (const auto& [row, list] : of_cells.missing)
    lines.push_back(fmt::format("Missing: {}: {}", row, fmt::join(list, "; ")));
  for (const auto& [row, list] : of_cells.not_finite)
    lines.push_back(fmt::format("Not finite (NaN or infinite, as is the mean over seeds): {}: {}",
                                row, fmt::join(list, "; ")));
  if (!table.left_out.empty())
    lines.push_back(fmt::format("Left out: unexpected seeds {}.", fmt::join(table.left_out, ", ")));
  if (of_cells.chosen_on_test) lines.push_back("† chosen on test data.");
  if (published) lines.push_back(published_note(*published));
  if (!table.layout.citation.empty())
    lines.push_back(fmt::format("Layout: {}.", table.layout.citation));
  return lines;
}

std::string markdown(const Table& table, const TextOptions& options, const Published* published) {
  // Two spaces at the end of a note are Markdown's line break.
  std::vector<std::string> head = table.layout.rows;
  for (const auto& column : table.layout.columns) head.push_back(markdown_cell(heading(column)));
  auto rows = body(table, options, published, kMarkdown);
  rows.insert(rows.begin(), head);
  std::string text =
      markdown_table(rows, left_then_right(table.layout.rows.size(), table.layout.columns.size()));
  text += "\n";
  for (const auto& note : notes(table, options, published)) text += note + "  \n";
  return text;
}

std::string latex(const Table& table, const TextOptions& options, const Published* published) {
  std::string text = "% needs \\usepackage{booktabs}\n";

  // Notes are comments of the source: the caption is the author's.
  for (const auto& note : notes(table, options, published)) text += "% " + note + "\n";

  const size_t names = table.layout.rows.size();
  text += fmt::format("\\begin{{tabular}}{{{}{}}}\n\\toprule\n", std::string(names, 'l'),
                      std::string(table.layout.columns.size(), 'r'));

  std::vector<std::string> head;
  for (const auto& name : table.layout.rows) head.push_back(latex_text(name));
  for (const auto& column : table.layout.columns) head.push_back(latex_text(heading(column)));
  text += fmt::format("{} \\\\\n\\midrule\n", fmt::join(head, " & "));
  for (const auto& line : body(table, options, published, kLatex))
    text += fmt::format("{} \\\\\n", fmt::join(line, " & "));
  return text + "\\bottomrule\n\\end{tabular}\n";
}

// The header of the CSV form: name columns, then several columns per column of the table.
std::vector<std::string> csv_header(const Table& table, const Published* published,
                                    bool with_deviations) {
  auto head = table.layout.rows;
  for (const auto& column : table.layout.columns) {
    // CSV is read by programs: each number has a column of its own.
    for (const char* part : {"", " deviation", " n", " missing"})
      head.push_back(heading(column) + part);
    if (published)
      head.insert(head.end(), {heading(column) + " published", heading(column) + " difference"});
    if (with_deviations) head.push_back(heading(column) + " published deviation");
  }
  return head;
}

std::string csv(const Table& table, const TextOptions& options, const Published* published) {
  const bool with_deviations = published && any_given(published->deviations);
  std::string text = csv_line(csv_header(table, published, with_deviations));
  for (size_t r = 0; r < table.names.size(); ++r) {
    auto line = table.names[r];
    for (size_t c = 0; c < table.cells[r].size(); ++c) {
      const auto& cell = table.cells[r][c];

      const auto digits = [&](double value) {
        return full(value, options.precision, table.layout.columns[c].scale);
      };
      const auto deviation =
          cell.values.size() > 1 ? cell.deviation(options.freedom) : cell.stated_deviation;

      // An empty cell has no values; the mean of values that are not numbers is "nan".
      const bool not_a_number = !cell.values.empty() && std::isnan(cell.mean());
      line.push_back(not_a_number ? "nan" : digits(cell.mean()));
      line.push_back(deviation ? digits(*deviation) : "");
      line.push_back(fmt::format("{}", cell.values.size()));
      line.push_back(fmt::format("{}", fmt::join(cell.missing, " ")));

      // The difference is empty if one of the two values is missing.
      if (published) {
        line.push_back(digits(published->values[r][c]));
        line.push_back(digits(cell.mean() - published->values[r][c]));
      }
      if (with_deviations) line.push_back(digits(published->deviations[r][c]));
    }
    text += csv_line(line);
  }
  return text;
}

}  // namespace

namespace {

using Renames = std::vector<std::pair<std::string, std::string>>;  // {ours, theirs}

// The names of a row without method and members, which papers name differently. Only the columns
// that both tables have: ours may have one more that separates its rows.
std::vector<std::string> row_key(const std::vector<std::string>& names, const Layout& layout,
                                 size_t columns, const Renames& experiments) {
  std::vector<std::string> key;
  for (size_t i = 0; i < columns; ++i) {
    const auto& column = layout.rows[i];
    if (column == "method" || column == "members") continue;
    key.push_back(names[i]);
    if (column != "experiment") continue;
    for (const auto& [ours, theirs] : experiments)
      if (ours == names[i]) key.back() = theirs;
  }
  return key;
}

bool has_experiment(const Table& table, const Layout& layout, const std::string& experiment) {
  const auto at = static_cast<size_t>(
      std::find(layout.rows.begin(), layout.rows.end(), "experiment") - layout.rows.begin());
  return std::any_of(table.names.begin(), table.names.end(), [&](const auto& names) {
    return at < names.size() && names[at] == experiment;
  });
}

void check_renames(const Table& table, const Table& published, const Renames& experiments) {
  for (const auto& [ours, theirs] : experiments) {
    // A misspelt name would show no published values, without a reason.
    DISSENT_CHECK(has_experiment(table, table.layout, ours), kUsage,
                  "--published-as {}={}: expected an experiment of the table, found '{}'", ours,
                  theirs, ours);
    DISSENT_CHECK(
        has_experiment(published, table.layout, theirs), kUsage,
        "--published-as {}={}: expected an experiment of the published values, found '{}'", ours,
        theirs, theirs);
  }
}

}  // namespace

Published match_published(const Table& table, const Table& published, const Renames& experiments,
                          const std::string& source) {
  check_renames(table, published, experiments);
  Published out{source, {}, {}};
  const auto& columns = table.layout.columns;
  const auto& their_columns = published.layout.columns;
  const size_t key_columns = std::min(table.layout.rows.size(), published.layout.rows.size());

  for (const auto& names : table.names) {
    // NaN: no published value.
    out.values.emplace_back(columns.size(), std::nan(""));
    out.deviations.emplace_back(columns.size(), std::nan(""));
    const auto key = row_key(names, table.layout, key_columns, experiments);
    for (size_t p = 0; p < published.names.size(); ++p) {
      if (row_key(published.names[p], table.layout, key_columns, {}) != key) continue;

      // Columns are matched by heading: optional ones may be in one of the tables only.
      for (size_t c = 0; c < columns.size(); ++c)
        for (size_t q = 0; q < their_columns.size(); ++q) {
          if (heading(their_columns[q]) != heading(columns[c])) continue;
          const auto& cell = published.cells[p][q];
          out.values.back()[c] = cell.mean();
          out.deviations.back()[c] = cell.stated_deviation.value_or(std::nan(""));
        }
    }
  }
  return out;
}

TableFormat table_format(const std::string& option, const std::string& text) {
  const auto format = value_in(kFormats, text);
  DISSENT_CHECK(format, kUsage, "{}: expected csv, markdown or latex, found '{}'", option, text);
  return *format;
}

std::string table_text(const Table& table, const TextOptions& options, const Published* published) {
  switch (options.format) {
    case TableFormat::kCsv: return csv(table, options, published);
    case TableFormat::kLatex: return latex(table, options, published);
    case TableFormat::kMarkdown: break;
  }
  return markdown(table, options, published);
}

}  // namespace dissent::report
