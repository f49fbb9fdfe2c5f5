#pragma once
#include <dissent/metrics/diversity.hpp>
#include <dissent/scores/registry.hpp>

#include "comm/communicator.hpp"
#include "evaluate/figures.hpp"

namespace dissent {

/// evaluate.diversity of one ensemble on one set, collected block by block while a pass goes over
/// it. Integers and exact sums, so the same bits for any ranks.
class MemberDiversity {
 public:
  /// labelled: labels are classes of the networks, so figures on right and wrong answers are
  /// computed. Members >= 2.
  MemberDiversity(int64_t members, const std::vector<std::string>& names, bool labelled);
  /// A group without columns whose computation adds its block; outputs hold these units, all
  /// members among them. This object has to outlive the pass.
  ColumnGroup group(const std::vector<int64_t>& units);
  /// Metric "diversity", score the name, in the order of the names; NaN where all pairs are left
  /// out. Collective.
  std::vector<Figure> finish(Communicator& comm);

 private:
  void update(const at::Tensor& logits, const at::Tensor& labels);
  int64_t members_;
  std::vector<std::string> names_;
  bool labelled_;
  metrics::Diversity figures_;
  std::vector<const scores::ScoreInfo*> scores_;
  std::vector<metrics::ExactMean> means_;  // of scores_
  int64_t rows_ = 0;
};

}  // namespace dissent
