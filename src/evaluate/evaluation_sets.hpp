#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/options.hpp"
#include "evaluate/evaluation_set.hpp"
#include "evaluate/options.hpp"

namespace dissent {

/// One [[evaluate.sets]] that is tested: its files, or one that pools them.
struct TestSet {
  EvaluateSet spec;
  std::vector<std::unique_ptr<EvaluationSet>> files;
  std::unique_ptr<EvaluationSet> calibration;  ///< for its temperature; nullptr: the validation set
  bool labelled() const {
    return spec.shift == "id" || spec.shift == "covariate" || spec.label >= 0;
  }
};

/// All sets of an evaluation, open.
struct EvaluationSets {
  std::unique_ptr<EvaluationSet> id, validation, fit, validation_ood;  ///< nullptr where not given
  std::string id_name;
  std::vector<TestSet> tests;
  bool chosen_on_test = false;  ///< choices are made on test rows (and that is allowed): there is
                                ///< no validation set, or it holds the rows of a test set
};

/// The pictures that a table names (of one without paths).
ImageDataOptions picture_data(const EvaluateSet& spec);

/// The sets of one table: the caches that its paths match, or its pictures (once, or once a
/// corruption) through its transform, else through `of_all`. Error::kData: nothing matches, a file
/// is missing or damaged.
std::vector<std::unique_ptr<EvaluationSet>> open_sets(const EvaluateSet& spec,
                                                      const std::string& of_all);

/// Opens all. Error::kUsage if validation holds the same rows as a test set and choices there are
/// not allowed. Not collective.
EvaluationSets open_evaluation_sets(const EvaluateConfig& config);

}  // namespace dissent
