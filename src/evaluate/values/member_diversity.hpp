#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include <dissent/metrics/diversity.hpp>
#include <dissent/metrics/registry.hpp>
#include <dissent/scores/imagenet_subset.hpp>
#include <dissent/scores/registry.hpp>

#include "comm/communicator.hpp"
#include "evaluate/values/metric_values.hpp"

namespace dissent {

/// evaluate.diversity of one ensemble on one set, accumulated block by block during a pass.
/// Integers and exact sums, so the bits do not depend on ranks.
///
/// Scores (different_predictions, pds) are columns whose mean is reported. Under convention sed
/// they follow its release: on a set with some of ImageNet's classes they read the members' one-hot
/// votes (votes_in_subset), and the mean is the mean of the means of evaluate.batch_rows rows. The
/// other values read the members' logits over all classes.
class MemberDiversity {
 public:
  /// labelled: labels are classes of the networks, so values of correct and wrong predictions are
  /// computed. `classes`: evaluate.sets.classes of the set, or "". Members >= 2.
  MemberDiversity(int64_t members, const EvaluateOptions& options, bool labelled,
                  const std::string& classes);
  /// A group with one column per score whose computation adds its block; outputs hold these units,
  /// all members among them. This object has to outlive the pass.
  ColumnGroup group(const std::vector<int64_t>& units);
  /// Metric "diversity", score the name, in the order of the names; NaN if all pairs are omitted.
  /// `columns`: of the pass. Collective.
  std::vector<MetricValue> finish(Communicator& comm, const SetColumns& columns);

 private:
  at::Tensor update(const at::Tensor& logits, const at::Tensor& labels);
  int64_t members_;
  const EvaluateOptions& options_;
  bool labelled_;
  const scores::ImagenetSubset* vote_subset_ = nullptr;  // whose classes members vote for
  metrics::Diversity diversity_;
  bool has_metrics_ = false;  // whether any name is a metric, not a score
  std::vector<const scores::ScoreInfo*> scores_;
  int64_t rows_ = 0;
};

}  // namespace dissent
