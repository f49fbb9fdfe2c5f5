#include "evaluate/values/member_diversity.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <dissent/error.hpp>

#include "evaluate/values/reduce.hpp"

namespace dissent {
namespace {

using metrics::DiversityValues;
using metrics::Metric;

// The metric of this name that is computed from members' logits; nullptr for a score. Metrics come
// first: mutual_information is the name of both.
const metrics::MetricInfo* find_diversity_metric(const std::string& name) {
  for (const auto& metric : metrics::metric_table())
    if (metric.name == name && metric.needs_input(metrics::MetricNeed::kMemberLogits))
      return &metric;
  return nullptr;
}

double value_of(const DiversityValues& values, const metrics::MetricInfo& metric) {
  switch (metric.id) {
    case Metric::kDisagreement: return values.disagreement;
    case Metric::kKl: return values.kl;
    case Metric::kJensenShannon: return values.jensen_shannon;
    case Metric::kVariance: return values.variance;
    case Metric::kMutualInformation: return values.mutual_information;
    case Metric::kTotalEntropy: return values.total_entropy;
    case Metric::kMemberEntropy: return values.member_entropy;
    case Metric::kQStatistic: return values.q_statistic;
    case Metric::kCorrelation: return values.correlation;
    case Metric::kDoubleFault: return values.double_fault;
    case Metric::kUnequalSuccess: return values.unequal_success;
    default: break;
  }
  DISSENT_FAIL(kInternal, "metric {}: expected a metric of diversity", metric.name);
}

ColumnKey diversity_key(const std::string& score) {
  return {.kind = ColumnKind::kDiversity, .score = score};
}

}  // namespace

MemberDiversity::MemberDiversity(int64_t members, const EvaluateOptions& options, bool labelled,
                                 const std::string& classes)
    : members_(members),
      options_(options),
      labelled_(labelled),
      diversity_(members, contains(options.diversity, "jensen_shannon")) {
  // On a set with some of ImageNet's classes SED's release scores the votes of the members.
  if (options.convention == metrics::Convention::kSed && !classes.empty())
    vote_subset_ = &scores::imagenet_subset(classes);
  for (const auto& name : options.diversity) {
    if (find_diversity_metric(name))
      has_metrics_ = true;
    else
      scores_.push_back(&scores::find_score(name));
  }
}

ColumnGroup MemberDiversity::group(const std::vector<int64_t>& units) {
  ColumnGroup group;
  for (const auto* score : scores_) group.keys.push_back(diversity_key(score->name));
  group.values = [this, units](const MemberOutputs& outputs, const at::Tensor& labels) {
    return update(unit_rows(outputs.logits, units, all_of(members_)), labels);
  };
  return group;
}

at::Tensor MemberDiversity::update(const at::Tensor& logits, const at::Tensor& labels) {
  if (has_metrics_) diversity_.update(logits, labelled_ ? labels : at::Tensor());
  rows_ += labels.size(0);

  // Scores read votes as probabilities where SED's release does, else logits.
  auto outputs = logits;
  auto kind = scores::InputKind::kLogits;
  if (vote_subset_ && !scores_.empty()) {
    outputs = scores::subset_outputs(logits, scores::InputKind::kLogits, *vote_subset_,
                                     scores::SubsetRule::kReleased);
    kind = scores::InputKind::kProbabilities;
  }
  auto values = at::empty({static_cast<int64_t>(scores_.size()), labels.size(0)}, at::kDouble);
  for (size_t s = 0; s < scores_.size(); ++s)
    values[static_cast<int64_t>(s)].copy_(scores_[s]->function(outputs, kind));
  return values;
}

std::vector<MetricValue> MemberDiversity::finish(Communicator& comm, const SetColumns& columns) {
  // Ranks saw different rows: their integer states are added.
  const auto n = merged_state(comm, at::tensor({rows_}, at::kLong)).item<int64_t>();
  DiversityValues diversity;
  if (has_metrics_) {
    diversity_.from_state(merged_state(comm, diversity_.state()));
    diversity = diversity_.finish();
  }

  std::vector<MetricValue> values;
  for (const auto& name : options_.diversity) {
    const auto* metric = find_diversity_metric(name);

    // Without labels it is not known which predictions are correct.
    if (metric && !labelled_ && metric->needs_input(metrics::MetricNeed::kLabels)) continue;

    // Scores follow the convention: their columns are averaged over rows, in batches under sed.
    const double value = metric ? value_of(diversity, *metric)
                                : mean_over_rows(columns.at(diversity_key(name)), options_);
    values.push_back({name, "diversity", value, n});
  }
  return values;
}

}  // namespace dissent
