#include "train/heads/host_stepper.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <cfloat>
#include <cmath>

#include "core/parallel.hpp"
#include "models/linear.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/run/divergence.hpp"

namespace dissent {

/// One local member in one step of the wave.
struct HostStepper::Pair : LocalPair {
  at::Tensor logits;  ///< [b + u, C]
  std::vector<at::Tensor> saved;
  HeadGradient gradient;
  at::Tensor flat_gradient;  ///< [P], only where the whole gradient is needed: clipping, split
                             ///< batch, doubt about finiteness
  double scale = 1;          ///< clipping
  bool skip = false;
};

namespace {

// Largest magnitude, or infinity/NaN if any element is not finite.
double largest(const at::Tensor& values) {
  return values.numel() == 0
             ? 0
             : at::norm(values, std::numeric_limits<double>::infinity()).item<double>();
}

// True if dy' x is finite for certain: |sum over B| <= B max|dy| max|x| stays below the largest
// float with room for rounding.
bool surely_finite(const HeadGradient& gradient) {
  for (const auto& part : gradient.linear)
    if (!(largest(part.dy) * largest(part.x) * static_cast<double>(part.dy.size(0)) < FLT_MAX / 4))
      return false;
  for (const auto& part : gradient.vectors)
    if (!std::isfinite(largest(part.value))) return false;
  return true;
}

}  // namespace

HostStepper::HostStepper(MemberStack& members, Optimizer& optimizer,
                         const ObjectiveOptions& objective, const StepperOptions& options,
                         Grid& grid)
    : members_(members),
      optimizer_(optimizer),
      objective_(objective),
      options_(options),
      grid_(grid) {}

void HostStepper::fail(std::string message) {
  if (!failure_) failure_.emplace(ErrorKind::kData, std::move(message), __FILE__, __LINE__);
}

std::vector<StepResult> HostStepper::run(const std::vector<StepInput>& wave, int64_t epoch_of_loss,
                                         bool update_members, Request request) {
  std::vector<Pair> pairs;
  for (const auto& pair : local_pairs(wave, members_))
    pairs.push_back({pair, {}, {}, {}, {}, 1, false});
  forward(wave, pairs);
  std::vector<at::Tensor> pieces;
  for (const auto& pair : pairs) pieces.push_back(pair.logits);
  const auto gathered = gather_logits(*grid_.run, grid_.shape, members_, wave, pieces, request);
  const auto& logits = gathered.of_step;
  agreed_ = gathered.agreed;

  std::vector<StepResult> results(wave.size());
  std::vector<at::Tensor> gradients(wave.size());
  parallel_tasks(static_cast<int64_t>(wave.size()), [&](int64_t s) {
    if (logits[s].defined())
      results[s] = differentiate(wave[s], logits[s], epoch_of_loss, update_members, gradients[s]);
  });
  for (size_t s = 0; s < wave.size(); ++s)
    if (results[s].known && !options_.skip_not_finite && !std::isfinite(results[s].total))
      fail(divergence_message({.epoch = wave[s].step->epoch,
                               .step = wave[s].step->index,
                               .found = results[s].total,
                               .members = bad_members(logits[s], wave[s].step->active),
                               .learning_rate = wave[s].learning_rate},
                              objective_.terms, results[s].losses));
  if (!update_members) return results;
  backward(wave, gradients, pairs);
  judge(wave, pairs, results);
  update(wave, pairs);
  return results;
}

at::Tensor HostStepper::probe(const std::vector<StepInput>& wave, int64_t epoch_of_loss) {
  return probe_gradients({*grid_.run, *grid_.data, grid_.shape, grid_.data_part}, members_,
                         objective_, wave, epoch_of_loss);
}

void HostStepper::forward(const std::vector<StepInput>& wave, std::vector<Pair>& pairs) const {
  parallel_tasks(static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    pair.logits =
        members_.head->forward(members_.member(pair.member), wave[pair.step].x, &pair.saved);
  });
}

StepResult HostStepper::differentiate(const StepInput& input, const at::Tensor& logits,
                                      int64_t epoch_of_loss, bool update,
                                      at::Tensor& gradient) const {
  const auto labelled = static_cast<int64_t>(input.step->rows.size()),
             unlabelled = static_cast<int64_t>(input.step->unlabelled_rows.size());
  auto leaf = logits.detach();
  leaf.requires_grad_(update);
  std::optional<at::Tensor> unlabelled_logits;
  if (unlabelled > 0) unlabelled_logits = leaf.narrow(1, labelled, unlabelled);
  const auto value = objective(leaf.narrow(1, 0, labelled), input.labels, unlabelled_logits,
                               input.step->drawn, epoch_of_loss, input.step->index, objective_);
  if (update)
    gradient = value.total.requires_grad() ? torch::autograd::grad({value.total}, {leaf})[0]
                                           : at::zeros_like(leaf);
  StepResult result{true, false, value.total.item<double>(), {}};
  for (const auto& term : value.terms) result.losses.push_back(term.item<double>());
  return result;
}

void HostStepper::backward(const std::vector<StepInput>& wave,
                           const std::vector<at::Tensor>& gradients,
                           std::vector<Pair>& pairs) const {
  parallel_tasks(static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    const auto& input = wave[pair.step];
    const BatchPart rows = batch_part(*input.step, grid_.shape.data, grid_.data_part);
    const auto& all = gradients[pair.step][pair.position];
    auto dlogits = all.narrow(0, rows.labelled.first, rows.labelled.count);
    if (!input.step->unlabelled_rows.empty())
      dlogits = at::cat(
          {dlogits,
           all.narrow(0, static_cast<int64_t>(input.step->rows.size()) + rows.unlabelled.first,
                      rows.unlabelled.count)});
    pair.gradient = members_.head->backward(members_.member(pair.member), input.x, pair.saved,
                                            dlogits.contiguous());
    pair.saved.clear();
  });
}

void HostStepper::materialise(std::vector<Pair>& pairs) {
  const auto& layout = members_.head->layout();
  const bool every = grid_.shape.data > 1 || options_.clip_norm > 0;
  parallel_tasks(static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    if (!every && surely_finite(pair.gradient)) return;
    pair.flat_gradient = flatten(pair.gradient, layout);
  });
  if (grid_.shape.data > 1)
    for (auto& pair : pairs) grid_.data->all_reduce(pair.flat_gradient, ReduceOp::kSum);
}

void HostStepper::judge(const std::vector<StepInput>& wave, std::vector<Pair>& pairs,
                        std::vector<StepResult>& results) {
  const bool exchange = options_.clip_norm > 0 || options_.skip_not_finite;
  materialise(pairs);

  // Squared norm of each local pair; 0 stands for "finite" where no norm is needed.
  auto squares = at::zeros({static_cast<int64_t>(pairs.size())}, at::kDouble);
  auto* square = squares.data_ptr<double>();
  for (size_t i = 0; i < pairs.size(); ++i)
    if (pairs[i].flat_gradient.defined())
      square[i] = pairs[i].flat_gradient.to(at::kDouble).square().sum().item<double>();
  if (!exchange) {
    for (size_t i = 0; i < pairs.size(); ++i)
      if (!std::isfinite(square[i])) fail_gradient(wave, pairs[i], square[i], results);
    return;
  }

  const auto sums =
      sum_over_members(*grid_.run, grid_.shape, grid_.data_part, members_, wave, squares);
  for (size_t i = 0; i < pairs.size(); ++i) {
    auto& pair = pairs[i];
    const double norm = std::sqrt(sums[pair.step]);
    pair.skip = options_.skip_not_finite && !std::isfinite(norm);
    // Where it is finite here, the rank that holds the other member says so.
    if (!pair.skip && !std::isfinite(square[i])) fail_gradient(wave, pair, square[i], results);
    if (options_.clip_norm > 0) pair.scale = std::min(1.0, options_.clip_norm / (norm + 1e-6));
  }
  for (const auto& pair : pairs)
    if (pair.skip) results[pair.step].skipped = true;
}

void HostStepper::fail_gradient(const std::vector<StepInput>& wave, const Pair& pair, double square,
                                const std::vector<StepResult>& results) {
  const auto& input = wave[pair.step];
  fail(divergence_message(
      {.what = "gradient",
       .epoch = input.step->epoch,
       .step = input.step->index,
       .found = std::sqrt(square),
       .members = fmt::format("the gradient of member {} is not finite", pair.member),
       .learning_rate = input.learning_rate},
      objective_.terms, results[pair.step].losses));
}

void HostStepper::update(const std::vector<StepInput>& wave, std::vector<Pair>& pairs) {
  const auto& layout = members_.head->layout();
  const bool cuda = members_.values.is_cuda();
  // Blocks of all pairs as one list of tasks, so that few members still fill all threads.
  struct Block {
    const Pair* pair;
    const LinearGradient* part;
    int64_t index;
  };
  std::vector<Block> blocks;
  for (auto& pair : pairs) {
    if (pair.skip) continue;
    optimizer_.begin_step(pair.member - members_.first);
    if (pair.flat_gradient.defined()) {
      if (pair.scale < 1) pair.flat_gradient.mul_(pair.scale);
    }
    for (const auto& part : pair.gradient.linear)
      for (int64_t b = 0; b < weight_blocks(layout.entry(part.entry).shape[0],
                                            layout.entry(part.entry).shape[1], cuda);
           ++b)
        blocks.push_back({&pair, &part, b});
  }
  parallel_tasks(static_cast<int64_t>(blocks.size()), [&](int64_t i) {
    const auto& [pair, part, index] = blocks[i];
    const auto& entry = layout.entry(part->entry);
    const auto [first, count] = weight_block(entry.shape[0], entry.shape[1], cuda, index);
    const double rate = wave[pair->step].learning_rate;
    const int64_t slot = pair->member - members_.first;
    if (!pair->flat_gradient.defined()) {
      optimizer_.update_linear(slot, entry, first, count, part->dy, part->x, rate);
    } else {
      const int64_t offset = entry.offset + first * entry.shape[1];
      optimizer_.update(slot, offset, pair->flat_gradient.narrow(0, offset, count * entry.shape[1]),
                        rate);
    }
  });
  for (const auto& pair : pairs) {
    if (pair.skip) continue;
    for (const auto& part : pair.gradient.vectors) {
      const auto& entry = layout.entry(part.entry);
      const auto gradient =
          pair.flat_gradient.defined() ? parameter(pair.flat_gradient, entry) : part.value;
      optimizer_.update(pair.member - members_.first, entry.offset, gradient,
                        wave[pair.step].learning_rate);
    }
  }
}

}  // namespace dissent
