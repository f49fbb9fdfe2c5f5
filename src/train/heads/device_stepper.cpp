#include "train/heads/device_stepper.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "comm/device.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/run/divergence.hpp"

namespace dissent {
namespace {

// Columns of a step's values: the total loss, whether the step was skipped, each term.
enum ResultColumn : int64_t { kTotal, kSkipped, kTerms };
constexpr size_t kResultsTogether = 64;  // waves between two reads from the device
constexpr int kRunsBeforeGraph = 2;      // so that libraries have allocated their workspaces

// Copies tensors into the rows of a tensor on a device. Tensors of the host are gathered in pinned
// memory first: then one asynchronous copy is enough.
void copy_rows_to(const at::Tensor& target, const std::vector<at::Tensor>& rows) {
  const bool from_host = rows[0].device() != target.device();
  const auto gathered =
      from_host ? at::empty(target.sizes(),
                            target.options().device(at::kCPU).pinned_memory(target.is_cuda()))
                : target;

  for (size_t i = 0; i < rows.size(); ++i) gathered[static_cast<int64_t>(i)].copy_(rows[i]);
  if (from_host) target.copy_(gathered, /*non_blocking=*/true);
}

// Place of a member in its step once the drawn one has been moved to the front.
int64_t position_after_drawn(int64_t position, int64_t drawn) {
  if (position == drawn) return 0;
  return position < drawn ? position + 1 : position;
}

std::vector<LateResult> late_of(const std::vector<const StepInput*>& inputs) {
  std::vector<LateResult> results;
  for (const auto* input : inputs) results.push_back({input->step->index, input->step->active, {}});
  return results;
}

}  // namespace

/// A piece of work of one shape. Inputs and outputs have fixed addresses, so that it can be
/// recorded as a graph.
struct DeviceStepper::Work {
  Shape shape;
  at::Tensor x;        // [S, b + u, D] in the compute dtype
  at::Tensor labels;   // [S, B] i64
  at::Tensor numbers;  // [4 n] i64: the next four, so that one copy fills them
  at::Tensor slots;    // [n] position of the pair's member in this rank's stack
  at::Tensor step_of;  // [n] 0 .. S - 1
  at::Tensor place;    // [n] step_of * A + position among the active members
  at::Tensor rates;    // [n] f64 learning rates, the bits of the last n numbers
  at::Tensor scales;   // [n] f64 factor of each gradient
  at::Tensor values;   // [S, kTerms + terms] f64
  std::vector<int64_t> drawn;
  int64_t first_step = 0;  // index in the epoch: decides which losses are on
  int runs = 0;
  bool recordable = true;
  std::unique_ptr<DeviceGraph> graph;
};

DeviceStepper::DeviceStepper(HeadMembers& members, Optimizer& optimizer,
                             const ObjectiveOptions& objective, const DeviceStepperOptions& options,
                             Grid& grid)
    : members_(members),
      optimizer_(optimizer),
      objective_(objective),
      options_(options),
      grid_(grid) {
  // In device memory: logits and norms are exchanged over the run, gradients over the data ranks.
  const auto device = members.values.device();
  device_run_ = make_device_communicator(*grid.run, device);
  device_data_ = make_device_communicator(*grid.data, device);

  // A recorded graph cannot contain the exchange with other ranks: several ranks train without one.
  if (!device.is_cuda() || !single_rank() || !options.graphs) return;
  try {
    pool_ = std::make_unique<GraphPool>(device);
  } catch (const Error& error) {
    spdlog::warn("event=no_graph reason=\"{}\"", error.what());
  }
}

DeviceStepper::~DeviceStepper() = default;

std::vector<StepResult> DeviceStepper::run(const std::vector<StepInput>& wave,
                                           int64_t updating_epoch, bool update, Request request) {
  // One batched product needs batches of one size, and one recorded graph needs one set of losses.
  // So the short batch at the end of an epoch, for example, is computed separately.
  std::map<std::tuple<size_t, size_t, uint64_t>, std::vector<StepInput>> parts;
  for (const auto& input : wave)
    parts[{input.step->rows.size(), input.step->unlabelled_rows.size(),
           terms_on(objective_, updating_epoch, input.step->index)}]
        .push_back(input);

  Request largest = Request::kNone;
  for (const auto& [kind, part] : parts) {
    run_same_shape(part, updating_epoch, update, request);
    largest = std::max(largest, agreed_);
  }
  agreed_ = largest;
  return std::vector<StepResult>(wave.size());
}

void DeviceStepper::run_same_shape(const std::vector<StepInput>& wave, int64_t updating_epoch,
                                   bool update, Request request) {
  // The steps with a member of this rank, numbered 0 .. S - 1.
  std::vector<const StepInput*> local_steps;
  std::vector<int64_t> place_of_step(wave.size(), -1);
  for (size_t s = 0; s < wave.size(); ++s) {
    if (!takes_part(*wave[s].step)) continue;
    place_of_step[s] = static_cast<int64_t>(local_steps.size());
    local_steps.push_back(&wave[s]);
  }

  // Pairs count all steps of the wave; the tensors of the work hold the local ones only.
  auto pairs = local_pairs(wave, members_);
  for (auto& pair : pairs) pair.step = place_of_step[pair.step];

  // Work is kept by shape: every wave of the same shape reuses its memory, and its graph.
  const Step& first = *wave[0].step;
  const Shape shape{static_cast<int64_t>(local_steps.size()),
                    static_cast<int64_t>(pairs.size()),
                    static_cast<int64_t>(first.rows.size()),
                    static_cast<int64_t>(first.unlabelled_rows.size()),
                    updating_epoch,
                    terms_on(objective_, updating_epoch, first.index),
                    update};
  agreed_ = request;

  // With other ranks, a rank without a pair continues: it takes part in every exchange.
  if (pairs.empty() && single_rank()) return;

  auto& work = work_of(shape);
  if (!pairs.empty()) copy_inputs(work, local_steps, pairs);
  if (single_rank()) {
    run_or_replay(work);
  } else {
    run_with_exchange(work, wave, request);
  }

  // The values stay on the device until late_results() reads those of many waves at once.
  if (!local_steps.empty())
    pending_.push_back(
        {late_of(local_steps), wave[0].step->epoch, wave[0].learning_rate, work.values.clone()});
}

// Several ranks: as HostStepper, one gather of the logits per wave, in which ranks without a member
// in the wave take part too.
void DeviceStepper::run_with_exchange(Work& work, const std::vector<StepInput>& wave,
                                      Request request) {
  at::Tensor logits, flats;
  std::vector<at::Tensor> saved, pieces;
  if (work.shape.pairs > 0) logits = forward(work, flats, saved);
  for (int64_t i = 0; i < work.shape.pairs; ++i) pieces.push_back(logits[i]);

  auto gathered = gather_logits(run_ranks(), grid_.shape, members_, wave, pieces, request);
  agreed_ = gathered.agreed;

  // Steps without a local member are left out, so the others keep their numbers 0 .. S - 1.
  std::vector<at::Tensor> whole;
  for (const auto& step_logits : gathered.of_step)
    if (step_logits.defined()) whole.push_back(step_logits);
  losses_and_update(work, whole.empty() ? at::Tensor() : at::stack(whole), flats, saved, wave);
}

DeviceStepper::Work& DeviceStepper::work_of(const Shape& shape) {
  // Losses may change with the epoch: work recorded in an earlier one cannot be replayed.
  std::erase_if(works_, [&](const auto& entry) {
    return entry.first.updating_epoch != shape.updating_epoch || entry.first.update != shape.update;
  });
  auto& work = works_[shape];
  if (work) return *work;

  work = std::make_unique<Work>();
  work->shape = shape;
  const auto options = members_.values.options();
  work->labels = at::empty({shape.steps, shape.rows}, options.dtype(at::kLong));
  work->numbers = at::empty({4 * shape.pairs}, options.dtype(at::kLong));

  // The four parts are views of the one tensor that a single copy fills.
  int64_t part = 0;
  for (auto* tensor : {&work->slots, &work->step_of, &work->place, &work->rates})
    *tensor = work->numbers.narrow(0, part++ * shape.pairs, shape.pairs);
  work->rates = work->rates.view(at::kDouble);
  work->scales = at::ones({shape.pairs}, options.dtype(at::kDouble));
  work->values = at::zeros({shape.steps, kTerms + static_cast<int64_t>(objective_.terms.size())},
                           options.dtype(at::kDouble));
  return *work;
}

at::Tensor DeviceStepper::gradient(const Shape& shape) {
  if (!gradients_.defined()) gradients_ = at::zeros_like(members_.values);
  return gradients_.narrow(0, 0, shape.pairs);
}

void DeviceStepper::copy_inputs(Work& work, const std::vector<const StepInput*>& steps,
                                const std::vector<LocalPair>& pairs) {
  if (!work.x.defined())
    work.x = at::empty({work.shape.steps, steps[0]->x.size(0), steps[0]->x.size(1)},
                       members_.values.options().dtype(options_.compute));
  work.drawn.clear();
  work.first_step = steps[0]->step->index;

  std::vector<at::Tensor> x, labels;
  for (const auto* input : steps) {
    x.push_back(input->x);
    labels.push_back(input->labels);
    work.drawn.push_back(drawn_first() ? 0 : input->step->drawn_position);
  }
  copy_rows_to(work.x, x);
  copy_rows_to(work.labels, labels);
  copy_pair_numbers(work, steps, pairs);
}

// Which member, step, place and learning rate each pair has. A graph reads them from memory, so the
// same one is replayed for other members.
void DeviceStepper::copy_pair_numbers(Work& work, const std::vector<const StepInput*>& steps,
                                      const std::vector<LocalPair>& pairs) {
  const auto active = static_cast<int64_t>(steps[0]->step->active.size());
  std::vector<int64_t> slots, step_of, places;
  std::vector<double> rates;
  for (const auto& pair : pairs) {
    int64_t position = pair.position;
    if (drawn_first())
      position = position_after_drawn(position, steps[pair.step]->step->drawn_position);
    slots.push_back(pair.member - members_.first);
    step_of.push_back(pair.step);
    places.push_back(pair.step * active + position);
    rates.push_back(steps[pair.step]->learning_rate);
  }

  // On one rank the places are a permutation of 0 .. n - 1: the pairs are sorted by them.
  if (drawn_first()) {
    std::vector<int64_t> sorted(slots.size());
    for (size_t i = 0; i < slots.size(); ++i) sorted[places[i]] = slots[i];
    slots = sorted;
    std::sort(places.begin(), places.end());
  }

  copy_rows_to(work.numbers.view({4, -1}),
               {at::tensor(slots, at::kLong), at::tensor(step_of, at::kLong),
                at::tensor(places, at::kLong), at::tensor(rates, at::kDouble).view(at::kLong)});
}

// Logits [n, b + u, C] f32 of the local pairs.
at::Tensor DeviceStepper::forward(Work& work, at::Tensor& flats,
                                  std::vector<at::Tensor>& saved) const {
  // The whole stack without a copy, if all of its members are active in one step.
  const bool every =
      work.shape.pairs == members_.count() && work.shape.steps == 1 && !drawn_first();
  flats = every ? members_.values : members_.values.index_select(0, work.slots);
  flats = flats.to(options_.compute);
  return members_.head->forward_stack(flats, work.x.index_select(0, work.step_of), &saved)
      .to(members_.values.scalar_type());
}

// Losses from the logits [S, A, B + U, C] of all members, then gradient and update of the local
// ones. Ranks without a pair take part in the exchange of norms only.
void DeviceStepper::losses_and_update(Work& work, const at::Tensor& logits, const at::Tensor& flats,
                                      const std::vector<at::Tensor>& saved,
                                      const std::vector<StepInput>& wave) {
  const bool has_pairs = work.shape.pairs > 0;
  at::Tensor dlogits, gradients;
  if (has_pairs) dlogits = compute_losses(work, logits);
  if (!work.shape.update) return;

  // set_scales() is collective over the run, so ranks without a pair call it as well.
  if (has_pairs) gradients = backward(work, dlogits, flats, saved);
  set_scales(work, wave);
  if (has_pairs) optimizer_.update_stack(work.slots, gradients, work.rates, work.scales);
}

// Computes the losses of each step into work.values. Returns the derivative of the total loss with
// respect to the logits, [S, A, B + U, C]; undefined without an update.
at::Tensor DeviceStepper::compute_losses(Work& work, const at::Tensor& logits) const {
  const auto& shape = work.shape;
  auto leaf = logits.detach();
  leaf.requires_grad_(shape.update);

  // first_step stands for all steps of the wave: the same losses are on in each of them.
  std::vector<at::Tensor> totals, values;
  for (int64_t s = 0; s < shape.steps; ++s) {
    std::optional<at::Tensor> unlabelled;
    if (shape.unlabelled > 0) unlabelled = leaf[s].narrow(1, shape.rows, shape.unlabelled);
    const auto value = objective(leaf[s].narrow(1, 0, shape.rows), work.labels[s], unlabelled,
                                 work.drawn[s], shape.updating_epoch, work.first_step, objective_);
    totals.push_back(value.total);
    std::vector<at::Tensor> row{value.total.detach(), at::zeros_like(value.total)};
    row.insert(row.end(), value.terms.begin(), value.terms.end());
    values.push_back(at::stack(row));
  }
  work.values.copy_(at::stack(values));
  if (!shape.update) return {};

  // The logits of a step enter its own loss only: one backward pass through the sum of the losses
  // gives the derivatives of all of them.
  const auto total = at::stack(totals).sum();
  return total.requires_grad() ? torch::autograd::grad({total}, {leaf})[0] : at::zeros_like(leaf);
}

// Gradients [n, P] of the local pairs. The logits of other members are constants, as in
// HostStepper.
at::Tensor DeviceStepper::backward(Work& work, at::Tensor dlogits, const at::Tensor& flats,
                                   const std::vector<at::Tensor>& saved) {
  const auto& shape = work.shape;
  auto gradients = gradient(shape);
  dlogits = dlogits.flatten(0, 1).index_select(0, work.place);

  // A data rank has the activations of its rows; the gradient of the batch is the sum over ranks.
  const bool split_batch = grid_.shape.data > 1;
  if (split_batch) {
    const BatchPart part{part_of(shape.rows, grid_.shape.data, grid_.data_part),
                         part_of(shape.unlabelled, grid_.shape.data, grid_.data_part)};
    dlogits = part_rows(dlogits, part, shape.rows, 1);
  }

  members_.head->backward_stack(flats, work.x.index_select(0, work.step_of), saved,
                                dlogits.to(options_.compute), gradients);
  if (split_batch) data_ranks().all_reduce(gradients, ReduceOp::kSum);
  return gradients;
}

// Norm of the gradient of each step, over all of its active members: [S] f64 on the device.
// Undefined on a rank without a member in the wave. Collective over the run.
at::Tensor DeviceStepper::gradient_norms(Work& work, const std::vector<StepInput>& wave) {
  const auto& shape = work.shape;
  auto squares = shape.pairs > 0 ? gradient(shape).square().sum(1, false, at::kDouble)
                                 : at::empty({0}, work.scales.options());

  // All members of a step are local: the norms stay on the device.
  if (single_rank()) return squares.view({shape.steps, -1}).sum(1).sqrt();

  // |g|^2 = sum_a |g_a|^2 over the members of all ranks, added in member order, so that every rank
  // clips the gradient with the same factor.
  std::vector<double> norms;
  const auto sums =
      sum_over_members(run_ranks(), grid_.shape, grid_.data_part, members_, wave, squares);
  for (size_t s = 0; s < wave.size(); ++s)
    if (takes_part(*wave[s].step)) norms.push_back(std::sqrt(sums[s]));
  return norms.empty() ? at::Tensor() : at::tensor(norms, at::kDouble).to(work.scales.device());
}

// Factor of each pair's gradient: below 1 with clipping, -1 for a step that is skipped.
void DeviceStepper::set_scales(Work& work, const std::vector<StepInput>& wave) {
  const auto& options = options_.step;
  if (options.clip_norm <= 0 && !options.skip_not_finite) return;
  const auto norms = gradient_norms(work, wave);
  if (!norms.defined()) return;

  // As in HostStepper: g *= min(1, c / (|g| + 1e-6)).
  auto scales = options.clip_norm > 0 ? (options.clip_norm / (norms + 1e-6)).clamp_max(1)
                                      : at::ones_like(norms);

  // A skipped step is marked and not left out: the update kernel leaves members with a negative
  // factor unchanged, so nothing has to be read from the device.
  if (options.skip_not_finite) {
    const auto bad = norms.isfinite().logical_not();
    scales = scales.masked_fill(bad, -1);
    work.values.select(1, kSkipped).copy_(bad);
  }
  work.scales.copy_(scales.index_select(0, work.step_of));
}

// One rank: nothing is sent and nothing is read from the device, so that the work can be recorded
// and replayed.
void DeviceStepper::run_or_replay(Work& work) {
  if (work.graph) {
    ++graph_counts_.replayed;
    return work.graph->replay();
  }

  // On one rank every active member is local, so the logits of the pairs [S A, B + U, C] are those
  // of whole steps.
  const auto compute = [&] {
    at::Tensor flats;
    std::vector<at::Tensor> saved;
    const auto logits = forward(work, flats, saved);
    losses_and_update(work, logits.unflatten(0, {work.shape.steps, -1}), flats, saved, {});
  };

  // A threshold makes the objective read counts from the device, which no graph can do.
  const bool can_record = pool_ && work.recordable && !objective_.below_threshold;
  if (can_record && work.runs >= kRunsBeforeGraph) {
    try {
      work.graph = std::make_unique<DeviceGraph>(*pool_, compute);
      ++graph_counts_.recorded;
      return work.graph->replay();
    } catch (const Error& error) {
      // The step is computed without a graph, now and in future.
      work.recordable = false;
      ++graph_counts_.refused;
      spdlog::warn("event=no_graph steps={} pairs={} reason=\"{}\"", work.shape.steps,
                   work.shape.pairs, error.what());
    }
  }
  ++work.runs;
  compute();
}

// The input with its tensors on the members' device.
StepInput DeviceStepper::on_device(const StepInput& input) const {
  const auto device = members_.values.device();
  const auto copied = [&](const at::Tensor& tensor) {
    return tensor.defined() && tensor.is_cpu() ? to_device(tensor, device) : tensor;
  };
  return {input.step, input.learning_rate, copied(input.x), copied(input.labels)};
}

at::Tensor DeviceStepper::probe(const std::vector<StepInput>& inputs, int64_t updating_epoch) {
  std::vector<StepInput> wave;
  for (const auto& input : inputs) wave.push_back(on_device(input));
  return probe_gradients({run_ranks(), data_ranks(), grid_.shape, grid_.data_part}, members_,
                         objective_, wave, updating_epoch);
}

// Names the local members whose weights are no longer finite; empty if all are.
std::string DeviceStepper::bad_weights() const {
  const auto finite = members_.values.isfinite().all(1).cpu();
  std::vector<int64_t> bad;
  for (int64_t i = 0; i < members_.count(); ++i)
    if (!finite[i].item<bool>()) bad.push_back(members_.first + i);
  return bad.empty() ? "" : fmt::format("weights of {} are not finite", members_text(bad));
}

std::vector<LateResult> DeviceStepper::late_results(bool all) {
  if (pending_.empty() || (!all && pending_.size() < kResultsTogether)) return {};

  // A read waits for the device: one serves the values of all waves.
  std::vector<at::Tensor> values;
  for (const auto& pending : pending_) values.push_back(pending.values);
  const auto table = at::cat(values).cpu();
  const auto* row = table.const_data_ptr<double>();

  // The rows of the table have the order of the queue: the steps of one wave after those of the
  // previous one.
  std::vector<LateResult> results;
  for (auto& pending : pending_)
    for (auto& late : pending.results) {
      late.result = {true, row[kSkipped] != 0, row[kTotal], {row + kTerms, row + table.size(1)}};
      check_loss(pending, late);
      results.push_back(std::move(late));
      row += table.size(1);
    }
  pending_.clear();
  return results;
}

void DeviceStepper::check_loss(const Pending& pending, const LateResult& late) {
  const double total = late.result.total;
  if (failure_ || options_.step.skip_not_finite || std::isfinite(total)) return;

  // Kept, not thrown: the next wave's request tells the other ranks, and all fail together.
  failure_.emplace(ErrorKind::kData,
                   divergence_message({.epoch = pending.epoch,
                                       .step = late.step,
                                       .found = total,
                                       .members = bad_weights(),
                                       .learning_rate = pending.learning_rate},
                                      objective_.terms, late.result.losses),
                   __FILE__, __LINE__);
}

}  // namespace dissent
