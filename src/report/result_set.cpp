#include "report/result_set.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <dissent/error.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "core/edited_text.hpp"
#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"
#include "storage/results.hpp"
#include "storage/train_log.hpp"

namespace dissent::report {
namespace {

namespace fs = std::filesystem;

bool has(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

template <class T>
T number_of(const std::string& text, const std::string& place, const char* column,
            const char* kind) {
  T out{};
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  DISSENT_CHECK(code == std::errc() && stop == text.data() + text.size(), kData,
                "{0}: column {1}: expected {3}, found '{2}'", place, column, text, kind);
  return out;
}

// A result file has these columns at least; they also tell it from other CSV files.
std::string missing_column(const std::vector<std::string>& header) {
  for (const auto& column : result_columns())
    if (!has(header, column) && !is_later_column(column)) return column;
  return "";
}

// The names in a file's first line, with any separator and encoding: a result file that cannot be
// read has to be found too, so that reading it reports the reason.
std::vector<std::string> names_in_header(const std::string& text) {
  // Without a byte order mark; bytes of UTF-16 are omitted.
  std::vector<std::string> names(1);
  size_t i = text.starts_with("\xEF\xBB\xBF") ? 3 : 0;
  for (; i < text.size() && text[i] != '\n' && text[i] != '\r'; ++i) {
    const char c = text[i];
    if (c == ',' || c == ';' || c == '\t')
      names.emplace_back();
    else if (c != '"' && c != '\0' && c != '\xFF' && c != '\xFE')
      names.back() += c;
  }
  return names;
}

// The CSV files below a folder, sorted.
std::vector<std::string> csv_files_below(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry :
       fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied))
    if (entry.is_regular_file() && entry.path().extension() == ".csv")
      paths.push_back(entry.path().string());

  // The order of a folder depends on the file system.
  std::sort(paths.begin(), paths.end());
  return paths;
}

void files_below(const std::string& folder, std::vector<std::string>& files,
                 std::vector<std::string>& skipped) {
  std::vector<std::string> found, others;
  std::string first_missing;
  for (const auto& path : csv_files_below(folder)) {
    const auto names = names_in_header(read_text(path));
    const auto missing = missing_column(names);
    if (missing.empty()) {
      found.push_back(path);
      continue;
    }

    // Training logs and plots are expected here. Other files are named, as they may be result files
    // that lack a column.
    const bool training_log = names[0] == kEpochColumn,
               plot = has(names, "kind") && has(names, "x");
    if (training_log || plot) continue;
    if (others.empty()) first_missing = missing;
    others.push_back(path);
  }

  const auto also =
      others.empty() ? ""
                     : fmt::format("; {} CSV file{} skipped: {} has no column '{}'", others.size(),
                                   others.size() == 1 ? "" : "s", others[0], first_missing);
  DISSENT_CHECK(!found.empty(), kData, "{}: expected a result file below this folder, found none{}",
                folder, also);
  if (!others.empty())
    spdlog::warn("event=csv_skipped folder={} files={} first={} reason=\"no column '{}'\"", folder,
                 others.size(), others[0], first_missing);
  files.insert(files.end(), found.begin(), found.end());
  skipped.insert(skipped.end(), others.begin(), others.end());
}

// Identity of a row. training_hash follows from config_hash, and files of earlier versions lack it.
std::string key_of(const ReportRow& row) {
  std::string key;
  for (const auto& [column, text] : row.fields)
    if (column != "value" && column != "n" && column != "training_hash" && !text.empty())
      key += column + '\x1f' + text + '\x1e';
  return key;
}

}  // namespace

const std::string& ReportRow::field(const std::string& column) const {
  static const std::string none;
  const auto at = fields.find(column);
  return at == fields.end() ? none : at->second;
}

void add_result_text(ResultSet& set, const std::string& text, const std::string& path) {
  const auto records = parse_csv(text, path);
  DISSENT_CHECK(!records.empty(), kData, "{}: expected a header line, found an empty file", path);
  const auto& header = records[0].fields;
  const auto missing = missing_column(header);
  DISSENT_CHECK(missing.empty(), kData,
                "{}:{}: not a result file: expected a column '{}', found none", path,
                records[0].line, missing);

  // Files may have different columns: the set has all of them.
  for (const auto& column : header)
    if (!has(set.columns, column)) set.columns.push_back(column);

  for (size_t i = 1; i < records.size(); ++i) {
    const auto& record = records[i];
    const std::string place = fmt::format("{}:{}", path, record.line);
    DISSENT_CHECK(record.fields.size() == header.size(), kData,
                  "{0}: expected {2} columns as the header has, found {1}", place,
                  record.fields.size(), header.size());

    // Fields stay texts, so that conditions can use any column.
    ReportRow row;
    for (size_t c = 0; c < header.size(); ++c) row.fields[header[c]] = record.fields[c];
    row.seed = number_of<int64_t>(row.field("seed"), place, "seed", "an integer");
    // A published value that could not be read from its source.
    if (row.field("value").empty() && has(header, "source")) continue;
    row.value = number_of<double>(row.field("value"), place, "value", "a number");
    row.place = place;
    set.rows.push_back(std::move(row));
  }
}

namespace {

// Rows of earlier versions get the training_hash of other rows of the same run.
void complete_training_hashes(ResultSet& set) {
  // The configuration determines both hashes, so one row of a run that has both is enough.
  std::map<std::string, std::string> known;
  for (const auto& row : set.rows)
    if (!row.field("config_hash").empty() && !row.field("training_hash").empty())
      known.emplace(row.field("config_hash"), row.field("training_hash"));

  for (auto& row : set.rows)
    if (const auto at = known.find(row.field("config_hash")); at != known.end())
      row.fields["training_hash"] = at->second;
}

}  // namespace

void merge_equal_rows(ResultSet& set) {
  complete_training_hashes(set);
  std::map<std::string, const ReportRow*> seen;
  std::vector<ReportRow> kept;
  kept.reserve(set.rows.size());  // `seen` points into it
  for (auto& row : set.rows) {
    const auto [at, is_new] = seen.try_emplace(key_of(row), nullptr);
    if (is_new) {
      kept.push_back(std::move(row));
      at->second = &kept.back();
      continue;
    }

    // The same row in two files (a folder and its copy) counts once; two values are an error.
    const auto& first = *at->second;
    const bool both_nan = std::isnan(first.value) && std::isnan(row.value);
    DISSENT_CHECK(
        first.value == row.value || both_nan, kData,
        "{} and {}: the same row with two values, {} and {} ({} {} of {}, seed {}); leave out the "
        "outdated file or line",
        first.place, row.place, first.field("value"), row.field("value"), row.field("predictor"),
        row.field("metric"), row.field("dataset"), row.seed);
  }
  set.rows = std::move(kept);
}

ResultSet read_result_files(const std::vector<std::string>& paths) {
  ResultSet set;
  std::vector<std::string> files;
  for (const auto& path : paths) {
    DISSENT_CHECK(path_exists(path), kData, "{}: no such file or folder", path);
    if (!fs::is_directory(path))
      files.push_back(path);
    else
      files_below(path, files, set.skipped);
  }

  // All files are read before equal rows are merged: training hashes may come from any of them.
  for (const auto& file : files) add_result_text(set, edited_text(read_text(file), file), file);
  merge_equal_rows(set);
  DISSENT_CHECK(!set.rows.empty(), kData, "{}: expected result rows, found none", paths.front());
  return set;
}

}  // namespace dissent::report
