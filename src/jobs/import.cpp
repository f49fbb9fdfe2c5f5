#include "jobs/import.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include <dissent/error.hpp>

#include "storage/atomic_file.hpp"
#include "storage/csv.hpp"

namespace dissent::jobs {
namespace {

namespace fs = std::filesystem;
using Row = std::map<std::string, std::string>;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string plain_path(const std::string& path) {
  return path.starts_with("./") ? path.substr(2) : path;
}

// A value of the runner as a cell of ours.
std::string value_of(const std::string& cell, size_t row) {
  std::string text = replaced(replaced(cell, "__COMMA__", ","), "__ROW__", std::to_string(row));
  if (lower(text) == "default") return "";
  if (text == "EMPTY_STRING") return "\"\"";
  if (text.starts_with("[") && text.ends_with("]") && text.find(',') == std::string::npos)
    text = replaced(text, " ", ", ");
  return text;
}

// Keys of the caching configuration.
const std::map<std::string, std::string>& caching_keys() {
  static const std::map<std::string, std::string> keys{
      {"kwargs/model", "set:trunk.model"},
      {"kwargs/layer_cutoff", "set:trunk.cut"},
      {"kwargs/original_dataset_name", "set:data.dataset"},
      {"kwargs/original_dataset_path", "set:data.root"},
      {"kwargs/cache_save_path", "set:cache.output"},
      {"kwargs/model_path", "set:trunk.weights"},
      {"kwargs/n_epochs", "set:cache.passes"}};
  return keys;
}

// ImageNet's parts are a set and a split here.
void place_set(Row& row, const std::string& name) {
  static const std::map<std::string, std::pair<std::string, std::string>> sets{
      {"in_val", {"imagenet", "val"}},        {"in_train", {"imagenet", "train"}},
      {"in_a", {"imagenet_a", "test"}},       {"in_r", {"imagenet_r", "test"}},
      {"in_c", {"imagenet_c", "test"}},       {"inaturalist", {"inaturalist", "test"}},
      {"openimages", {"openimage_o", "test"}}};
  const auto at = sets.find(name);
  row["set:data.dataset"] = at == sets.end() ? name : at->second.first;
  if (at != sets.end()) row["set:data.split"] = at->second.second;
  row["name"] = "cache-" + name;
}

void set_caching(Row& row, const std::string& key, const std::string& value) {
  const std::string column = caching_keys().at(key);
  if (key == "kwargs/original_dataset_name") return place_set(row, value);
  if (key == "kwargs/model")
    row[column] = value == "deit3b" ? "deit3_base_patch16_224" : value;
  else if (key == "kwargs/layer_cutoff")
    row[column] = value == "-1" ? "cls_after_last_attention" : value;
  else if (key == "kwargs/cache_save_path")
    row[column] = fs::path(plain_path(value)).replace_extension(".cache").string();
  else if (key == "kwargs/n_epochs")
    row[column] = value;
  else
    row[column] = plain_path(value);
}

class Importer {
 public:
  Importer(std::string path, const std::vector<CsvRecord>& records)
      : path_(std::move(path)), columns_(records[0].fields) {}

  void add(const CsvRecord& record, size_t number) {
    DISSENT_CHECK(record.fields.size() == columns_.size(), kData,
                  "{}:{}: expected {} cells, found {}", path_, record.line, columns_.size(),
                  record.fields.size());
    const std::string config = cell(record, "path_to_default_config"),
                      stem = lower(fs::path(config).stem().string());
    Row row;
    row["enabled"] = cell(record, "whether_to_run").empty() ? "1" : cell(record, "whether_to_run");
    const bool caching = stem == "caching", evaluation = stem == "eval";
    row["verb"] = caching ? "cache" : evaluation ? "evaluate" : "train";
    row["config"] = caching ? "jobs/sed/cache.toml"
                    : evaluation
                        ? fmt::format("jobs/sed/evaluate_{}.toml", cell(record, "delta:eval_type"))
                        : fmt::format("configs/sed/{}.toml", stem);
    if (!caching) row["name"] = evaluation ? "evaluate-" + cell(record, "delta:eval_type") : stem;
    for (size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c].starts_with("delta:"))
        delta(row, columns_[c].substr(6), value_of(record.fields[c], number), record.line, caching);
    rows_.push_back(std::move(row));
  }

  Imported finish() const {
    std::vector<std::string> header{"name", "verb", "config", "enabled"};
    for (const auto& row : rows_)
      for (const auto& [column, value] : row)
        if (std::find(header.begin(), header.end(), column) == header.end())
          header.push_back(column);
    Imported out{csv_line(header), notes_};
    for (const auto& row : rows_) {
      std::vector<std::string> fields;
      for (const auto& column : header)
        fields.push_back(row.contains(column) ? row.at(column) : "");
      out.text += csv_line(fields);
    }
    for (const auto& column : columns_)
      if (!column.starts_with("delta:") && column != "path_to_main" &&
          column != "path_to_default_config" && column != "whether_to_run")
        out.notes.push_back(
            fmt::format("{}: the column '{}' is left out: its runner wrote it", path_, column));
    return out;
  }

 private:
  std::string cell(const CsvRecord& record, const std::string& column) const {
    for (size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c] == column) return value_of(record.fields[c], 0);
    return "";
  }

  void delta(Row& row, const std::string& key, const std::string& value, int64_t line,
             bool caching) {
    if (value.empty() || key == "eval_type") return;
    if (caching && caching_keys().contains(key)) return set_caching(row, key, value);
    if (key == "results_save_path") {
      row["set:evaluate.output"] = "results/sed";
      return notes_.push_back(fmt::format("{}:{}: delta:{} = {}: results go to results/sed as CSV",
                                          path_, line, key, value));
    }
    row["delta " + key] = value;
    notes_.push_back(
        fmt::format("{}:{}: delta:{} = {} has no counterpart of one key: it is kept as text and "
                    "changes nothing",
                    path_, line, key, value));
  }

  std::string path_;
  std::vector<std::string> columns_, notes_;
  std::vector<Row> rows_;
};

}  // namespace

Imported import_text(const std::string& path, const std::string& text) {
  const auto records = parse_csv(text, path);
  const auto has = [&](const char* column) {
    return !records.empty() && std::find(records[0].fields.begin(), records[0].fields.end(),
                                         column) != records[0].fields.end();
  };
  DISSENT_CHECK(has("path_to_main") && has("path_to_default_config"), kData,
                "{}: expected a sheet of stuned.run_from_csv, with the columns path_to_main and "
                "path_to_default_config",
                path);
  Importer importer(path, records);
  for (size_t r = 1; r < records.size(); ++r) importer.add(records[r], r);
  return importer.finish();
}

Imported import_sheet(const std::string& path) { return import_text(path, read_text(path)); }

}  // namespace dissent::jobs
