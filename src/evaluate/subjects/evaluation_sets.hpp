#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/options.hpp"
#include "evaluate/options.hpp"
#include "evaluate/subjects/evaluation_set.hpp"

namespace dissent {

/// One [[evaluate.sets]] of role test: its files, or one set that pools them.
struct TestSet {
  EvaluateSet spec;
  std::vector<std::unique_ptr<EvaluationSet>> files;
  std::unique_ptr<EvaluationSet>
      calibration;  ///< for the temperature of this set; nullptr: the validation set
  bool labelled() const {
    return spec.shift == Shift::kId || spec.shift == Shift::kCovariate || spec.label >= 0;
  }
};

/// All sets of an evaluation, open.
struct EvaluationSets {
  std::unique_ptr<EvaluationSet> id, validation, fit, validation_ood;  ///< nullptr if not given
  std::string id_name;
  std::vector<TestSet> tests;
  bool chosen_on_test = false;  ///< choices are made on test rows, which is allowed: there is no
                                ///< validation set, or it has the rows of a test set
};

/// The images that a table without paths names.
ImageDataOptions picture_data(const EvaluateSet& spec);

/// The sets of one table: the caches that its paths match, or its images (once, or once per
/// corruption) after its transform, or after `default_transform` if that is "auto". Error::kData:
/// nothing matches, a file is missing or damaged.
std::vector<std::unique_ptr<EvaluationSet>> open_sets(const EvaluateSet& spec,
                                                      const std::string& default_transform);

/// Opens all sets. Error::kUsage if validation has the same rows as a test set and choices on test
/// sets are not allowed. Not collective.
EvaluationSets open_evaluation_sets(const EvaluateConfig& config);

}  // namespace dissent
