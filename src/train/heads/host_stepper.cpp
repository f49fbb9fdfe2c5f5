#include "train/heads/host_stepper.hpp"

#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

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
  at::Tensor flat_gradient;  ///< [P], only where the whole gradient is needed (flatten_gradients)
  double scale = 1;          ///< factor of the gradient, below 1 if it is clipped
  bool skip = false;         ///< no update in this step: the gradient is not finite
};

/// A block of rows of one linear weight of a pair: the unit of work of the update.
struct HostStepper::WeightBlock {
  const Pair* pair;
  const LinearGradient* part;
  RowBlock rows;
};

namespace {

// Largest magnitude; infinity or NaN if any element is not finite.
double largest(const at::Tensor& values) {
  return values.numel() == 0
             ? 0
             : at::norm(values, std::numeric_limits<double>::infinity()).item<double>();
}

// True if an upper bound shows that the gradient dy' x is finite, without computing it:
// |sum over B| <= B max|dy| max|x| stays below the largest float, with room for rounding.
bool surely_finite(const HeadGradient& gradient) {
  for (const auto& part : gradient.linear)
    if (!(largest(part.dy) * largest(part.x) * static_cast<double>(part.dy.size(0)) < FLT_MAX / 4))
      return false;
  for (const auto& part : gradient.vectors)
    if (!std::isfinite(largest(part.value))) return false;
  return true;
}

}  // namespace

HostStepper::HostStepper(HeadMembers& members, Optimizer& optimizer,
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

std::vector<StepResult> HostStepper::run(const std::vector<StepInput>& wave, int64_t updating_epoch,
                                         bool update_members, Request request) {
  // Forward pass of the local members, each on this data rank's rows of its step's batch.
  std::vector<Pair> pairs = forward(wave);

  // A loss couples all active members of its step, so a rank needs the logits of the members on
  // other ranks as well. One gather serves the whole wave: logits are few, and a message costs its
  // latency. Requests travel in the same message.
  std::vector<at::Tensor> pieces;
  for (const auto& pair : pairs) pieces.push_back(pair.logits);
  const auto gathered = gather_logits(*grid_.run, grid_.shape, members_, wave, pieces, request);
  agreed_ = gathered.agreed;

  // L(z_1, ..., z_A) and dL/dz for each step. Every rank that takes part computes them from the
  // same logits [A, B + U, C] in member order, so with the same bits for every split of the
  // members over ranks.
  std::vector<at::Tensor> gradients(wave.size());
  auto results =
      losses_and_gradients(wave, gathered.of_step, updating_epoch, update_members, gradients);
  check_losses(wave, gathered.of_step, results);
  if (!update_members) return results;

  // Chain rule: a member's weights w_a enter L through z_a alone, so dL/dw_a = (dz_a/dw_a)' dL/dz_a
  // with the logits of all other members, local or remote, as constants. The gradient is exact, and
  // nothing is sent back.
  backward(wave, gradients, pairs);

  // The steps of a wave share no member, so the order of their updates does not matter.
  scale_and_check(wave, pairs, results);
  update(wave, pairs);
  return results;
}

at::Tensor HostStepper::probe(const std::vector<StepInput>& wave, int64_t updating_epoch) {
  return probe_gradients({*grid_.run, *grid_.data, grid_.shape, grid_.data_part}, members_,
                         objective_, wave, updating_epoch);
}

std::vector<HostStepper::Pair> HostStepper::forward(const std::vector<StepInput>& wave) const {
  std::vector<Pair> pairs;
  for (const auto& pair : local_pairs(wave, members_))
    pairs.push_back({pair, {}, {}, {}, {}, 1, false});

  // One task per member, which runs on one thread.
  parallel_tasks(static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    pair.logits =
        members_.head->forward(members_.member(pair.member), wave[pair.step].x, &pair.saved);
  });
  return pairs;
}

std::vector<StepResult> HostStepper::losses_and_gradients(
    const std::vector<StepInput>& wave, const std::vector<at::Tensor>& logits,
    int64_t updating_epoch, bool update_members, std::vector<at::Tensor>& gradients) const {
  std::vector<StepResult> results(wave.size());
  parallel_tasks(static_cast<int64_t>(wave.size()), [&](int64_t s) {
    if (logits[s].defined())
      results[s] = differentiate(wave[s], logits[s], updating_epoch, update_members, gradients[s]);
  });
  return results;
}

StepResult HostStepper::differentiate(const StepInput& input, const at::Tensor& logits,
                                      int64_t updating_epoch, bool update,
                                      at::Tensor& gradient) const {
  const auto labelled = static_cast<int64_t>(input.step->rows.size()),
             unlabelled = static_cast<int64_t>(input.step->unlabelled_rows.size());

  // The logits are the leaf of the graph: autograd differentiates the losses, and the heads have
  // backward passes of their own.
  auto leaf = logits.detach();
  leaf.requires_grad_(update);
  std::optional<at::Tensor> unlabelled_logits;
  if (unlabelled > 0) unlabelled_logits = leaf.narrow(1, labelled, unlabelled);
  const auto value =
      objective(leaf.narrow(1, 0, labelled), input.labels, unlabelled_logits,
                input.step->drawn_position, updating_epoch, input.step->index, objective_);

  // The total is a constant as long as no loss is active (every one starts in a later epoch).
  if (update)
    gradient = value.total.requires_grad() ? torch::autograd::grad({value.total}, {leaf})[0]
                                           : at::zeros_like(leaf);

  StepResult result{true, false, value.total.item<double>(), {}};
  for (const auto& term : value.terms) result.losses.push_back(term.item<double>());
  return result;
}

void HostStepper::check_losses(const std::vector<StepInput>& wave,
                               const std::vector<at::Tensor>& logits,
                               const std::vector<StepResult>& results) {
  if (options_.skip_not_finite) return;
  for (size_t s = 0; s < wave.size(); ++s)
    if (results[s].known && !std::isfinite(results[s].total))
      fail(divergence_message({.epoch = wave[s].step->epoch,
                               .step = wave[s].step->index,
                               .found = results[s].total,
                               .members = bad_members(logits[s], wave[s].step->active),
                               .learning_rate = wave[s].learning_rate},
                              objective_.terms, results[s].losses));
}

void HostStepper::backward(const std::vector<StepInput>& wave,
                           const std::vector<at::Tensor>& gradients,
                           std::vector<Pair>& pairs) const {
  parallel_tasks(static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    const auto& input = wave[pair.step];

    // dL/dz has the rows of the whole batch; this data rank has the activations of its part.
    const auto dlogits = part_rows(gradients[pair.step][pair.position],
                                   batch_part(*input.step, grid_.shape.data, grid_.data_part),
                                   static_cast<int64_t>(input.step->rows.size()));

    pair.gradient =
        members_.head->backward(members_.member(pair.member), input.x, pair.saved, dlogits);

    // Activations are freed member by member: whole gradients may need their memory next.
    pair.saved.clear();
  });
}

void HostStepper::flatten_gradients(std::vector<Pair>& pairs) {
  const auto& layout = members_.head->layout();

  // Data ranks add whole gradients, and a norm needs all of their values. Otherwise a gradient is
  // computed in full only if its factors do not prove that it is finite.
  const bool every = grid_.shape.data > 1 || options_.clip_norm > 0;
  parallel_tasks(static_cast<int64_t>(pairs.size()), [&](int64_t i) {
    auto& pair = pairs[i];
    if (!every && surely_finite(pair.gradient)) return;
    pair.flat_gradient = flatten(pair.gradient, layout);
  });

  // The gradient of a batch is the sum over its rows: each data rank has those of its part.
  if (grid_.shape.data > 1)
    for (auto& pair : pairs) grid_.data->all_reduce(pair.flat_gradient, ReduceOp::kSum);
}

// |g|^2 of each pair, [pairs] f64. 0 stands for "finite" where no norm is needed.
at::Tensor HostStepper::squared_norms(const std::vector<Pair>& pairs) {
  auto squares = at::zeros({static_cast<int64_t>(pairs.size())}, at::kDouble);
  auto* square = squares.data_ptr<double>();
  for (size_t i = 0; i < pairs.size(); ++i)
    if (pairs[i].flat_gradient.defined())
      square[i] = pairs[i].flat_gradient.to(at::kDouble).square().sum().item<double>();
  return squares;
}

void HostStepper::scale_and_check(const std::vector<StepInput>& wave, std::vector<Pair>& pairs,
                                  std::vector<StepResult>& results) {
  flatten_gradients(pairs);
  const auto squares = squared_norms(pairs);
  const auto* square = squares.const_data_ptr<double>();

  // Without clipping or skipping, a pair is updated whatever the other gradients of its step are:
  // no message is needed.
  const bool exchange = options_.clip_norm > 0 || options_.skip_not_finite;
  if (!exchange) {
    for (size_t i = 0; i < pairs.size(); ++i)
      if (!std::isfinite(square[i])) fail_gradient(wave, pairs[i], square[i], results);
    return;
  }

  // The gradient of a step is that of all its active members together, so its norm is a sum over
  // ranks: |g|^2 = sum_a |g_a|^2, added in member order for the same bits on each rank. Clipping as
  // torch.nn.utils.clip_grad_norm_: g *= min(1, c / (|g| + 1e-6)).
  const auto sums =
      sum_over_members(*grid_.run, grid_.shape, grid_.data_part, members_, wave, squares);
  for (size_t i = 0; i < pairs.size(); ++i) {
    auto& pair = pairs[i];
    const double norm = std::sqrt(sums[pair.step]);
    pair.skip = options_.skip_not_finite && !std::isfinite(norm);
    // If this member's gradient is finite, the rank with the member that spoils the norm reports.
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
  for (auto& pair : pairs) {
    if (pair.skip) continue;

    // Once per member and step: it advances the step count, from which Adam's bias corrections
    // follow.
    optimizer_.begin_step(pair.member - members_.first);
    if (pair.flat_gradient.defined() && pair.scale < 1) pair.flat_gradient.mul_(pair.scale);
  }

  // The blocks of all pairs form one list of tasks, so that a few members still fill all threads.
  const auto blocks = weight_blocks_of(pairs);
  parallel_tasks(static_cast<int64_t>(blocks.size()), [&](int64_t i) {
    update_block(blocks[i], wave[blocks[i].pair->step].learning_rate);
  });

  for (const auto& pair : pairs)
    if (!pair.skip) update_vectors(pair, wave[pair.step].learning_rate);
}

// The size of a block depends on the shape of the weight alone (models/linear.hpp), so the bits do
// not depend on the number of threads.
std::vector<HostStepper::WeightBlock> HostStepper::weight_blocks_of(
    const std::vector<Pair>& pairs) const {
  // Only weights of linear layers are cut into blocks; biases, norms and scales are short
  // (update_vectors).
  const bool cuda = members_.values.is_cuda();
  std::vector<WeightBlock> blocks;
  for (const auto& pair : pairs) {
    if (pair.skip) continue;
    for (const auto& part : pair.gradient.linear) {
      const auto& shape = members_.head->layout().entry(part.entry).shape;
      const int64_t count = weight_blocks(shape[0], shape[1], cuda);
      for (int64_t index = 0; index < count; ++index)
        blocks.push_back({&pair, &part, weight_block(shape[0], shape[1], cuda, index)});
    }
  }
  return blocks;
}

void HostStepper::update_block(const WeightBlock& block, double learning_rate) {
  const auto& [pair, part, rows] = block;
  const auto& entry = members_.head->layout().entry(part->entry);
  const int64_t slot = pair->member - members_.first;

  // The usual case: product and update in one pass, the gradient never reaches memory.
  if (!pair->flat_gradient.defined()) {
    optimizer_.update_linear(slot, entry, rows.first, rows.count, part->dy, part->x, learning_rate);
    return;
  }

  // The gradient is known already, summed over data ranks or clipped: the block is a part of it.
  const int64_t offset = entry.offset + rows.first * entry.shape[1];
  const auto gradient = pair->flat_gradient.narrow(0, offset, rows.count * entry.shape[1]);
  optimizer_.update(slot, offset, gradient, learning_rate);
}

void HostStepper::update_vectors(const Pair& pair, double learning_rate) {
  for (const auto& part : pair.gradient.vectors) {
    const auto& entry = members_.head->layout().entry(part.entry);
    const auto gradient =
        pair.flat_gradient.defined() ? parameter(pair.flat_gradient, entry) : part.value;
    optimizer_.update(pair.member - members_.first, entry.offset, gradient, learning_rate);
  }
}

}  // namespace dissent
