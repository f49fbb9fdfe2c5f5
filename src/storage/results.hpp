#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace dissent {

/// One value of one metric: a row of a results file (docs: Results). Texts may be empty.
struct ResultRow {
  std::string experiment;  ///< of the training
  std::string run;
  std::string config_hash;
  int64_t seed = 0;
  std::string method;
  int64_t members = 0;
  std::string predictor;  ///< ensemble, soup, best, mean or member:3
  std::string dataset;
  std::string split;
  std::string shift;  ///< id, covariate, near, far, semantic
  std::string score;
  std::string metric;
  std::string convention;
  std::string fidelity;
  double value = 0;
  int64_t n = 0;                ///< samples behind the value
  std::string evaluation = {};  ///< evaluate.experiment
  /// Hash of the training's configuration without its seed: the same for all seeds of a training.
  std::string training_hash = {};
  bool operator==(const ResultRow&) const = default;
};

/// The column names, in the order of the file.
const std::vector<std::string>& result_columns();
/// Writes header and rows to a temporary file and renames it: a reader sees the old file or the new
/// one. Called by one rank. Error::kData: folder missing, disk full.
void write_results(const std::string& path, const std::vector<ResultRow>& rows);
/// Whether this column was added later: result files of earlier versions lack it, and their rows
/// read as empty there.
bool is_later_column(const std::string& name);
/// Columns may be in any order; all except later ones are required. Error::kData with path, line,
/// column and what was found.
std::vector<ResultRow> read_results(const std::string& path);

}  // namespace dissent
