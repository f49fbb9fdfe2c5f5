#include "evaluate/member_diversity.hpp"

#include <dissent/error.hpp>
#include <dissent/metrics/registry.hpp>

#include "evaluate/reduce.hpp"

namespace dissent {
namespace {

using metrics::DiversityFigures;

struct NamedFigure {
  const char* name;
  double DiversityFigures::* value;
};

constexpr NamedFigure kFigures[] = {
    {"disagreement", &DiversityFigures::disagreement},
    {"kl", &DiversityFigures::kl},
    {"jensen_shannon", &DiversityFigures::jensen_shannon},
    {"variance", &DiversityFigures::variance},
    {"mutual_information", &DiversityFigures::mutual_information},
    {"total_entropy", &DiversityFigures::total_entropy},
    {"member_entropy", &DiversityFigures::member_entropy},
    {"q_statistic", &DiversityFigures::q_statistic},
    {"correlation", &DiversityFigures::correlation},
    {"double_fault", &DiversityFigures::double_fault},
    {"unequal_success", &DiversityFigures::unequal_success},
};

const NamedFigure* find_figure(const std::string& name) {
  const auto* found = std::find_if(std::begin(kFigures), std::end(kFigures),
                                   [&](const auto& figure) { return figure.name == name; });
  return found == std::end(kFigures) ? nullptr : found;
}

std::string column_of_diversity(const std::string& score) { return "diversity|" + score; }

bool needs_labels(const std::string& name) {
  const auto& needs = metrics::find_metric(name).needs;
  return std::find(needs.begin(), needs.end(), metrics::MetricNeed::kLabels) != needs.end();
}

}  // namespace

MemberDiversity::MemberDiversity(int64_t members, const EvaluateOptions& options, bool labelled,
                                 const std::string& classes)
    : members_(members),
      options_(options),
      labelled_(labelled),
      figures_(members, wants(options.diversity, "jensen_shannon")) {
  if (options.convention == "sed" && !classes.empty()) votes_ = &scores::imagenet_subset(classes);
  for (const auto& name : options.diversity)
    if (!find_figure(name)) scores_.push_back(&scores::find_score(name));
}

ColumnGroup MemberDiversity::group(const std::vector<int64_t>& units) {
  ColumnGroup group;
  for (const auto* score : scores_) group.keys.push_back(column_of_diversity(score->name));
  group.values = [this, units](const MemberOutputs& outputs, const at::Tensor& labels) {
    return update(unit_rows(outputs.logits, units, all_of(members_)), labels);
  };
  return group;
}

at::Tensor MemberDiversity::update(const at::Tensor& logits, const at::Tensor& labels) {
  if (scores_.size() < options_.diversity.size())
    figures_.update(logits, labelled_ ? labels : at::Tensor());
  rows_ += labels.size(0);
  const auto kind = votes_ ? scores::InputKind::kProbabilities : scores::InputKind::kLogits;
  const auto read = votes_ && !scores_.empty()
                        ? scores::subset_outputs(logits, scores::InputKind::kLogits, *votes_,
                                                 scores::SubsetRule::kReleased)
                        : logits;
  auto values = at::empty({static_cast<int64_t>(scores_.size()), labels.size(0)}, at::kDouble);
  for (size_t s = 0; s < scores_.size(); ++s)
    values[static_cast<int64_t>(s)].copy_(scores_[s]->function(read, kind));
  return values;
}

std::vector<Figure> MemberDiversity::finish(Communicator& comm, const SetColumns& columns) {
  const auto n = merged_state(comm, at::tensor({rows_}, at::kLong)).item<int64_t>();
  DiversityFigures figures;
  if (scores_.size() < options_.diversity.size()) {
    figures_.from_state(merged_state(comm, figures_.state()));
    figures = figures_.finish();
  }
  std::vector<Figure> rows;
  for (const auto& name : options_.diversity) {
    const auto* figure = find_figure(name);
    if (figure && !labelled_ && needs_labels(name)) continue;
    const double value = figure ? figures.*figure->value
                                : mean_over_rows(columns.at(column_of_diversity(name)), options_);
    rows.push_back({name, "diversity", value, n});
  }
  return rows;
}

}  // namespace dissent
