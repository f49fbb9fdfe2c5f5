#include "train/heads/device_stepper.hpp"

#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "comm/device.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/run/divergence.hpp"

namespace dissent {
namespace {

enum Figure : int64_t { kTotal, kSkipped, kTerms };
constexpr size_t kResultsTogether = 64;  // waves between two reads from the device
constexpr int kRunsBeforeGraph = 2;      // so that libraries have made their workspaces

// Rows of a tensor of the device from tensors of the device or, in one copy that nothing waits for,
// of the host.
void bring(const at::Tensor& to, const std::vector<at::Tensor>& rows) {
  const bool from_host = rows[0].device() != to.device();
  const auto target =
      from_host ? at::empty(to.sizes(), to.options().device(at::kCPU).pinned_memory(to.is_cuda()))
                : to;
  for (size_t i = 0; i < rows.size(); ++i) target[static_cast<int64_t>(i)].copy_(rows[i]);
  if (from_host) to.copy_(target, /*non_blocking=*/true);
}

std::vector<LateResult> late_of(const std::vector<const StepInput*>& inputs) {
  std::vector<LateResult> results;
  for (const auto* input : inputs) results.push_back({input->step->index, input->step->active, {}});
  return results;
}

}  // namespace

/// A piece of work of one shape: inputs and outputs at fixed addresses, so that it can be recorded.
struct DeviceStepper::Work {
  Shape shape;
  at::Tensor x;        // [S, b + u, D] in the compute dtype
  at::Tensor labels;   // [S, B]
  at::Tensor numbers;  // [4 n] i64: what follows, so that one copy brings all
  at::Tensor slots;    // [n] positions of the members in this rank's stack
  at::Tensor step_of;  // [n] 0 .. S - 1
  at::Tensor place;    // [n] step_of * A + position among the active members
  at::Tensor rates;    // [n] f64, the bits of the last n numbers
  at::Tensor scales;   // [n] f64
  at::Tensor figures;  // [S, kTerms + terms] f64
  std::vector<int64_t> drawn;
  int64_t first_step = 0;  // of the epoch: tells which losses are on
  int runs = 0;
  bool recordable = true;
  std::unique_ptr<DeviceGraph> graph;
};

DeviceStepper::DeviceStepper(MemberStack& members, Optimizer& optimizer,
                             const ObjectiveOptions& objective, const DeviceStepperOptions& options,
                             Grid& grid)
    : members_(members),
      optimizer_(optimizer),
      objective_(objective),
      options_(options),
      grid_(grid) {
  const auto device = members.values.device();
  device_run_ = make_device_communicator(*grid.run, device);
  device_data_ = make_device_communicator(*grid.data, device);
  if (!device.is_cuda() || !alone() || !options.graphs) return;
  try {
    pool_ = std::make_unique<GraphPool>(device);
  } catch (const Error& error) {
    spdlog::warn("event=no_graph reason=\"{}\"", error.what());
  }
}

DeviceStepper::~DeviceStepper() = default;

std::vector<StepResult> DeviceStepper::run(const std::vector<StepInput>& wave,
                                           int64_t epoch_of_loss, bool update, Request request) {
  // A batched product takes batches of one size: the short one at the end of an epoch is a piece of
  // its own.
  std::map<std::tuple<size_t, size_t, uint64_t>, std::vector<StepInput>> alike;
  for (const auto& input : wave)
    alike[{input.step->rows.size(), input.step->unlabelled_rows.size(),
           terms_on(objective_, epoch_of_loss, input.step->index)}]
        .push_back(input);
  Request largest = Request::kNone;
  for (const auto& [kind, part] : alike) {
    run_alike(part, epoch_of_loss, update, request);
    largest = std::max(largest, agreed_);
  }
  agreed_ = largest;
  return std::vector<StepResult>(wave.size());
}

void DeviceStepper::run_alike(const std::vector<StepInput>& wave, int64_t epoch_of_loss,
                              bool update, Request request) {
  std::vector<const StepInput*> mine;
  std::vector<int64_t> place_of_step(wave.size(), -1);
  for (size_t s = 0; s < wave.size(); ++s) {
    if (!takes_part(*wave[s].step)) continue;
    place_of_step[s] = static_cast<int64_t>(mine.size());
    mine.push_back(&wave[s]);
  }
  auto pairs = local_pairs(wave, members_);
  for (auto& pair : pairs) pair.step = place_of_step[pair.step];
  const Step& first = *wave[0].step;
  const Shape shape{static_cast<int64_t>(mine.size()),
                    static_cast<int64_t>(pairs.size()),
                    static_cast<int64_t>(first.rows.size()),
                    static_cast<int64_t>(first.unlabelled_rows.size()),
                    epoch_of_loss,
                    terms_on(objective_, epoch_of_loss, first.index),
                    update};
  agreed_ = request;
  if (pairs.empty() && alone()) return;
  auto& work = work_of(shape);
  if (!pairs.empty()) fill(work, mine, pairs);
  if (alone()) {
    run_alone(work);
  } else {
    at::Tensor flats;
    std::vector<at::Tensor> saved, pieces;
    at::Tensor logits;
    if (!pairs.empty()) logits = forward(work, flats, saved);
    for (size_t i = 0; i < pairs.size(); ++i) pieces.push_back(logits[i]);
    auto gathered = gather_logits(device_run_ ? *device_run_ : *grid_.run, grid_.shape, members_,
                                  wave, pieces, request);
    agreed_ = gathered.agreed;
    std::vector<at::Tensor> whole;
    for (const auto& step_logits : gathered.of_step)
      if (step_logits.defined()) whole.push_back(step_logits);
    learn(work, whole.empty() ? at::Tensor() : at::stack(whole), flats, saved, wave);
  }
  if (!mine.empty())
    pending_.push_back(
        {late_of(mine), wave[0].step->epoch, wave[0].learning_rate, work.figures.clone()});
}

DeviceStepper::Work& DeviceStepper::work_of(const Shape& shape) {
  // Losses may change with the epoch: recorded work of an earlier one is of no more use.
  std::erase_if(works_, [&](const auto& entry) {
    return entry.first.epoch_of_loss != shape.epoch_of_loss || entry.first.update != shape.update;
  });
  auto& work = works_[shape];
  if (work) return *work;
  work = std::make_unique<Work>();
  work->shape = shape;
  const auto options = members_.values.options();
  work->labels = at::empty({shape.steps, shape.rows}, options.dtype(at::kLong));
  work->numbers = at::empty({4 * shape.pairs}, options.dtype(at::kLong));
  int64_t part = 0;
  for (auto* tensor : {&work->slots, &work->step_of, &work->place, &work->rates})
    *tensor = work->numbers.narrow(0, part++ * shape.pairs, shape.pairs);
  work->rates = work->rates.view(at::kDouble);
  work->scales = at::ones({shape.pairs}, options.dtype(at::kDouble));
  work->figures = at::zeros({shape.steps, kTerms + static_cast<int64_t>(objective_.terms.size())},
                            options.dtype(at::kDouble));
  return *work;
}

at::Tensor DeviceStepper::gradient(const Shape& shape) {
  if (!gradients_.defined()) gradients_ = at::zeros_like(members_.values);
  return gradients_.narrow(0, 0, shape.pairs);
}

void DeviceStepper::fill(Work& work, const std::vector<const StepInput*>& mine,
                         const std::vector<LocalPair>& pairs) {
  const auto active = static_cast<int64_t>(mine[0]->step->active.size());
  if (!work.x.defined())
    work.x = at::empty({work.shape.steps, mine[0]->x.size(0), mine[0]->x.size(1)},
                       members_.values.options().dtype(options_.compute));
  work.drawn.clear();
  work.first_step = mine[0]->step->index;
  std::vector<at::Tensor> x, labels;
  for (const auto* input : mine) {
    x.push_back(input->x);
    labels.push_back(input->labels);
    work.drawn.push_back(drawn_first() ? 0 : input->step->drawn);
  }
  bring(work.x, x);
  bring(work.labels, labels);
  std::vector<int64_t> numbers[3];
  std::vector<double> rates;
  for (const auto& pair : pairs) {
    int64_t position = pair.position;
    if (drawn_first()) {
      const int64_t drawn = mine[pair.step]->step->drawn;
      position = position == drawn ? 0 : position < drawn ? position + 1 : position;
    }
    numbers[0].push_back(pair.member - members_.first);
    numbers[1].push_back(pair.step);
    numbers[2].push_back(pair.step * active + position);
    rates.push_back(mine[pair.step]->learning_rate);
  }
  if (drawn_first()) {  // in the order of their places
    std::vector<int64_t> slots(numbers[0].size());
    for (size_t i = 0; i < slots.size(); ++i) slots[numbers[2][i]] = numbers[0][i];
    numbers[0] = slots;
    std::sort(numbers[2].begin(), numbers[2].end());
  }
  bring(work.numbers.view({4, -1}),
        {at::tensor(numbers[0], at::kLong), at::tensor(numbers[1], at::kLong),
         at::tensor(numbers[2], at::kLong), at::tensor(rates, at::kDouble).view(at::kLong)});
}

// Logits [n, b + u, C] f32 of the local pairs.
at::Tensor DeviceStepper::forward(Work& work, at::Tensor& flats,
                                  std::vector<at::Tensor>& saved) const {
  const bool every =
      work.shape.pairs == members_.count() && work.shape.steps == 1 && !drawn_first();
  flats = every ? members_.values : members_.values.index_select(0, work.slots);
  flats = flats.to(options_.compute);
  return members_.head->forward_stack(flats, work.x.index_select(0, work.step_of), &saved)
      .to(members_.values.scalar_type());
}

// Losses from the logits [S, A, B + U, C] of all members, then gradient and update of the local
// ones.
void DeviceStepper::learn(Work& work, const at::Tensor& logits, const at::Tensor& flats,
                          const std::vector<at::Tensor>& saved,
                          const std::vector<StepInput>& wave) {
  const auto& shape = work.shape;
  at::Tensor dlogits, gradients;
  if (shape.pairs > 0) {
    auto leaf = logits.detach();
    leaf.requires_grad_(shape.update);
    std::vector<at::Tensor> totals, figures;
    for (int64_t s = 0; s < shape.steps; ++s) {
      std::optional<at::Tensor> unlabelled;
      if (shape.unlabelled > 0) unlabelled = leaf[s].narrow(1, shape.rows, shape.unlabelled);
      const auto value = objective(leaf[s].narrow(1, 0, shape.rows), work.labels[s], unlabelled,
                                   work.drawn[s], shape.epoch_of_loss, work.first_step, objective_);
      totals.push_back(value.total);
      std::vector<at::Tensor> row{value.total.detach(), at::zeros_like(value.total)};
      row.insert(row.end(), value.terms.begin(), value.terms.end());
      figures.push_back(at::stack(row));
    }
    work.figures.copy_(at::stack(figures));
    if (!shape.update) return;
    gradients = gradient(shape);
    const auto total = at::stack(totals).sum();
    dlogits =
        total.requires_grad() ? torch::autograd::grad({total}, {leaf})[0] : at::zeros_like(leaf);
    const Part labelled = part_of(shape.rows, grid_.shape.data, grid_.data_part),
               extra = part_of(shape.unlabelled, grid_.shape.data, grid_.data_part);
    dlogits = dlogits.flatten(0, 1).index_select(0, work.place);
    if (grid_.shape.data > 1)
      dlogits = at::cat({dlogits.narrow(1, labelled.first, labelled.count),
                         dlogits.narrow(1, shape.rows + extra.first, extra.count)},
                        1);
    members_.head->backward_stack(flats, work.x.index_select(0, work.step_of), saved,
                                  dlogits.to(options_.compute), gradients);
    if (grid_.shape.data > 1)
      (device_data_ ? *device_data_ : *grid_.data).all_reduce(gradients, ReduceOp::kSum);
  }
  if (!shape.update) return;
  set_scales(work, wave);
  if (shape.pairs > 0) optimizer_.update_stack(work.slots, gradients, work.rates, work.scales);
}

// Factor of each pair's gradient: clipping, or -1 for a step that is passed over.
void DeviceStepper::set_scales(Work& work, const std::vector<StepInput>& wave) {
  const auto& options = options_.step;
  if (options.clip_norm <= 0 && !options.skip_not_finite) return;
  const auto& shape = work.shape;
  auto squares = shape.pairs > 0 ? gradient(shape).square().sum(1, false, at::kDouble)
                                 : at::empty({0}, work.scales.options());
  at::Tensor norms;  // [S]
  if (alone()) {
    norms = squares.view({shape.steps, -1}).sum(1).sqrt();
  } else {
    std::vector<double> mine;
    const auto sums = sum_over_members(device_run_ ? *device_run_ : *grid_.run, grid_.shape,
                                       grid_.data_part, members_, wave, squares);
    for (size_t s = 0; s < wave.size(); ++s)
      if (takes_part(*wave[s].step)) mine.push_back(std::sqrt(sums[s]));
    if (mine.empty()) return;
    norms = at::tensor(mine, at::kDouble).to(work.scales.device());
  }
  auto scales = options.clip_norm > 0 ? (options.clip_norm / (norms + 1e-6)).clamp_max(1)
                                      : at::ones_like(norms);
  if (options.skip_not_finite) {
    const auto bad = norms.isfinite().logical_not();
    scales = scales.masked_fill(bad, -1);
    work.figures.select(1, kSkipped).copy_(bad);
  }
  work.scales.copy_(scales.index_select(0, work.step_of));
}

// One rank: no message and nothing read from the device, so that the work can be recorded and
// replayed.
void DeviceStepper::run_alone(Work& work) {
  if (work.graph) {
    ++graph_counts_.replayed;
    return work.graph->replay();
  }
  const auto compute = [&] {
    at::Tensor flats;
    std::vector<at::Tensor> saved;
    const auto logits = forward(work, flats, saved);
    learn(work, logits.unflatten(0, {work.shape.steps, -1}), flats, saved, {});
  };
  const bool records = pool_ && work.recordable && !objective_.below_threshold;
  if (records && work.runs >= kRunsBeforeGraph) {
    try {
      work.graph = std::make_unique<DeviceGraph>(*pool_, compute);
      ++graph_counts_.recorded;
      return work.graph->replay();
    } catch (const Error& error) {
      work.recordable = false;
      ++graph_counts_.refused;
      spdlog::warn("event=no_graph steps={} pairs={} reason=\"{}\"", work.shape.steps,
                   work.shape.pairs, error.what());
    }
  }
  ++work.runs;
  compute();
}

// The input with its tensors where the members are.
StepInput DeviceStepper::on_device(const StepInput& input) const {
  const auto device = members_.values.device();
  const auto there = [&](const at::Tensor& tensor) {
    return tensor.defined() && tensor.is_cpu() ? to_device(tensor, device) : tensor;
  };
  return {input.step, input.learning_rate, there(input.x), there(input.labels)};
}

at::Tensor DeviceStepper::probe(const std::vector<StepInput>& inputs, int64_t epoch_of_loss) {
  std::vector<StepInput> wave;
  for (const auto& input : inputs) wave.push_back(on_device(input));
  auto& run = device_run_ ? *device_run_ : *grid_.run;
  auto& data = device_data_ ? *device_data_ : *grid_.data;
  return probe_gradients({run, data, grid_.shape, grid_.data_part}, members_, objective_, wave,
                         epoch_of_loss);
}

// Which members of this rank the steps have spoiled by now.
std::string DeviceStepper::bad_weights() const {
  const auto finite = members_.values.isfinite().all(1).cpu();
  std::vector<int64_t> bad;
  for (int64_t i = 0; i < members_.count(); ++i)
    if (!finite[i].item<bool>()) bad.push_back(members_.first + i);
  return bad.empty() ? "" : fmt::format("weights of {} are not finite", members_text(bad));
}

std::vector<LateResult> DeviceStepper::late_results(bool all) {
  if (pending_.empty() || (!all && pending_.size() < kResultsTogether)) return {};
  std::vector<at::Tensor> figures;
  for (const auto& pending : pending_) figures.push_back(pending.figures);
  const auto table = at::cat(figures).cpu();
  const auto value = table.accessor<double, 2>();
  std::vector<LateResult> results;
  int64_t row = 0;
  for (auto& pending : pending_)
    for (auto& late : pending.results) {
      const auto v = value[row++];
      late.result = {true, v[kSkipped] != 0, v[kTotal], {}};
      for (int64_t column = kTerms; column < table.size(1); ++column)
        late.result.losses.push_back(v[column]);
      if (!failure_ && !options_.step.skip_not_finite && !std::isfinite(v[kTotal]))
        failure_.emplace(ErrorKind::kData,
                         divergence_message({.epoch = pending.epoch,
                                             .step = late.step,
                                             .found = v[kTotal],
                                             .members = bad_weights(),
                                             .learning_rate = pending.learning_rate},
                                            objective_.terms, late.result.losses),
                         __FILE__, __LINE__);
      results.push_back(std::move(late));
    }
  pending_.clear();
  return results;
}

}  // namespace dissent
