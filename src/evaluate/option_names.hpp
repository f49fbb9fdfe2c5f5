#pragma once
#include <string>

#include "core/option_table.hpp"

// Enumerations of the configuration of `dissent evaluate` and their names in the file.
namespace dissent {

/// How the outputs of the members become the output of the ensemble.
enum class Combine { kMeanLogits, kMeanProbabilities, kProductOfExperts };

/// How a temperature is fitted on the validation set.
enum class TemperatureMethod { kNone, kOptimum, kSdde, kOpenood };

/// How prediction sets are calibrated on the validation set.
enum class ConformalMethod { kNone, kAps, kRaps };

/// What a post-processor on logits reads of an ensemble.
enum class ScoreForm {
  kOutput,             ///< the ensemble's output
  kMeanProbabilities,  ///< the log of the members' mean probabilities
  kMeanScore,          ///< each member; the ensemble gets the mean of the scores
};

/// How features are changed before the last layer. Names are those of post-processors.
enum class Shaping { kNone, kReact, kAshP, kAshB, kAshS, kScale };

/// Predictors whose metric values are reported.
enum class ReportedPredictor { kEnsemble, kSoup, kBest, kMean, kMembers, kGreedy, kGreedySoup };

/// Format of a logits cache.
enum class CacheDtype { kNone, kF32, kF16 };

/// What an evaluation set is used for.
enum class SetRole { kTest, kId, kValidation, kFit, kValidationOod, kCalibration };

/// How an evaluation set differs from the training data.
enum class Shift { kId, kCovariate, kNear, kFar, kSemantic };

/// How the labels of a set with some of ImageNet's classes are numbered.
enum class LabelNumbers { kSubset, kAll };

/// The names of an enumeration in the order of the docs. Specialised for each of the above.
template <class Enum>
const Names<Enum>& option_names();

template <class Enum>
const std::string& option_name(Enum value) {
  static const std::string none;
  for (const auto& [name, known] : option_names<Enum>())
    if (known == value) return name;
  return none;  // Shaping::kNone, which no list in a file holds
}

template <>
const Names<Combine>& option_names();
template <>
const Names<TemperatureMethod>& option_names();
template <>
const Names<ConformalMethod>& option_names();
template <>
const Names<ScoreForm>& option_names();
template <>
const Names<Shaping>& option_names();
template <>
const Names<ReportedPredictor>& option_names();
template <>
const Names<CacheDtype>& option_names();
template <>
const Names<SetRole>& option_names();
template <>
const Names<Shift>& option_names();
template <>
const Names<LabelNumbers>& option_names();

}  // namespace dissent
