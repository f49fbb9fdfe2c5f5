#include "train/heads/gradient_probe.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numbers>
#include <optional>
#include <set>

#include "core/divide_up.hpp"
#include "core/parallel.hpp"
#include "train/heads/logit_exchange.hpp"

namespace dissent {
namespace {

// At most one step in this many is probed: a probe costs about 2.5 steps.
constexpr int64_t kStepsPerSample = 64;

// Runs tasks in parallel on the host. Work for a GPU is queued on this thread's stream, one member
// after the other.
void for_each(const HeadMembers& members, int64_t count, const std::function<void(int64_t)>& task) {
  if (members.values.is_cpu()) return parallel_tasks(count, task);
  for (int64_t i = 0; i < count; ++i) task(i);
}

at::Tensor gradient_of(const at::Tensor& value, const at::Tensor& leaf) {
  return value.requires_grad() ? torch::autograd::grad({value}, {leaf}, {}, true)[0]
                               : at::zeros_like(leaf);
}

// Derivatives of the base losses and of the diversity losses with respect to a step's logits
// [A, B + U, C].
std::array<at::Tensor, 2> logit_gradients(const at::Tensor& logits, const StepInput& input,
                                          int64_t epoch, const ObjectiveOptions& options) {
  const auto labelled = static_cast<int64_t>(input.step->rows.size()),
             unlabelled = static_cast<int64_t>(input.step->unlabelled_rows.size());
  auto leaf = logits.detach();
  leaf.requires_grad_(true);

  std::optional<at::Tensor> unlabelled_logits;
  if (unlabelled > 0) unlabelled_logits = leaf.narrow(1, labelled, unlabelled);

  // The objective keeps the sums of both kinds apart, so one graph gives both derivatives.
  const auto value = objective(leaf.narrow(1, 0, labelled), input.labels, unlabelled_logits,
                               input.step->drawn_position, epoch, input.step->index, options);
  return {gradient_of(value.base, leaf), gradient_of(value.diversity, leaf)};
}

// A local pair, its activations, and its gradients of both kinds of losses as flat vectors [P].
struct ProbedPair : LocalPair {
  std::vector<at::Tensor> saved;
  std::array<at::Tensor, 2> gradients;
};

// Forward pass of the pairs: logits [b + u, C] of each.
std::vector<at::Tensor> probe_forward(const HeadMembers& members,
                                      const std::vector<StepInput>& wave,
                                      std::vector<ProbedPair>& pairs) {
  std::vector<at::Tensor> logits(pairs.size());
  for_each(members, static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    logits[i] = members.head->forward(members.member(pair.member), wave[pair.step].x, &pair.saved);
  });
  return logits;
}

// Backward pass of a pair from this data rank's rows of dL/dz, once for each kind of loss.
void probe_backward(const ProbeGroups& groups, const HeadMembers& members, const StepInput& input,
                    const std::array<at::Tensor, 2>& logit_gradients, ProbedPair& pair) {
  const auto& step = *input.step;
  const BatchPart rows = batch_part(step, groups.shape.data, groups.data_part);
  for (size_t kind = 0; kind < 2; ++kind) {
    const auto dlogits = part_rows(logit_gradients[kind][pair.position], rows,
                                   static_cast<int64_t>(step.rows.size()));
    pair.gradients[kind] =
        flatten(members.head->backward(members.member(pair.member), input.x, pair.saved, dlogits),
                members.head->layout());
  }
}

}  // namespace

bool has_both_kinds(const ObjectiveOptions& objective) {
  const auto base = [](const auto& term) {
    return losses::find_loss(term.name).kind == losses::LossKind::kBase;
  };
  return std::any_of(objective.terms.begin(), objective.terms.end(), base) &&
         !std::all_of(objective.terms.begin(), objective.terms.end(), base);
}

at::Tensor probe_gradients(const ProbeGroups& groups, const HeadMembers& members,
                           const ObjectiveOptions& options, const std::vector<StepInput>& wave,
                           int64_t updating_epoch) {
  std::vector<ProbedPair> pairs;
  for (const auto& pair : local_pairs(wave, members)) pairs.push_back({pair, {}, {}});
  const auto count = static_cast<int64_t>(pairs.size());

  // As in a training step: the losses need the logits of all active members.
  const auto logits = probe_forward(members, wave, pairs);
  const auto whole =
      gather_logits(groups.run, groups.shape, members, wave, logits, Request::kNone).of_step;
  std::vector<std::array<at::Tensor, 2>> of_logits(wave.size());
  for (size_t s = 0; s < wave.size(); ++s)
    if (whole[s].defined())
      of_logits[s] = logit_gradients(whole[s], wave[s], updating_epoch, options);

  // Weight gradients, summed over the data ranks, which each have a part of the rows.
  for_each(members, count, [&](int64_t i) {
    auto& pair = pairs[i];
    probe_backward(groups, members, wave[pair.step], of_logits[pair.step], pair);
  });
  if (groups.shape.data > 1)
    for (auto& pair : pairs)
      for (auto& gradient : pair.gradients) groups.data.all_reduce(gradient, ReduceOp::kSum);

  // In f64: sums over all weights of f32 products would lose digits, and with them small angles.
  auto values = at::zeros({count, 3}, at::kDouble);
  for_each(members, count, [&](int64_t i) {
    const auto g = pairs[i].gradients[0].to(at::kDouble), h = pairs[i].gradients[1].to(at::kDouble);
    values[i].copy_(at::stack({g.dot(g), h.dot(h), g.dot(h)}));
  });
  return values;
}

std::vector<int64_t> probed_steps(const std::vector<Step>& steps, int64_t members,
                                  int64_t samples) {
  // With round-robin or few active members the members train in different steps, so each has
  // samples of its own. A step that several members choose is probed once.
  std::vector<std::vector<int64_t>> of_member(members);
  for (size_t s = 0; s < steps.size(); ++s)
    for (const int64_t member : steps[s].active)
      of_member[member].push_back(static_cast<int64_t>(s));

  // The steps of a member are cut into `count` equal pieces, and the middle one of each is taken.
  std::set<int64_t> chosen;
  for (const auto& own : of_member) {
    if (own.empty()) continue;
    const auto count =
        std::min<int64_t>(samples, divide_up(static_cast<int64_t>(own.size()), kStepsPerSample));
    for (int64_t k = 0; k < count; ++k) chosen.insert(own[(2 * k + 1) * own.size() / (2 * count)]);
  }
  return {chosen.begin(), chosen.end()};
}

std::vector<GradientValues> gradient_values(const at::Tensor& probes,
                                            const std::vector<int64_t>& probed,
                                            const std::vector<Step>& steps, int64_t members) {
  struct Sums {
    double base = 0, diversity = 0, angle = 0;
    int64_t count = 0, angles = 0;
  };
  std::vector<Sums> sums(members);

  // angle = acos(<g, h> / (|g| |h|)), where both gradients have a direction.
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

  // Means; 0 / 0 = NaN for a member without a probed step.
  std::vector<GradientValues> means;
  for (const auto& sum : sums) {
    const auto count = static_cast<double>(sum.count);
    means.push_back(
        {sum.base / count, sum.diversity / count, sum.angle / static_cast<double>(sum.angles)});
  }
  return means;
}

}  // namespace dissent
