#pragma once
#include <dissent/metrics/reliability.hpp>

#include <cstdint>
#include <deque>
#include <vector>

#include "comm/communicator.hpp"
#include "evaluate/values/metric_values.hpp"

namespace dissent {

/// Metric ece_classwise of the predictors of one ensemble on one set. It needs all probabilities of
/// a row, so it is accumulated block by block during a pass. Integers and exact sums, so the bits
/// do not depend on ranks. Memory: classes * bins * 72 bytes per predictor and scaling.
class ClasswiseErrors {
 public:
  ClasswiseErrors(int64_t classes, const EvaluateOptions& options)
      : classes_(classes), options_(options) {}
  /// A group without columns whose computation adds its block; outputs hold these units. This
  /// object must not move until the pass has ended.
  ColumnGroup group(const std::vector<int64_t>& units, const Predictor& predictor,
                    const Calibrators& calibrators);
  /// Adds a single value kClasswiseError per predictor and scaling, for label_values. Collective.
  void finish(Communicator& comm, SetColumns& columns);

 private:
  struct Entry {
    ColumnKey key;
    metrics::ClasswiseReliability bins;
  };
  int64_t classes_;
  EvaluateOptions options_;
  std::deque<Entry> entries_;  // groups refer to its elements
};

}  // namespace dissent
