#pragma once
#include <dissent/metrics/reliability.hpp>

#include <deque>

#include "comm/communicator.hpp"
#include "evaluate/figures.hpp"

namespace dissent {

/// Metric ece_classwise of the predictors of one ensemble on one set: it needs all probabilities of
/// a row, so it is collected block by block while a pass goes over the set. Integers and exact
/// sums, so the same bits for any ranks. Memory: classes * bins * 72 bytes a predictor and scaling.
class ClasswiseErrors {
 public:
  ClasswiseErrors(int64_t classes, const EvaluateOptions& options)
      : classes_(classes), options_(options) {}
  /// A group without columns whose computation adds its block; outputs hold these units. This
  /// object has to stay where it is until the pass is over.
  ColumnGroup group(const std::vector<int64_t>& units, const Predictor& predictor,
                    const Calibrators& calibrators);
  /// Adds "<predictor>|ece_classwise", and again with "@T" and "@V", one value each, for
  /// label_figures. Collective.
  void finish(Communicator& comm, SetColumns& columns);

 private:
  struct Entry {
    std::string key;
    metrics::ClasswiseReliability bins;
  };
  int64_t classes_;
  EvaluateOptions options_;
  std::deque<Entry> entries_;  // groups refer to its elements
};

}  // namespace dissent
