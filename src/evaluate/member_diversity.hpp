#pragma once
#include <dissent/metrics/diversity.hpp>
#include <dissent/scores/imagenet_subset.hpp>
#include <dissent/scores/registry.hpp>

#include "comm/communicator.hpp"
#include "evaluate/figures.hpp"

namespace dissent {

/// evaluate.diversity of one ensemble on one set, collected block by block while a pass goes over
/// it. Integers and exact sums, so the same bits for any ranks.
///
/// Scores (different_predictions, pds) are columns whose mean is reported. Under convention sed
/// they are as in its release: of a set with some of ImageNet's classes they read the members'
/// one-hot votes (votes_in_subset), and the mean is that of the means of evaluate.batch_rows rows.
/// The other figures read the members' logits over all classes.
class MemberDiversity {
 public:
  /// labelled: labels are classes of the networks, so figures on right and wrong answers are
  /// computed. `classes`: evaluate.sets.classes of the set, or "". Members >= 2.
  MemberDiversity(int64_t members, const EvaluateOptions& options, bool labelled,
                  const std::string& classes);
  /// A group with a column a score whose computation adds its block; outputs hold these units, all
  /// members among them. This object has to outlive the pass.
  ColumnGroup group(const std::vector<int64_t>& units);
  /// Metric "diversity", score the name, in the order of the names; NaN where all pairs are left
  /// out. `columns`: of the pass. Collective.
  std::vector<Figure> finish(Communicator& comm, const SetColumns& columns);

 private:
  at::Tensor update(const at::Tensor& logits, const at::Tensor& labels);
  int64_t members_;
  const EvaluateOptions& options_;
  bool labelled_;
  const scores::ImagenetSubset* votes_ = nullptr;  // whose classes members vote for
  metrics::Diversity figures_;
  std::vector<const scores::ScoreInfo*> scores_;
  int64_t rows_ = 0;
};

}  // namespace dissent
