// docs/metrics.md.
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

std::string convention_cell(const MetricInfo& metric, const std::string& name) {
  for (const auto& convention : metric.conventions)
    if (convention.name == name)
      return convention.meaning.empty() ? "as said" : markdown_cell(convention.meaning);
  return "";
}

std::string convention_table() {
  std::string out = "| metric |", rule = "|---|";
  for (const auto& name : metric_conventions()) {
    out += fmt::format(" {} |", name);
    rule += "---|";
  }
  out += "\n" + rule + "\n";
  for (const auto& metric : metric_table()) {
    out += fmt::format("| `{}` |", metric.name);
    for (const auto& name : metric_conventions())
      out += fmt::format(" {} |", convention_cell(metric, name));
    out += "\n";
  }
  return out;
}

}  // namespace

std::string metrics_page() {
  std::string out =
      "# Metrics\n\n"
      "Written by `scripts/generate_docs` from what `dissent config metrics` prints; do not "
      "edit.\n\n"
      "Functions and states are in `include/dissent/metrics/`, the table is "
      "`src/metrics/registry.cpp`. A state is updated with blocks of samples, merged, and\n"
      "finished. Counts are integers, and sums are 128-bit integers of 2^-64 (`exact_sum.hpp`), so "
      "figures have the same bits for any order, block size and\n"
      "number of ranks. A score that is NaN is an error that names the set and how many there "
      "are.\n\n"
      "p = softmax of the logits, y the label, N samples, C classes, M members. Confidence is the "
      "largest p.\n\n"
      "| metric | meaning | needs | better |\n|---|---|---|---|\n";
  for (const auto& metric : metric_table())
    out += fmt::format("| `{}` | {} | {} | {} |\n", metric.name, markdown_cell(metric.meaning),
                       need_list(metric), better_text(metric.better));
  out +=
      "\n## Conventions\n\n"
      "Every result row names one. `sklearn`, the default, is what scikit-learn computes, or the "
      "definition above where it has no such metric; the others\n"
      "reproduce what SDDE's and SED's code, OpenOOD and torch-uncertainty report. An empty cell: "
      "the convention does not have the metric.\n\n" +
      convention_table() + "\nSources: ";
  std::vector<std::string> sources;
  for (const auto& metric : metric_table())
    if (!metric.citation.empty() &&
        std::find(sources.begin(), sources.end(), metric.citation) == sources.end())
      sources.push_back(metric.citation);
  return out + fmt::format("{}.\n", fmt::join(sources, "; "));
}

}  // namespace dissent::metrics
