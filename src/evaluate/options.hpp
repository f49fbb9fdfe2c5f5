#pragma once
#include <string>
#include <vector>

#include "core/options.hpp"

namespace dissent {

/// [evaluate]
struct EvaluateOptions {
  std::string experiment = "evaluation";
  std::vector<std::string> runs;
  std::string id;
  std::string id_name;
  std::string validation;
  std::vector<std::string> scores{"msp", "pds"};
  std::vector<std::string> predictors{"ensemble", "soup", "best", "mean"};
  std::vector<std::string> metrics{"accuracy", "auroc"};
  std::string combine = "mean_logits";
  std::vector<double> weights;
  std::string convention = "sklearn";
  std::string output = "results";
};

/// [[evaluate.sets]]
struct EvaluateSet {
  std::string name;
  std::string shift = "far";
  std::vector<std::string> paths;
};

/// Everything that `dissent evaluate CONFIG` is told beside [runtime].
struct EvaluateConfig {
  EvaluateOptions evaluate;
  std::vector<EvaluateSet> sets;
};

const TableSpec& evaluate_table();
const TableSpec& evaluate_set_table();

/// Paths that match shell patterns (sorted); a pattern without a match is Error::kData naming it.
std::vector<std::string> expand_paths(const std::vector<std::string>& patterns);

}  // namespace dissent
