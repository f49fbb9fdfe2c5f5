#include "report/table.hpp"

#include <dissent/error.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/ranges.h>

#include "core/options.hpp"
#include "storage/csv.hpp"

namespace dissent::report {
namespace {

using Rows = std::vector<const ReportRow*>;

double rounded(double value, int digits) {
  return digits < 0 ? value : std::stod(fmt::format("{:.{}f}", value, digits));
}

// Empty texts first; then numbers, by size; then other texts, by their bytes. Without the groups
// "9", "10" and "1a" would have no order: 9 < 10 as numbers, "10" < "1a" and "1a" < "9" as texts.
bool text_before(const std::string& a, const std::string& b) {
  if (a.empty() != b.empty()) return a.empty();
  const auto x = parsed_number(a), y = parsed_number(b);
  const bool is_number = x && !std::isnan(*x), other_is_number = y && !std::isnan(*y);
  if (is_number != other_is_number) return is_number;
  return is_number && *x != *y ? *x < *y : a < b;
}
bool names_before(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), text_before);
}

Rows matching(const Rows& rows, const std::vector<Condition>& where) {
  Rows found;
  for (const auto* row : rows)
    if (std::all_of(where.begin(), where.end(),
                    [&](const Condition& condition) { return holds(condition, *row); }))
      found.push_back(row);
  return found;
}

[[noreturn]] void fail_ambiguous(const ReportRow& a, const ReportRow& b, const std::string& cell) {
  std::set<std::string> columns;
  for (const auto* row : {&a, &b})
    for (const auto& [column, text] : row->fields) columns.insert(column);

  // These differ in any two rows that were measured differently, so they do not explain why.
  columns.erase("value");
  columns.erase("n");
  // config_hash always differs with training_hash, which is the one to choose by.
  if (a.field("training_hash") != b.field("training_hash")) columns.erase("config_hash");

  std::string first, differs;
  for (const auto& column : columns) {
    if (a.field(column) == b.field(column)) continue;
    if (first.empty()) first = column;
    differs += fmt::format("{}{} ('{}' and '{}')", differs.empty() ? "" : ", ", column,
                           a.field(column), b.field(column));
  }
  DISSENT_FAIL(kUsage,
               "{} and {}: two values for {}, seed {}; they differ in {}; choose one with "
               "--where {}=..., or name the column in --rows",
               a.place, b.place, cell, a.seed, differs, first);
}

// The row of each seed, of rows of one data set or one cell.
std::map<int64_t, const ReportRow*> by_seed(const Rows& rows, const std::string& cell) {
  std::map<int64_t, const ReportRow*> found;
  for (const auto* row : rows) {
    const auto [at, is_new] = found.try_emplace(row->seed, row);
    if (!is_new) fail_ambiguous(*at->second, *row, cell);
  }
  return found;
}

// `evaluate` notes it in fidelity ("chosen on the test set"); files may have a column `selection`.
void note_choice(Cell& cell, const ReportRow& row) {
  for (const char* column : {"selection", "fidelity"})
    if (row.field(column) == "test" ||
        row.field(column).find("on the test set") != std::string::npos)
      cell.chosen_on_test = true;
}

// The mean over data sets, for each seed that has all of them.
Cell mean_cell(const Rows& rows, const std::vector<std::string>& datasets, const Selection& column,
               const std::string& label) {
  Cell cell;
  std::vector<std::map<int64_t, const ReportRow*>> sets;

  std::set<int64_t> seeds;
  for (const auto& name : datasets) {
    sets.push_back(
        by_seed(matching(rows, {{"dataset", {name}}}), fmt::format("{} of {}", label, name)));
    for (const auto& [seed, row] : sets.back()) seeds.insert(seed);
  }

  for (const int64_t seed : seeds) {
    double sum = 0;
    std::vector<std::string> lacks;
    for (size_t i = 0; i < sets.size(); ++i) {
      const auto at = sets[i].find(seed);
      if (at == sets[i].end()) {
        lacks.push_back(datasets[i]);
        continue;
      }
      sum += rounded(at->second->value * column.scale, column.round_to);
      note_choice(cell, *at->second);
    }

    // A mean over a part of the data sets would be another quantity, so the seed is a gap
    // instead.
    if (lacks.empty())
      cell.values[seed] = rounded(sum / static_cast<double>(sets.size()), column.round_to);
    else
      cell.gaps.push_back(fmt::format("seed {} lacks {}", seed, fmt::join(lacks, ", ")));
  }
  return cell;
}

double stated_deviation(const ReportRow& row, const std::string& text) {
  double value = 0;
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  DISSENT_CHECK(code == std::errc() && stop == text.data() + text.size(), kData,
                "{}: column deviation: expected a number, found '{}'", row.place, text);
  return value;
}

Cell single_cell(const Rows& rows, const Selection& column, const std::string& label) {
  Cell cell;
  for (const auto& [seed, row] : by_seed(rows, label)) {
    cell.values[seed] = rounded(row->value * column.scale, column.round_to);
    note_choice(cell, *row);
    if (const auto& text = row->field("deviation"); !text.empty())
      cell.stated_deviation = stated_deviation(*row, text) * column.scale;
  }
  return cell;
}

std::vector<std::string> datasets_of(const Rows& rows) {
  std::set<std::string> names;
  for (const auto* row : rows) names.insert(row->field("dataset"));
  return {names.begin(), names.end()};
}

// rows: those of the table's row. all: those of the table, which determine the data sets of a mean.
Cell make_cell(const Rows& rows, const Rows& all, const Selection& column,
               const std::string& label) {
  const auto found = matching(rows, column.where);
  if (column.every_dataset) {
    // A row that is the mean itself comes first, as the evaluation may have computed it from all
    // files.
    const auto itself = matching(found, {{"dataset", {column.whole}}});
    if (!column.whole.empty() && !itself.empty()) return single_cell(itself, column, label);
    auto datasets = datasets_of(matching(all, column.where));
    std::erase(datasets, column.whole);
    return mean_cell(found, datasets, column, label);
  }
  if (column.datasets.empty()) return single_cell(found, column, label);
  // A row that is the mean itself (an evaluation over several files of one set) replaces it.
  const auto whole = matching(found, {{"dataset", {column.name}}});
  return whole.empty() ? mean_cell(found, column.datasets, column, label)
                       : single_cell(whole, column, label);
}

// N of "seed N lacks ...".
int64_t seed_of_gap(const std::string& gap) { return std::stoll(gap.substr(5)); }

void note_missing(std::vector<Cell>& cells, const std::vector<int64_t>& seeds) {
  // Without --seeds: the seeds that any cell of the row has, or lacks in part.
  std::set<int64_t> expected(seeds.begin(), seeds.end());
  if (seeds.empty())
    for (const auto& cell : cells) {
      for (const auto& [seed, value] : cell.values) expected.insert(seed);
      for (const auto& gap : cell.gaps) expected.insert(seed_of_gap(gap));
    }

  for (auto& cell : cells) {
    // Values of unexpected seeds do not count (Table::left_out).
    std::erase_if(cell.values, [&](const auto& entry) { return !expected.contains(entry.first); });
    std::erase_if(cell.gaps, [&](const auto& gap) { return !expected.contains(seed_of_gap(gap)); });
    for (const int64_t seed : expected)
      if (!cell.values.contains(seed)) cell.missing.push_back(seed);
  }
}

void check_columns(const ResultSet& set, const std::vector<std::string>& names) {
  for (const auto& name : names) {
    const bool known = std::find(set.columns.begin(), set.columns.end(), name) != set.columns.end();
    const auto near = nearest(name, set.columns);
    DISSENT_CHECK(known, kUsage, "result files: expected a column '{}', found {}{}", name,
                  fmt::join(set.columns, ", "),
                  near ? fmt::format("; did you mean '{}'?", *near) : "");
  }
}

bool is_common(const Layout& layout, const std::string& score) {
  return std::find(layout.common_scores.begin(), layout.common_scores.end(), score) !=
         layout.common_scores.end();
}

// The names of the table's row that a result row belongs to; "" for a common score.
std::vector<std::string> names_of(const ReportRow& row, const Layout& layout) {
  std::vector<std::string> names;
  for (const auto& column : layout.rows) {
    const auto& text = row.field(column);
    names.push_back(column == "score" && is_common(layout, text) ? "" : text);
  }
  return names;
}

// Whether a result row belongs to the table's row: a common score belongs to every score.
bool belongs(const ReportRow& row, const Layout& layout, const std::vector<std::string>& names) {
  const auto own = names_of(row, layout);
  for (size_t i = 0; i < names.size(); ++i)
    if (own[i] != names[i] && !(layout.rows[i] == "score" && own[i].empty())) return false;
  return true;
}

bool has_twin_with_score(const std::vector<std::string>& names, size_t score,
                         const std::vector<std::vector<std::string>>& all) {
  return names[score].empty() && std::any_of(all.begin(), all.end(), [&](auto other) {
           const bool scored = !other[score].empty();
           other[score].clear();
           return scored && other == names;
         });
}

// The names of the table's rows. Values without a score only have a row if no other row takes them.
std::vector<std::vector<std::string>> row_names(const Rows& rows, const Layout& layout) {
  std::vector<std::vector<std::string>> names;
  for (const auto* row : rows) names.push_back(names_of(*row, layout));
  std::sort(names.begin(), names.end(), names_before);
  names.erase(std::unique(names.begin(), names.end()), names.end());

  // Values without a score, as accuracy, belong to all rows with a score, and need no row of
  // their own.
  const auto score = static_cast<size_t>(
      std::find(layout.rows.begin(), layout.rows.end(), "score") - layout.rows.begin());
  if (score == layout.rows.size()) return names;
  const auto all = names;
  std::erase_if(names, [&](const auto& name) { return has_twin_with_score(name, score, all); });
  return names;
}

std::vector<Cell> row_cells(const Rows& rows, const Rows& all,
                            const std::vector<Selection>& columns,
                            const std::vector<std::string>& names, const TableOptions& options) {
  std::vector<Cell> cells;
  for (const auto& column : columns) {
    // The place of the cell, for messages.
    const auto label = fmt::format("row ({}), column {}{}{}", fmt::join(names, ", "), column.group,
                                   column.group.empty() ? "" : " ", column.name);
    cells.push_back(make_cell(rows, all, column, label));
  }
  note_missing(cells, options.seeds);
  return cells;
}

// Whether two rows would be in one cell with the same seed.
bool has_clash(const Rows& rows, const Layout& layout) {
  for (const auto& column : layout.columns) {
    std::set<std::vector<std::string>> taken;
    for (const auto* row : matching(rows, column.where)) {
      // What distinguishes values inside a cell: seed and data set, and the score, which a common
      // one replaces.
      auto key = names_of(*row, layout);
      key.push_back(plain_name(row->field("dataset")));
      key.push_back(row->field("seed"));
      key.push_back(row->field("score"));
      if (!taken.insert(key).second) return true;
    }
  }
  return false;
}

// Whether each row of the table has all seeds of the rows that `parent` joins with it.
bool keeps_seeds(const Rows& rows, const Layout& parent, const Layout& layout) {
  // A column that splits seeds over several rows (a run folder per seed) does not separate rows.
  std::map<std::vector<std::string>, std::set<int64_t>> of_parents, of_rows;
  for (const auto* row : rows) {
    of_parents[names_of(*row, parent)].insert(row->seed);
    of_rows[names_of(*row, layout)].insert(row->seed);
  }
  return std::all_of(of_rows.begin(), of_rows.end(), [&](const auto& row) {
    const std::vector<std::string> names(row.first.begin(),
                                         row.first.begin() + std::ssize(parent.rows));
    return row.second == of_parents.at(names);
  });
}

// The layout with one more column that distinguishes all rows; unchanged if none is needed, or none
// does.
Layout with_distinguishing_column(const Rows& rows, const Layout& layout) {
  if (!has_clash(rows, layout)) return layout;

  // From the most readable column to the most exact one.
  for (const char* column : {"evaluation", "run", "training_hash", "config_hash"}) {
    if (std::find(layout.rows.begin(), layout.rows.end(), column) != layout.rows.end()) continue;
    auto more = layout;
    more.rows.emplace_back(column);
    if (!has_clash(rows, more) && keeps_seeds(rows, layout, more)) return more;
  }
  return layout;
}

// Columns for a row of a data set or, with `datasets`, for their mean.
std::vector<Selection> dataset_columns(const Layout& layout, const std::string& name,
                                       const Condition& shift,
                                       const std::vector<std::string>& datasets) {
  auto columns = layout.columns;
  for (auto& column : columns) {
    if (column.whole_table) continue;
    column.where.push_back(shift);
    if (datasets.empty())
      column.where.push_back({"dataset", {name}});
    else
      column.datasets = datasets;
    column.name += " (" + name + ")";  // no data set has this name
  }
  return columns;
}

// OpenOOD's table: each near set and their mean, each far set and their mean.
void fill_by_dataset(Table& table, const Rows& rows, const TableOptions& options) {
  const auto add = [&](const std::string& name, const Condition& shift,
                       const std::vector<std::string>& datasets) {
    const auto columns = dataset_columns(table.layout, name, shift, datasets);
    table.names.push_back({name});
    table.cells.push_back(row_cells(rows, rows, columns, {name}, options));
  };
  for (const auto& [shift, mean] : {std::pair("near", "nearood"), {"far", "farood"}}) {
    const Condition has_shift{"shift", {shift}};
    const auto datasets = datasets_of(matching(rows, {has_shift}));

    // Which sets are near or far is stated by the rows, not by the layout.
    for (const auto& dataset : datasets) add(dataset, has_shift, {});
    if (!datasets.empty()) add(mean, has_shift, datasets);
  }
  DISSENT_CHECK(!table.names.empty(), kData,
                "layout {}: expected rows of its predictor (ensemble, or --where predictor=NAME) "
                "with shift near or far, found none",
                table.layout.name);
}

}  // namespace

std::string plain_name(const std::string& name) {
  std::string out = name;
  for (auto& c : out)
    c = c == ' ' || c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool holds(const Condition& condition, const ReportRow& row) {
  const auto& text = row.field(condition.column);
  const bool dataset = condition.column == "dataset";
  return std::any_of(condition.any_of.begin(), condition.any_of.end(),
                     [&](const std::string& name) {
                       return dataset ? plain_name(name) == plain_name(text) : name == text;
                     });
}

double Cell::mean() const {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const auto& [seed, value] : values) sum += value;
  return sum / static_cast<double>(values.size());
}

std::optional<double> Cell::deviation(int freedom) const {
  if (static_cast<int>(values.size()) <= freedom) return std::nullopt;

  // freedom 1: sample deviation, 0: of the population.
  const double centre = mean();
  double sum = 0;
  for (const auto& [seed, value] : values) sum += (value - centre) * (value - centre);
  return std::sqrt(sum / static_cast<double>(static_cast<int>(values.size()) - freedom));
}

namespace {

// Seeds of the rows that are not among the expected ones.
std::vector<int64_t> unexpected(const Rows& rows, const std::vector<int64_t>& seeds) {
  std::set<int64_t> found;
  for (const auto* row : rows)
    if (!seeds.empty() && std::find(seeds.begin(), seeds.end(), row->seed) == seeds.end())
      found.insert(row->seed);
  return {found.begin(), found.end()};
}

}  // namespace

namespace {

// The rows that meet the layout's conditions and those of the options.
Rows rows_of(const ResultSet& set, const Layout& layout, const TableOptions& options) {
  Rows rows;
  for (const auto& row : set.rows) rows.push_back(&row);

  // --where predictor=mean shows the members instead of the ensemble.
  auto fixed = layout.where;
  if (layout.by_dataset)
    std::erase_if(fixed, [&](const Condition& own) {
      return std::any_of(options.where.begin(), options.where.end(),
                         [&](const Condition& given) { return given.column == own.column; });
    });
  return matching(matching(rows, options.where), fixed);
}

// The rows that some column of the layout takes.
Rows used_rows(const Rows& rows, const Layout& layout) {
  Rows used;
  for (const auto* row : rows)
    if (std::any_of(layout.columns.begin(), layout.columns.end(),
                    [&](const auto& column) { return !matching({row}, column.where).empty(); }))
      used.push_back(row);
  return used;
}

}  // namespace

Table build_table(const ResultSet& set, const Layout& layout, const TableOptions& options) {
  // A misspelt column is an error before any row is looked at.
  auto named = layout.rows;
  for (const auto& condition : options.where) named.push_back(condition.column);
  if (!layout.by_dataset) check_columns(set, named);

  const auto rows = rows_of(set, layout, options);
  Table table{layout, {}, {}, unexpected(rows, options.seeds)};
  if (layout.by_dataset) {
    fill_by_dataset(table, rows, options);
    return table;
  }

  // Optional columns without a value are not shown.
  std::erase_if(table.layout.columns, [&](const auto& column) {
    return column.optional && matching(rows, column.where).empty();
  });

  const auto used = used_rows(rows, layout);
  DISSENT_CHECK(!used.empty() || options.may_be_empty, kData,
                "layout {}: expected rows that match its columns (`dissent tables layouts` lists "
                "them), found none among {} rows",
                layout.name, set.rows.size());
  if (options.part_rows) table.layout.rows = with_distinguishing_column(used, layout).rows;

  // A result row with a common score (accuracy) belongs to every row of its method.
  for (const auto& names : row_names(used, table.layout)) {
    Rows own;
    for (const auto* row : used)
      if (belongs(*row, table.layout, names)) own.push_back(row);
    table.names.push_back(names);
    table.cells.push_back(row_cells(own, used, table.layout.columns, names, options));
  }
  return table;
}

}  // namespace dissent::report
