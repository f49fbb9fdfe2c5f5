#pragma once
#include <dissent/metrics/registry.hpp>

#include <algorithm>
#include <any>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/options.hpp"
#include "data/options.hpp"
#include "data/transforms/corruption.hpp"
#include "evaluate/option_names.hpp"
#include "evaluate/outputs/set_outputs.hpp"

namespace dissent {

/// The value of a set's key corruption that selects each of them in turn.
inline constexpr const char* kAllCorruptions = "all";

/// [evaluate]. Keys, meanings and ranges: evaluate_table().
struct EvaluateOptions {
  std::string experiment = "evaluation";
  std::vector<std::string> runs;
  std::string id;
  std::string id_name;
  std::string transform = kAutoTransform;
  std::string validation;
  std::string fit;
  std::vector<std::string> scores{"msp", "pds"};
  std::vector<Shaping> shaping;
  std::vector<ScoreForm> score_of{ScoreForm::kOutput};
  std::vector<ReportedPredictor> predictors{ReportedPredictor::kEnsemble, ReportedPredictor::kSoup,
                                            ReportedPredictor::kMean};
  std::vector<std::string> metrics{"accuracy", "auroc"};
  Combine combine = Combine::kMeanLogits;
  std::vector<double> weights;
  TemperatureMethod temperature = TemperatureMethod::kNone;
  bool temperature_in_scores = false;
  bool vector_scaling = false;
  ConformalMethod conformal = ConformalMethod::kNone;
  double conformal_level = 0.9;
  int64_t bins = 15;
  int64_t batch_rows = 64;
  bool search = false;
  bool allow_test_selection = false;
  int64_t sub_ensembles = 0;
  bool full_spectrum = false;
  std::vector<std::string> diversity;
  std::vector<std::string> compare;
  int64_t saliency = 0;
  bool plots = false;
  metrics::Convention convention = metrics::Convention::kSklearn;
  int64_t block_rows = 1024;
  CacheDtype logits_cache = CacheDtype::kNone;
  std::string work;
  std::string output = "results";
};

/// [[evaluate.sets]]. Keys, meanings and ranges: evaluate_set_table().
struct EvaluateSet {
  std::string name;
  SetRole role = SetRole::kTest;
  Shift shift = Shift::kFar;
  std::vector<std::string> paths;
  int64_t count = 0;
  std::string list;
  std::string root;
  std::string dataset;
  std::string transform = kAutoTransform;
  std::string split = "test";
  std::string rows;
  std::optional<int64_t> ignore_label;
  bool allow_empty = false;
  std::string background = kNoneSelected;
  std::string corruption = kNoCorruption;
  int64_t severity = 1;
  bool as_stored = false;
  bool pool = false;
  std::string calibration;
  std::string classes;
  LabelNumbers labels = LabelNumbers::kSubset;
  int64_t label = -1;
};

/// [score.<name>], the options of one post-processor.
struct ScoreTable {
  bool present = false;
  std::any options;  ///< the struct of the post-processor
};

/// The configuration of `dissent evaluate`, except [runtime].
struct EvaluateConfig {
  EvaluateOptions evaluate;
  std::vector<EvaluateSet> sets;
  std::vector<ScoreTable> scores =
      default_scores();  ///< in the order of scores::postprocessor_table()

  /// One table per post-processor with its default options, not present.
  static std::vector<ScoreTable> default_scores();
  /// The options that decide how outputs are computed and cached.
  OutputOptions outputs() const {
    return {evaluate.block_rows, evaluate.logits_cache, evaluate.work};
  }
};

/// The keys of [evaluate] and of [[evaluate.sets]], in the order of the docs and of the
/// configuration's hash.
const TableSpec& evaluate_table();
const TableSpec& evaluate_set_table();
/// One table per post-processor, in the order of scores::postprocessor_table(), bound to
/// ScoreTable; without keys if the post-processor has no options.
const std::vector<TableSpec>& score_option_tables();

/// A contradiction in the configuration: key ("evaluate.weights") and message.
struct EvaluateConflict {
  std::string key, message;
};
/// All contradictions that are visible without opening a file; empty: none.
std::vector<EvaluateConflict> conflicts(const EvaluateConfig& config);

/// Whether a list holds this value.
template <class T, class U>
bool contains(const std::vector<T>& list, const U& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

/// Paths that match shell patterns, in the order of the patterns, sorted within each. Error::kData
/// naming a pattern without a match; Error::kUsage naming a path that two patterns match.
std::vector<std::string> expand_paths(const std::vector<std::string>& patterns);

}  // namespace dissent
