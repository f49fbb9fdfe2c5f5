#include "jobs/sheet.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/error.hpp>

#include "core/edited_text.hpp"
#include "core/options.hpp"
#include "jobs/expand.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"

namespace dissent::jobs {
namespace {

// Limits of a whole sheet; expand() has the same for one record.
constexpr size_t kMaxSheetRows = 100000, kMaxSheetCells = 4000000;

bool has(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_prefixed(const std::string& column) {
  return column.starts_with("set:") || column.starts_with("slurm:");
}

void check_columns(const Sheet& sheet, int64_t line, std::vector<std::string>& errors) {
  // A misspelt prefix would silently turn an override into free text, so a colon is allowed only
  // behind a known prefix. last: is the prefix of columns that `status --csv` writes.
  std::set<std::string> seen;
  for (const auto& column : sheet.columns) {
    const auto add = [&](const std::string& message) {
      errors.push_back(fmt::format("{}:{}: {}", sheet.path, line, message));
    };
    if (column.empty()) add("expected a name for each column, found an empty one");
    if (!seen.insert(column).second)
      add(fmt::format("expected one column '{}', found several", column));
    if (column.ends_with(":"))
      add(fmt::format("expected a column set:table.key or slurm:flag, found '{}'", column));
    if (column.find(':') != std::string::npos && !is_prefixed(column) &&
        !column.starts_with("last:"))
      add(fmt::format("expected set: or slurm: before the colon of a column, found '{}'", column));
  }

  // The only column that every sheet must have.
  if (seen.contains("verb")) return;
  const auto near = nearest("verb", sheet.columns);
  errors.push_back(fmt::format("{}:{}: expected a column 'verb', found none{}", sheet.path, line,
                               near ? fmt::format("; did you mean '{}'?", *near) : ""));
}

std::string default_name(const std::map<std::string, std::string>& cells) {
  const auto cell = [&](const char* column) {
    return cells.contains(column) ? cells.at(column) : std::string();
  };
  const std::string stem = std::filesystem::path(cell("config")).stem().string();
  return as_name(stem.empty() ? cell("verb") : fmt::format("{}-{}", cell("verb"), stem));
}

void add_rows(Sheet& sheet, const CsvRecord& record) {
  std::vector<SheetRow> rows;
  std::map<std::string, int> uses;
  auto expansions = expand(sheet.columns, record.fields);
  for (auto& expansion : expansions) {
    SheetRow row{record.line, "", "", std::move(expansion.cells)};
    row.group = row.cell("name").empty() ? default_name(row.cells) : row.cell("name");
    ++uses[row.group];
    rows.push_back(std::move(row));
  }

  // Rows of one record that got the same name are distinguished by the alternatives chosen for
  // them.
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].name = rows[i].group;
    if (uses[rows[i].group] == 1) continue;
    for (const auto& value : expansions[i].chosen)
      rows[i].name += fmt::format("-{}", as_name(value));
  }
  for (auto& row : rows) sheet.rows.push_back(std::move(row));
}

void check_names(const Sheet& sheet, std::vector<std::string>& errors) {
  std::map<std::string, const SheetRow*> first;
  for (const auto& row : sheet.rows) {
    // Names are passed to Slurm, and --where and `after` find rows by them.
    const std::string place = fmt::format("{}:{}", sheet.path, row.line);
    if (row.name != as_name(row.name))
      errors.push_back(fmt::format("{}: name: expected letters, digits and . _ + = -, found {}",
                                   place, toml_text(row.name)));

    const auto [at, added] = first.emplace(row.name, &row);
    if (!added)
      errors.push_back(fmt::format("{}: name: expected unique names, found '{}' in line {} too",
                                   place, row.name, at->second->line));
  }
}

}  // namespace

const std::string& SheetRow::cell(const std::string& column) const {
  static const std::string nothing;
  const auto at = cells.find(column);
  return at == cells.end() ? nothing : at->second;
}

std::optional<bool> yes_or_no(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (text == "1" || text == "yes" || text == "true") return true;
  if (text == "0" || text == "no" || text == "false") return false;
  return std::nullopt;
}

std::string as_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    // Characters that are safe in file names, in a shell and in Slurm.
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("._+=-").find(c) != std::string_view::npos;
    name += plain ? c : '_';
  }

  // Neither a hidden file nor an option.
  if (name.empty() || name.front() == '.' || name.front() == '-') name = fmt::format("_{}", name);
  return name;
}

namespace {

// Removes empty rows, and empty columns right of the last one with a name: spreadsheets write them.
void drop_empty_edges(std::vector<CsvRecord>& records) {
  // A cell beyond the last named column is kept if it has text: that is a mistake to report.
  if (records.empty()) return;
  auto& columns = records[0].fields;
  while (columns.size() > 1 && columns.back().empty()) columns.pop_back();
  for (auto& record : records)
    while (record.fields.size() > columns.size() && record.fields.back().empty())
      record.fields.pop_back();

  std::erase_if(records, [&](const CsvRecord& record) {
    return &record != &records[0] &&
           std::all_of(record.fields.begin(), record.fields.end(),
                       [](const std::string& field) { return field.empty(); });
  });
}

}  // namespace

namespace {

// What is wrong with a record, "" if nothing is; else its rows are added.
std::string add_record(Sheet& sheet, const CsvRecord& record) {
  if (record.fields.size() != sheet.columns.size())
    return fmt::format("expected {} cells, found {}", sheet.columns.size(), record.fields.size());
  try {
    add_rows(sheet, record);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

Sheet parse_sheet(const std::string& path, const std::string& text) {
  auto records = parse_csv(text, path);
  drop_empty_edges(records);
  DISSENT_CHECK(!records.empty(), kData, "{}: expected a line of column names, found an empty file",
                path);
  Sheet sheet{path, records[0].fields, {}};
  std::vector<std::string> errors;
  check_columns(sheet, records[0].line, errors);

  // Rows are read only if the columns are right: otherwise each row would repeat the same problem.
  // The limit is checked after each record, before a large sheet fills the memory.
  const bool readable = errors.empty();
  const auto max_rows = std::min(kMaxSheetRows, kMaxSheetCells / sheet.columns.size());
  for (size_t r = 1; r < records.size() && readable; ++r) {
    const auto place = fmt::format("{}:{}", path, records[r].line);
    if (const auto problem = add_record(sheet, records[r]); !problem.empty())
      errors.push_back(fmt::format("{}: {}", place, problem));
    if (sheet.rows.size() <= max_rows) continue;
    errors.push_back(fmt::format("{}: expected at most {} rows of {} columns, found {} so far",
                                 place, max_rows, sheet.columns.size(), sheet.rows.size()));
    break;
  }
  check_names(sheet, errors);
  DISSENT_CHECK(errors.empty(), kUsage, "{}", fmt::join(errors, "\n"));
  return sheet;
}

Sheet read_sheet(const std::string& path) {
  return parse_sheet(path, edited_text(read_text(path), path));
}

std::vector<SheetRow> where(const Sheet& sheet, const std::vector<std::string>& conditions) {
  auto rows = sheet.rows;
  for (const auto& condition : conditions) {
    const auto equals = condition.find('=');
    const std::string column = condition.substr(0, equals),
                      pattern = equals == std::string::npos ? "" : condition.substr(equals + 1);
    DISSENT_CHECK(equals != std::string::npos, kUsage, "--where: expected column=value, found {}",
                  toml_text(condition));

    // `name` is a column even of a sheet that does not have it.
    const bool is_name = column == "name";
    const auto near = nearest(column, sheet.columns);
    DISSENT_CHECK(is_name || has(sheet.columns, column), kUsage,
                  "--where: expected a column of {}, found '{}'{}", sheet.path, column,
                  near ? fmt::format("; did you mean '{}'?", *near) : "");

    std::erase_if(rows, [&](const SheetRow& row) {
      return fnmatch(pattern.c_str(), (is_name ? row.name : row.cell(column)).c_str(), 0) != 0;
    });
  }
  return rows;
}

}  // namespace dissent::jobs
