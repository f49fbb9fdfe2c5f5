// docs/metrics.md.
#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dissent/metrics/registry.hpp>

#include "core/option_page.hpp"

namespace dissent::metrics {
namespace {

const char* better_text(Better better) {
  return better == Better::kHigher ? "higher" : better == Better::kLower ? "lower" : "";
}

std::string need_list(const MetricInfo& metric) {
  std::vector<std::string> names;
  for (const auto need : metric.needs) names.push_back(metric_need_name(need));
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string convention_cell(const MetricInfo& metric, Convention convention) {
  const auto* entry = metric.find_convention(convention);
  if (!entry) return "";
  return entry->meaning.empty() ? "as above" : markdown_cell(entry->meaning);
}

std::string convention_table() {
  std::string out = "| metric |", rule = "|---|";
  for (const auto& [name, convention] : convention_names()) {
    out += fmt::format(" {} |", name);
    rule += "---|";
  }
  out += "\n" + rule + "\n";

  // One row per metric; an empty cell: the convention does not define it.
  for (const auto& metric : metric_table()) {
    out += fmt::format("| `{}` |", metric.name);
    for (const auto& [name, convention] : convention_names())
      out += fmt::format(" {} |", convention_cell(metric, convention));
    out += "\n";
  }
  return out;
}

std::string source_list() {
  std::vector<std::string> sources;
  for (const auto& metric : metric_table()) {
    const bool known = std::find(sources.begin(), sources.end(), metric.citation) != sources.end();
    if (!metric.citation.empty() && !known) sources.push_back(metric.citation);
  }
  return fmt::format("{}.\n", fmt::join(sources, "; "));
}

}  // namespace

std::string metrics_page() {
  // Only the introductions are written here: everything about a metric comes from its entry in the
  // table.
  std::string out =
      "# Metrics\n\n"
      "Written by `scripts/generate_docs` from what `dissent config metrics` prints; do not "
      "edit.\n\n"
      "Functions and states are in `include/dissent/metrics/`, the table is in "
      "`src/metrics/registry.cpp`. A state is updated with blocks of samples, merged, and\n"
      "finished. Counts are integers, and sums are 128-bit integers of 2^-64 (`exact_sum.hpp`), so "
      "values have the same bits for any order, block size and\n"
      "number of ranks. A NaN score is an error that names the set and the number of NaN "
      "scores.\n\n"
      "p = softmax of the logits, y the label, N samples, C classes, M members. Confidence is the "
      "largest p.\n\n"
      "| metric | meaning | needs | better |\n|---|---|---|---|\n";
  for (const auto& metric : metric_table())
    out += fmt::format("| `{}` | {} | {} | {} |\n", metric.name, markdown_cell(metric.meaning),
                       need_list(metric), better_text(metric.better));

  out +=
      "\n## Conventions\n\n"
      "Every result row names its convention. `sklearn`, the default, is what scikit-learn "
      "computes, or the definition above if scikit-learn does not have the metric; the\n"
      "others reproduce the values that the code of SDDE and SED, OpenOOD and torch-uncertainty "
      "report. An empty cell: the convention does not define the metric.\n\n" +
      convention_table() + "\nSources: " + source_list();
  return out;
}

}  // namespace dissent::metrics
