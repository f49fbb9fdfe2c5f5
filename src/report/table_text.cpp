#include "report/table_text.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/ranges.h>

#include "core/option_page.hpp"
#include "storage/csv.hpp"

namespace dissent::report {
namespace {

using Lines = std::vector<std::vector<std::string>>;

std::string number(double value, int digits) {
  return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits);
}
// All digits: the shortest text of the double; of per cents 15 digits, since the product with 100
// adds noise behind them.
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
  // What is not finite has no deviation; a note below the table names its seed.
  const auto deviation = finite ? cell.deviation(options.freedom) : std::nullopt;
  if (deviation && cell.values.size() > 1)
    text += marks.plus_minus + number(*deviation, digits);
  else if (finite && cell.stated_deviation)
    text += marks.plus_minus + number(*cell.stated_deviation, digits);
  if (!cell.missing.empty())
    text += fmt::format(" (n={} of {})", cell.values.size(), cell.expected());
  return cell.chosen_on_test ? text + marks.dagger : text;
}

Lines body(const Table& table, const TextOptions& options, const Published* published,
           const Marks& marks) {
  Lines lines;
  const auto& columns = table.layout.columns;
  for (size_t r = 0; r < table.names.size(); ++r) {
    std::vector<std::string> line;
    for (const auto& name : table.names[r]) line.push_back(marks.escape(name));
    for (size_t c = 0; c < columns.size(); ++c)
      line.push_back(cell_text(table.cells[r][c], digits_of(columns[c], options), options, marks));
    lines.push_back(line);
    if (!published || std::all_of(published->values[r].begin(), published->values[r].end(),
                                  [](double value) { return std::isnan(value); }))
      continue;
    std::vector<std::string> theirs(table.names[r].size()), difference = theirs;
    theirs.back() = "published";
    difference.back() = "difference";
    for (size_t c = 0; c < columns.size(); ++c) {
      const int digits = digits_of(columns[c], options);
      const double value = published->values[r][c], minus = table.cells[r][c].mean() - value;
      const double deviation = published->deviations[r][c];
      theirs.push_back(std::isnan(value) ? marks.none : number(value, digits));
      if (!std::isnan(deviation)) theirs.back() += marks.plus_minus + number(deviation, digits);
      difference.push_back(std::isnan(minus) ? marks.none : fmt::format("{:+.{}f}", minus, digits));
    }
    lines.push_back(theirs);
    lines.push_back(difference);
  }
  return lines;
}

bool any_given(const std::vector<std::vector<double>>& figures) {
  return std::any_of(figures.begin(), figures.end(), [](const auto& row) {
    return std::any_of(row.begin(), row.end(), [](double value) { return !std::isnan(value); });
  });
}

// What stands below a table, one line each.
std::vector<std::string> notes(const Table& table, const TextOptions& options,
                               const Published* published) {
  std::vector<std::string> lines;
  std::set<size_t> counts;
  bool dagger = false, stated = false;
  std::map<std::string, std::vector<std::string>> missing;  // by row: "C-1 (seed 3)"
  std::map<std::string, std::vector<std::string>> odd;  // the same of values that are not finite
  for (size_t r = 0; r < table.names.size(); ++r)
    for (size_t c = 0; c < table.cells[r].size(); ++c) {
      const auto& cell = table.cells[r][c];
      counts.insert(cell.values.size());
      dagger |= cell.chosen_on_test;
      stated |= cell.stated_deviation.has_value();
      std::string why = cell.missing.empty()
                            ? ""
                            : fmt::format("{} (seed {})", heading(table.layout.columns[c]),
                                          fmt::join(cell.missing, ", "));
      if (!cell.gaps.empty()) why += fmt::format(" [{}]", fmt::join(cell.gaps, "; "));
      std::vector<std::string> seeds;
      for (const auto& [seed, value] : cell.values)
        if (!std::isfinite(value)) seeds.push_back(std::to_string(seed));
      if (!seeds.empty())
        odd[fmt::format("{}", fmt::join(table.names[r], " "))].push_back(
            fmt::format("{} (seed {})", heading(table.layout.columns[c]), fmt::join(seeds, ", ")));
      if (!why.empty()) missing[fmt::format("{}", fmt::join(table.names[r], " "))].push_back(why);
    }
  const size_t most = counts.empty() ? 0 : *counts.rbegin();
  if (most > 1)
    lines.push_back(fmt::format(
        "Mean ± {} standard deviation (divided by {}) over seeds; n = {} where nothing else is "
        "said.",
        options.freedom ? "sample" : "population", options.freedom ? "n - 1" : "n", most));
  else
    lines.push_back(stated ? "Deviations as they are stated with the figures."
                           : "One seed a figure: no deviation.");
  for (const auto& [row, list] : missing)
    lines.push_back(fmt::format("Missing: {}: {}", row, fmt::join(list, "; ")));
  for (const auto& [row, list] : odd)
    lines.push_back(
        fmt::format("Not finite (NaN or infinite, and so is the mean over seeds): {}: {}", row,
                    fmt::join(list, "; ")));
  if (!table.left_out.empty())
    lines.push_back(fmt::format("Left out: seeds {}, which are not among those expected.",
                                fmt::join(table.left_out, ", ")));
  if (dagger) lines.push_back("† chosen on test data.");
  if (published && any_given(published->values))
    lines.push_back(fmt::format(
        "Published figures: {}{}; difference: ours minus published.", published->source,
        any_given(published->deviations) ? ", with their deviations as they are published" : ""));
  else if (published)
    lines.push_back(
        fmt::format("Published figures: {} has none for these rows (--published-as OURS=THEIRS "
                    "gives an experiment another name).",
                    published->source));
  if (!table.layout.citation.empty())
    lines.push_back(fmt::format("Layout: {}.", table.layout.citation));
  return lines;
}

size_t columns_wide(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string markdown(const Table& table, const TextOptions& options, const Published* published) {
  std::vector<std::string> head = table.layout.rows;
  for (const auto& column : table.layout.columns) head.push_back(markdown_cell(heading(column)));
  auto lines = body(table, options, published, kMarkdown);
  lines.insert(lines.begin(), head);
  std::vector<size_t> widths(head.size(), 3);
  for (const auto& line : lines)
    for (size_t c = 0; c < line.size(); ++c) widths[c] = std::max(widths[c], columns_wide(line[c]));
  const size_t names = table.layout.rows.size();
  std::string text;
  for (size_t l = 0; l < lines.size(); ++l) {
    for (size_t c = 0; c < head.size(); ++c) {
      const std::string pad(widths[c] - columns_wide(lines[l][c]), ' ');
      text += c < names ? fmt::format("| {}{} ", lines[l][c], pad)
                        : fmt::format("| {}{} ", pad, lines[l][c]);
    }
    text += "|\n";
    if (l > 0) continue;
    for (size_t c = 0; c < head.size(); ++c)
      text += c < names ? "|" + std::string(widths[c] + 2, '-')
                        : "|" + std::string(widths[c] + 1, '-') + ":";
    text += "|\n";
  }
  text += "\n";
  for (const auto& note : notes(table, options, published)) text += note + "  \n";
  return text;
}

std::string latex(const Table& table, const TextOptions& options, const Published* published) {
  std::string text = "% needs \\usepackage{booktabs}\n";
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

std::string csv(const Table& table, const TextOptions& options, const Published* published) {
  auto head = table.layout.rows;
  const bool with_deviations = published && any_given(published->deviations);
  for (const auto& column : table.layout.columns) {
    for (const char* part : {"", " deviation", " n", " missing"})
      head.push_back(heading(column) + part);
    if (published)
      head.insert(head.end(), {heading(column) + " published", heading(column) + " difference"});
    if (with_deviations) head.push_back(heading(column) + " published deviation");
  }
  std::string text = csv_line(head);
  for (size_t r = 0; r < table.names.size(); ++r) {
    auto line = table.names[r];
    for (size_t c = 0; c < table.cells[r].size(); ++c) {
      const auto& cell = table.cells[r][c];
      const auto show = [&](double value) {
        return full(value, options.precision, table.layout.columns[c].scale);
      };
      const auto deviation =
          cell.values.size() > 1 ? cell.deviation(options.freedom) : cell.stated_deviation;
      const bool no_number = !cell.values.empty() && std::isnan(cell.mean());
      line.insert(
          line.end(),
          {no_number ? "nan" : show(cell.mean()), deviation ? show(*deviation) : "",
           fmt::format("{}", cell.values.size()), fmt::format("{}", fmt::join(cell.missing, " "))});
      if (published)
        line.insert(line.end(),
                    {show(published->values[r][c]), show(cell.mean() - published->values[r][c])});
      if (with_deviations) line.push_back(show(published->deviations[r][c]));
    }
    text += csv_line(line);
  }
  return text;
}

}  // namespace

Published match_published(const Table& table, const Table& published,
                          const std::vector<std::pair<std::string, std::string>>& experiments,
                          const std::string& source) {
  Published out{source, {}, {}};
  const auto& rows = table.layout.rows;
  // The columns that both tables have; ours may have one more that parts its rows.
  const auto key_of = [&](const std::vector<std::string>& names, bool ours) {
    std::vector<std::string> key;
    for (size_t i = 0; i < std::min(rows.size(), published.layout.rows.size()); ++i) {
      if (rows[i] == "method" || rows[i] == "members") continue;
      key.push_back(names[i]);
      if (ours && rows[i] == "experiment")
        for (const auto& [our, their] : experiments)
          if (our == names[i]) key.back() = their;
    }
    return key;
  };
  const auto known = [&](const std::string& experiment, const Table& in) {
    const auto at =
        static_cast<size_t>(std::find(rows.begin(), rows.end(), "experiment") - rows.begin());
    return std::any_of(in.names.begin(), in.names.end(), [&](const auto& names) {
      return at < names.size() && names[at] == experiment;
    });
  };
  for (const auto& [our, their] : experiments) {
    DISSENT_CHECK(known(our, table), kUsage,
                  "--published-as {}={}: expected an experiment of the table, found '{}'", our,
                  their, our);
    DISSENT_CHECK(
        known(their, published), kUsage,
        "--published-as {}={}: expected an experiment of the published figures, found '{}'", our,
        their, their);
  }
  for (size_t r = 0; r < table.names.size(); ++r) {
    out.values.emplace_back(table.layout.columns.size(), std::nan(""));
    out.deviations.push_back(out.values.back());
    for (size_t p = 0; p < published.names.size(); ++p)
      if (key_of(table.names[r], true) == key_of(published.names[p], false))
        for (size_t c = 0; c < table.layout.columns.size(); ++c)
          for (size_t q = 0; q < published.layout.columns.size();
               ++q)  // a layout's optional columns may be in one table only
            if (heading(published.layout.columns[q]) == heading(table.layout.columns[c])) {
              const auto& cell = published.cells[p][q];
              out.values[r][c] = cell.mean();
              out.deviations[r][c] = cell.stated_deviation.value_or(std::nan(""));
            }
  }
  return out;
}

std::string table_text(const Table& table, const TextOptions& options, const Published* published) {
  if (options.format == "csv") return csv(table, options, published);
  if (options.format == "latex") return latex(table, options, published);
  DISSENT_CHECK(options.format == "markdown", kUsage,
                "table format: expected one of csv, markdown, latex; found '{}'", options.format);
  return markdown(table, options, published);
}

}  // namespace dissent::report
