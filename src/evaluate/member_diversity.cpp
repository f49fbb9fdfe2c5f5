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

bool needs_labels(const std::string& name) {
  const auto& needs = metrics::find_metric(name).needs;
  return std::find(needs.begin(), needs.end(), metrics::MetricNeed::kLabels) != needs.end();
}

}  // namespace

MemberDiversity::MemberDiversity(int64_t members, const std::vector<std::string>& names,
                                 bool labelled)
    : members_(members),
      names_(names),
      labelled_(labelled),
      figures_(members, wants(names, "jensen_shannon")) {
  for (const auto& name : names_)
    if (!find_figure(name)) scores_.push_back(&scores::find_score(name));
  means_.resize(scores_.size());
}

ColumnGroup MemberDiversity::group(const std::vector<int64_t>& units) {
  ColumnGroup group;
  group.values = [this, units](const MemberOutputs& outputs, const at::Tensor& labels) {
    update(unit_rows(outputs.logits, units, all_of(members_)), labels);
    return at::empty({0, labels.size(0)}, at::kDouble);
  };
  return group;
}

void MemberDiversity::update(const at::Tensor& logits, const at::Tensor& labels) {
  if (scores_.size() < names_.size()) figures_.update(logits, labelled_ ? labels : at::Tensor());
  for (size_t s = 0; s < scores_.size(); ++s)
    means_[s].update(scores_[s]->function(logits, scores::InputKind::kLogits));
  rows_ += labels.size(0);
}

std::vector<Figure> MemberDiversity::finish(Communicator& comm) {
  const auto n = merged_state(comm, at::tensor({rows_}, at::kLong)).item<int64_t>();
  DiversityFigures figures;
  if (scores_.size() < names_.size()) {
    figures_.from_state(merged_state(comm, figures_.state()));
    figures = figures_.finish();
  }
  std::vector<double> means;
  for (const auto& mean : means_)
    means.push_back(metrics::ExactMean::from_state(merged_state(comm, mean.state())).finish());
  std::vector<Figure> rows;
  size_t next = 0;
  for (const auto& name : names_) {
    const auto* figure = find_figure(name);
    if (figure && !labelled_ && needs_labels(name)) continue;
    rows.push_back({name, "diversity", figure ? figures.*figure->value : means[next++], n});
  }
  return rows;
}

}  // namespace dissent
