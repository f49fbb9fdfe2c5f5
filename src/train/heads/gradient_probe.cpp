#include "train/heads/gradient_probe.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "core/parallel.hpp"
#include "train/heads/logit_exchange.hpp"

namespace dissent {
namespace {

constexpr int64_t kStepsOfSample =
    64;  // at most one step in so many: looking costs about 2.5 steps

// A GPU's work goes onto the stream of this thread, one member after the other.
void for_each(const MemberStack& members, int64_t count, const std::function<void(int64_t)>& task) {
  if (members.values.is_cpu()) return parallel_tasks(count, task);
  for (int64_t i = 0; i < count; ++i) task(i);
}

at::Tensor gradient_of(const at::Tensor& value, const at::Tensor& leaf) {
  return value.requires_grad() ? torch::autograd::grad({value}, {leaf}, {}, true)[0]
                               : at::zeros_like(leaf);
}

// Derivatives of the base losses and of the others with respect to a step's logits [A, B + U, C].
std::array<at::Tensor, 2> logit_gradients(const at::Tensor& logits, const StepInput& input,
                                          int64_t epoch, const ObjectiveOptions& options) {
  const auto labelled = static_cast<int64_t>(input.step->rows.size()),
             unlabelled = static_cast<int64_t>(input.step->unlabelled_rows.size());
  auto leaf = logits.detach();
  leaf.requires_grad_(true);
  std::optional<at::Tensor> unlabelled_logits;
  if (unlabelled > 0) unlabelled_logits = leaf.narrow(1, labelled, unlabelled);
  const auto value = objective(leaf.narrow(1, 0, labelled), input.labels, unlabelled_logits,
                               input.step->drawn, epoch, input.step->index, options);
  return {gradient_of(value.base, leaf), gradient_of(value.diversity, leaf)};
}

}  // namespace

bool has_both_kinds(const ObjectiveOptions& objective) {
  const auto base = [](const auto& term) {
    return losses::find_loss(term.name).kind == losses::LossKind::kBase;
  };
  return std::any_of(objective.terms.begin(), objective.terms.end(), base) &&
         !std::all_of(objective.terms.begin(), objective.terms.end(), base);
}

at::Tensor probe_gradients(const ProbeGroups& groups, const MemberStack& members,
                           const ObjectiveOptions& options, const std::vector<StepInput>& wave,
                           int64_t epoch_of_loss) {
  const auto pairs = local_pairs(wave, members);
  const auto count = static_cast<int64_t>(pairs.size());
  std::vector<at::Tensor> logits(pairs.size());
  std::vector<std::vector<at::Tensor>> saved(pairs.size());
  for_each(members, count, [&](int64_t i) {
    logits[i] =
        members.head->forward(members.member(pairs[i].member), wave[pairs[i].step].x, &saved[i]);
  });
  const auto whole =
      gather_logits(groups.run, groups.shape, members, wave, logits, Request::kNone).of_step;
  std::vector<std::array<at::Tensor, 2>> gradients(wave.size());
  for (size_t s = 0; s < wave.size(); ++s)
    if (whole[s].defined())
      gradients[s] = logit_gradients(whole[s], wave[s], epoch_of_loss, options);

  std::vector<std::array<at::Tensor, 2>> flats(pairs.size());
  for_each(members, count, [&](int64_t i) {
    const auto& pair = pairs[i];
    const auto& step = *wave[pair.step].step;
    const BatchPart rows = batch_part(step, groups.shape.data, groups.data_part);
    for (size_t part = 0; part < 2; ++part) {
      const auto& all = gradients[pair.step][part][pair.position];
      const auto mine =
          at::cat({all.narrow(0, rows.labelled.first, rows.labelled.count),
                   all.narrow(0, static_cast<int64_t>(step.rows.size()) + rows.unlabelled.first,
                              rows.unlabelled.count)});
      flats[i][part] = flatten(
          members.head->backward(members.member(pair.member), wave[pair.step].x, saved[i], mine),
          members.head->layout());
    }
  });
  if (groups.shape.data > 1)
    for (auto& both : flats)
      for (auto& flat : both) groups.data.all_reduce(flat, ReduceOp::kSum);
  auto figures = at::zeros({count, 3}, at::kDouble);
  for_each(members, count, [&](int64_t i) {
    const auto g = flats[i][0].to(at::kDouble), h = flats[i][1].to(at::kDouble);
    figures[i].copy_(at::stack({g.dot(g), h.dot(h), g.dot(h)}));
  });
  return figures;
}

std::vector<int64_t> probed_steps(const std::vector<Step>& steps, int64_t members,
                                  int64_t samples) {
  std::vector<std::vector<int64_t>> of_member(members);
  for (size_t s = 0; s < steps.size(); ++s)
    for (const int64_t member : steps[s].active)
      of_member[member].push_back(static_cast<int64_t>(s));
  std::set<int64_t> chosen;
  for (const auto& own : of_member) {
    if (own.empty()) continue;
    const auto count = std::min<int64_t>(
        samples, static_cast<int64_t>(own.size() + kStepsOfSample - 1) / kStepsOfSample);
    for (int64_t k = 0; k < count; ++k) chosen.insert(own[(2 * k + 1) * own.size() / (2 * count)]);
  }
  return {chosen.begin(), chosen.end()};
}

std::vector<GradientFigures> gradient_figures(const at::Tensor& probes,
                                              const std::vector<int64_t>& probed,
                                              const std::vector<Step>& steps, int64_t members) {
  struct Sums {
    double base = 0, diversity = 0, angle = 0;
    int64_t count = 0, angles = 0;
  };
  std::vector<Sums> sums(members);
  const auto value = probes.accessor<double, 3>();
  for (size_t row = 0; row < probed.size(); ++row) {
    const auto& active = steps[probed[row]].active;
    for (size_t a = 0; a < active.size(); ++a) {
      const auto v = value[static_cast<int64_t>(row)][static_cast<int64_t>(a)];
      auto& sum = sums[active[a]];
      const double base = std::sqrt(v[0]), diversity = std::sqrt(v[1]);
      sum.base += base;
      sum.diversity += diversity;
      ++sum.count;
      if (!(base > 0 && diversity > 0)) continue;
      sum.angle +=
          std::acos(std::clamp(v[2] / (base * diversity), -1.0, 1.0)) * 180 / std::numbers::pi;
      ++sum.angles;
    }
  }
  std::vector<GradientFigures> figures;
  for (const auto& sum : sums) {
    const auto count = static_cast<double>(sum.count);
    figures.push_back(
        {sum.base / count, sum.diversity / count, sum.angle / static_cast<double>(sum.angles)});
  }
  return figures;
}

}  // namespace dissent
