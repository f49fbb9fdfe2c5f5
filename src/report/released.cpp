#include <dissent/error.hpp>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "report/table_text.hpp"
#include "storage/csv.hpp"

namespace dissent::report {
namespace {

// As Python writes a float: the shortest digits, with ".0" behind an integer. "" for a missing
// value, as in pandas.
std::string python_number(double value) {
  if (std::isnan(value)) return "";
  auto text = number_text(std::abs(value));
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

// Names of the models in the release: "ood_gen_".
std::string released_name(const std::string& experiment) {
  if (experiment == "sed_ood_det_covariate") return "ood_det_cov_";
  if (experiment == "sed_ood_det_semantic") return "ood_det_sem_";
  const auto name = experiment.starts_with("sed_") ? experiment.substr(4) : experiment;
  return name.ends_with("_") ? name : name + "_";
}

// The to_csv of pandas for blocks side by side, each after an empty column that is named by a
// number: adjacent columns with the same group (ood_gen), or the same name (ood_det), are a block.
std::string sed_text(const Table& table, int precision) {
  // The two layouts of the release differ in which columns are a block.
  const auto& columns = table.layout.columns;
  const bool by_name = columns[0].name == columns[1].name;
  const auto block_of = [&](const Selection& column) {
    return by_name ? column.name : column.group;
  };

  // The two header lines of pandas: names of columns, then of their groups. Blocks are numbered.
  std::vector<std::string> head{""}, groups{"0"};
  std::vector<bool> begins;
  int blocks = 0;
  for (size_t c = 0; c < columns.size(); ++c) {
    begins.push_back(c == 0 || block_of(columns[c]) != block_of(columns[c - 1]));
    if (begins.back()) {
      head.push_back(fmt::format("{}", blocks++));
      groups.emplace_back();
    }
    head.push_back(columns[c].name);
    groups.push_back(columns[c].group);
  }

  std::map<std::string, std::string> lines;  // by name: the release sorts its models
  for (size_t r = 0; r < table.names.size(); ++r) {
    const auto name = released_name(table.names[r][0]);
    std::vector<std::string> line{name};
    for (size_t c = 0; c < columns.size(); ++c) {
      if (begins[c]) line.emplace_back();

      // Values are without a sign, as in the tables of the release.
      const double value = table.cells[r][c].mean();
      line.push_back(precision < 0 || std::isnan(value)
                         ? python_number(value)
                         : fmt::format("{:.{}f}", std::abs(value), precision));
    }
    DISSENT_CHECK(lines.try_emplace(name, csv_line(line)).second, kUsage,
                  "layout {}: expected one row per name, found two with the name '{}'",
                  table.layout.name, name);
  }

  std::string text = csv_line(head) + csv_line(groups);
  for (const auto& [name, line] : lines) text += line;
  return text;
}

std::string openood_text(const Table& table, const TextOptions& options) {
  // Two digits, as OpenOOD's own files.
  const int digits = options.precision < 0 ? 2 : options.precision;
  std::vector<std::string> head{"dataset"};
  for (const auto& column : table.layout.columns) head.push_back(column.name);

  std::string text = csv_line(head);
  for (size_t r = 0; r < table.names.size(); ++r) {
    auto line = table.names[r];
    for (const auto& cell : table.cells[r]) {
      const auto deviation = cell.deviation(options.freedom);

      // OpenOOD's form "mean ± deviation", with a note if seeds are missing.
      std::string value = cell.values.empty() ? "" : fmt::format("{:.{}f}", cell.mean(), digits);
      if (cell.values.size() > 1) value += fmt::format(" ± {:.{}f}", *deviation, digits);
      if (!cell.missing.empty() && !cell.values.empty())
        value += fmt::format(" (n={} of {})", cell.values.size(), cell.expected());
      line.push_back(value);
    }
    text += csv_line(line);
  }
  return text;
}

}  // namespace

std::string released_text(const Table& table, const TextOptions& options) {
  return table.layout.by_dataset ? openood_text(table, options)
                                 : sed_text(table, options.precision);
}

}  // namespace dissent::report
