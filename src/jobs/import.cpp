#include "jobs/import.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>

#include <dissent/error.hpp>

#include "core/edited_text.hpp"
#include "core/enum_names.hpp"
#include "core/options.hpp"
#include "data/transforms/corruption_names.hpp"
#include "jobs/job.hpp"
#include "jobs/sheet.hpp"
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

// A value of stuned's runner as a cell of ours, where braces have to be doubled.
std::string value_of(const std::string& cell, size_t row) {
  // The runner's own words for commas, row numbers and defaults; a list without commas is
  // separated by spaces there.
  std::string text = replaced(replaced(cell, "__COMMA__", ","), "__ROW__", std::to_string(row));
  if (lower(text) == "default") return "";
  if (text == "EMPTY_STRING") return "\"\"";
  if (text.starts_with("[") && text.ends_with("]") && text.find(',') == std::string::npos)
    text = replaced(text, " ", ", ");
  return replaced(replaced(text, "{", "{{"), "}", "}}");
}

// The counterparts of SED's configurations: the only place that knows them.
constexpr const char* kEvaluation = "configs/sed/evaluation.toml";
constexpr const char* kTrainings = "configs/sed/";  // <name of SED's configuration>.toml
constexpr const char* kResults = "results/sed";
constexpr const char* kPublished = "results/published/sed.csv";

// A set of the caching sheet (kwargs/original_dataset_name).
struct CachedSet {
  const char* name;
  const char* config;
  const char* folder;  // below kwargs/original_dataset_path
};
const std::vector<CachedSet>& cached_sets() {
  static const std::vector<CachedSet> sets{
      {"in_val", "configs/sed/caching_in_val.toml", ""},
      {"in_train", "configs/sed/caching_in_train.toml", ""},
      {"in_a", "configs/sed/caching_in_a.toml", "imagenet-a"},
      {"in_r", "configs/sed/caching_in_r.toml", "imagenet-r"},
      {"in_c", "configs/sed/caching_in_c.toml", ""},
      {"inaturalist", "configs/sed/caching_inaturalist.toml", "iNaturalist"},
      {"openimages", "configs/sed/caching_openimages.toml", "openimages"}};
  return sets;
}
constexpr const char* kCorrupted = "in_c";  // one row for all corruptions at both severities
constexpr const char* kSeverities = "{1 | 5}";

// The table of a row of the evaluation sheet (eval_type).
struct EvaluationTable {
  const char* type;
  const char* layout;
  const char* file;
  const char* released_layout;
  const char* released_file;
};
const std::vector<EvaluationTable>& evaluation_tables() {
  static const std::vector<EvaluationTable> tables{
      {"ood_gen", "sed_generalisation", "generalisation.md", "sed_released_generalisation",
       "ood_gen_df.csv"},
      {"ood_det", "sed_detection", "detection.md", "sed_released_detection", "ood_det_df.csv"}};
  return tables;
}

// Keys of SED's training configurations that correspond to one key of ours.
const std::map<std::string, std::string>& training_keys() {
  static const std::map<std::string, std::string> keys{
      {"data/dataset/from_h5/path/train", "set:data.train"},
      {"data/dataset/from_h5/path/val", "set:data.validation"},
      {"model/redneck_ensemble/n_models", "set:ensemble.members"},
      {"model/redneck_ensemble/random_select", "set:ensemble.active"},
      {"params/random_seed", "set:seeds"},
      {"params/train/batch_size", "set:data.batch_size"},
      {"params/train/criterion/smoothing_eps", "set:loss.cross_entropy.label_smoothing"},
      {"params/train/freeze_model_on_first_epoch", "set:training.frozen_first_epoch"},
      {"params/train/n_epochs", "set:training.epochs"},
      {"params/train/optimizer/adamW/weight_decay", "set:optimizer.weight_decay"},
      {"params/train/optimizer/lr_scheduler/from_class-cosine_scheduler/kwargs/T_max",
       "set:schedule.t_max_epochs"},
      {"params/train/optimizer/start_lr", "set:optimizer.learning_rate"}};
  return keys;
}

template <class T>
std::string names_of(const std::vector<T>& list, const char* T::* name) {
  std::vector<std::string> names;
  for (const auto& one : list) names.emplace_back(one.*name);
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string below(const std::string& folder, const std::string& name) {
  if (name.empty()) return folder;
  return (fs::path(folder) / name).lexically_normal().string();
}

// The kinds of rows, by the name of their default configuration; any other name is a training.
enum class SedSheet { kCaching, kEvaluation, kTraining };
constexpr EnumName<SedSheet> kSedSheets[] = {{SedSheet::kCaching, "caching"},
                                             {SedSheet::kEvaluation, "eval"}};

class Importer {
 public:
  Importer(std::string path, const std::vector<CsvRecord>& records)
      : path_(std::move(path)), columns_(records[0].fields) {}

  // A misspelt column would silently change what runs.
  void check_columns() const {
    const std::vector<std::string> known{"path_to_main", "path_to_default_config", kWhetherToRun};
    for (const auto& column : columns_) {
      const auto near = nearest(column, known);
      DISSENT_CHECK(!near || *near == column, kData, "{}: column '{}': did you mean '{}'?", path_,
                    column, *near);
      const auto prefix = column.substr(0, column.find(':'));
      DISSENT_CHECK(prefix == column || prefix == "delta" || !nearest(prefix, {"delta"}), kData,
                    "{}: column '{}': expected delta:path/of/the/key", path_, column);
    }
  }

  void add(const CsvRecord& record, size_t number) {
    // Spreadsheets leave lines of separators where a row was cleared.
    if (std::all_of(record.fields.begin(), record.fields.end(),
                    [](const std::string& field) { return field.empty(); }))
      return;
    DISSENT_CHECK(record.fields.size() == columns_.size(), kData,
                  "{}:{}: expected {} cells, found {}", path_, record.line, columns_.size(),
                  record.fields.size());

    const Origin origin{record, number};
    const std::string stem =
        lower(fs::path(cell(origin, "path_to_default_config")).stem().string());

    Row row;
    row[kWhetherToRun] = cell(origin, kWhetherToRun).empty() ? "1" : cell(origin, kWhetherToRun);
    switch (value_in(kSedSheets, stem).value_or(SedSheet::kTraining)) {
      case SedSheet::kCaching: return add_caching(std::move(row), origin);
      case SedSheet::kEvaluation: return add_evaluation(std::move(row), origin);
      case SedSheet::kTraining: return add_training(std::move(row), stem, origin);
    }
  }

  Imported finish() const {
    std::vector<std::string> header{"name", "verb", "config", kWhetherToRun};
    for (const auto& row : rows_)
      for (const auto& [column, value] : row)
        if (std::find(header.begin(), header.end(), column) == header.end())
          header.push_back(column);

    // All rows have all columns; cells of other kinds of rows are empty.
    Imported out{csv_line(header), notes_};
    for (const auto& row : rows_) {
      std::vector<std::string> fields;
      for (const auto& column : header)
        fields.push_back(row.contains(column) ? row.at(column) : "");
      out.text += csv_line(fields);
    }
    for (const auto& column : columns_)
      if (!column.empty() && !column.starts_with("delta:") && column != "path_to_main" &&
          column != "path_to_default_config" && column != kWhetherToRun)
        out.notes.push_back(
            fmt::format("{}: the column '{}' is left out: it sets nothing", path_, column));

    const bool all_off = std::all_of(rows_.begin(), rows_.end(),
                                     [](const Row& row) { return row.at(kWhetherToRun) == "0"; });
    if (all_off && !rows_.empty())
      out.notes.push_back(
          fmt::format("{}: {} is 0 in every row, so `dissent jobs run` would start none: set the "
                      "rows to run to 1",
                      path_, kWhetherToRun));
    return out;
  }

 private:
  // A record, and its number as stuned's runner counts.
  struct Origin {
    const CsvRecord& record;
    size_t number;
  };

  std::string cell(const Origin& origin, const std::string& column) const {
    for (size_t c = 0; c < columns_.size(); ++c)
      if (columns_[c] == column) return value_of(origin.record.fields[c], origin.number);
    return "";
  }

  // The name, with -2, -3, ... if an earlier row has it.
  std::string free_name(const std::string& name) const {
    const auto taken = [&](const std::string& candidate) {
      return std::any_of(rows_.begin(), rows_.end(),
                         [&](const Row& row) { return row.at("name") == candidate; });
    };
    auto free = name;
    for (int number = 2; taken(free); ++number) free = fmt::format("{}-{}", name, number);
    return free;
  }

  void note(const Origin& origin, const std::string& text) {
    notes_.push_back(fmt::format("{}:{}: {}", path_, origin.record.line, text));
  }

  // Calls f(key, value) for each delta that has a value.
  template <class F>
  void for_deltas(const Origin& origin, F f) const {
    for (const auto& column : columns_)
      if (column.starts_with("delta:"))
        if (const auto value = cell(origin, column); !value.empty()) f(column.substr(6), value);
  }

  void keep_as_text(Row& row, const Origin& origin, const std::string& key,
                    const std::string& value) {
    row["delta " + key] = value;
    note(origin, fmt::format("delta:{} = {} has no corresponding key: it is kept as text and "
                             "changes nothing",
                             key, value));
  }

  void add_training(Row row, const std::string& stem, const Origin& origin) {
    row["name"] = free_name(stem);
    row["verb"] = "train";
    row["config"] = fmt::format("{}{}.toml", kTrainings, stem);
    for_deltas(origin, [&](const std::string& key, const std::string& value) {
      // A key without a counterpart is kept as a text column and reported, so that nothing is
      // lost without notice.
      const auto at = training_keys().find(key);
      if (at == training_keys().end()) return keep_as_text(row, origin, key, value);
      row[at->second] = at->second == "set:seeds" ? "[" + value + "]" : plain_path(value);
    });
    rows_.push_back(std::move(row));
  }

  void add_caching(Row row, const Origin& origin) {
    const auto name = cell(origin, "delta:kwargs/original_dataset_name");
    const auto& sets = cached_sets();
    const auto set =
        std::find_if(sets.begin(), sets.end(), [&](const auto& one) { return one.name == name; });
    DISSENT_CHECK(set != sets.end(), kData,
                  "{}:{}: delta:kwargs/original_dataset_name: expected one of {}, found {}", path_,
                  origin.record.line, names_of(sets, &CachedSet::name), toml_text(name));

    const bool corrupted = name == kCorrupted;
    row["name"] = corrupted ? "cache-{corruption}-{severity}" : "cache-" + name;
    row["verb"] = "cache";
    row["config"] = set->config;

    // One row of SED's sheet becomes 30 jobs: each corruption at both severities.
    if (corrupted) {
      row["corruption"] = fmt::format("{{{}}}", fmt::join(kCorruptionNames, " | "));
      row["severity"] = kSeverities;
      row["set:variables.corruption"] = "{corruption}";
      row["set:variables.severity"] = "{severity}";
    }

    for_deltas(origin, [&](const std::string& key, const std::string& value) {
      set_caching_key(row, origin, *set, key, value);
    });
    rows_.push_back(std::move(row));
  }

  // A delta of the caching sheet.
  void set_caching_key(Row& row, const Origin& origin, const CachedSet& set, const std::string& key,
                       const std::string& value) {
    if (key == "kwargs/original_dataset_name") return;  // it has chosen the set
    if (key == "kwargs/model") {
      row["set:trunk.model"] = value == "deit3b" ? "deit3_base_patch16_224" : value;
    } else if (key == "kwargs/layer_cutoff") {
      row["set:trunk.cut"] = value == "-1" ? "cls_after_last_attention" : value;
    } else if (key == "kwargs/model_path") {
      row["set:trunk.weights"] = plain_path(value);
    } else if (key == "kwargs/n_epochs") {
      row["set:cache.passes"] = value;
    } else if (key == "kwargs/original_dataset_path") {
      row["set:data.root"] = below(plain_path(value), set.folder);
    } else if (key == "kwargs/cache_save_path") {
      if (set.name == std::string_view(kCorrupted))
        row["set:variables.cached"] = plain_path(value);
      else
        row["set:cache.output"] = fs::path(plain_path(value)).replace_extension(".cache").string();
    } else {
      keep_as_text(row, origin, key, value);
    }
  }

  // One evaluation computes the values of all tables; a row of the sheet is one of the tables.
  void add_evaluation(Row row, const Origin& origin) {
    const auto type = cell(origin, "delta:eval_type");
    const auto& tables = evaluation_tables();
    const auto table = std::find_if(tables.begin(), tables.end(),
                                    [&](const auto& one) { return one.type == type; });
    DISSENT_CHECK(table != tables.end(), kData,
                  "{}:{}: delta:eval_type: expected one of {}, found {}", path_, origin.record.line,
                  names_of(tables, &EvaluationTable::type), toml_text(type));

    add_evaluation_row(row);

    // Our form of the table, and the file of the release.
    row["name"] = "table-" + type;
    row["verb"] = "tables";
    row["after"] = "evaluate";
    auto released = row;
    row["arguments"] = fmt::format(
        "[\"--layout\", \"{}\", \"--published\", \"{}\", \"--output\", \"{}/{}\", \"{}\"]",
        table->layout, kPublished, kResults, table->file, kResults);
    released["name"] = row["name"] + "_df";
    released["arguments"] =
        fmt::format("[\"--layout\", \"{}\", \"--output\", \"{}/{}\", \"{}\"]",
                    table->released_layout, kResults, table->released_file, kResults);
    for_deltas(origin, [&](const std::string& key, const std::string& value) {
      if (key == "eval_type") return;
      if (key != "results_save_path") return keep_as_text(row, origin, key, value);
      note(origin, fmt::format("delta:{} = {}: results go to {} as CSV, the table to {}/{}", key,
                               value, kResults, kResults, table->file));
    });
    rows_.push_back(std::move(row));
    rows_.push_back(std::move(released));
  }

  // The row that evaluates, once for all tables; it runs if any of them does.
  void add_evaluation_row(const Row& table_row) {
    const auto known = std::find_if(rows_.begin(), rows_.end(), [](const Row& other) {
      return verb_kind(other.at("verb")) == VerbKind::kEvaluate;
    });

    // The first table of the sheet brings the evaluation along; a later one may enable it.
    if (known == rows_.end()) {
      auto evaluation = table_row;
      evaluation["name"] = "evaluate";
      evaluation["verb"] = "evaluate";
      evaluation["config"] = kEvaluation;
      evaluation["set:evaluate.output"] = kResults;
      rows_.push_back(std::move(evaluation));
    } else if (table_row.at(kWhetherToRun) != "0") {
      (*known)[kWhetherToRun] = table_row.at(kWhetherToRun);
    }
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

  // Rows are numbered from 1, as stuned's runner does.
  Importer importer(path, records);
  importer.check_columns();
  for (size_t r = 1; r < records.size(); ++r) importer.add(records[r], r);
  return importer.finish();
}

Imported import_sheet(const std::string& path) {
  return import_text(path, edited_text(read_text(path), path));
}

}  // namespace dissent::jobs
