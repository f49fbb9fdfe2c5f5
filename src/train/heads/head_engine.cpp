#include "train/heads/head_engine.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "comm/device.hpp"
#include "core/parallel.hpp"
#include "storage/checkpoint.hpp"
#include "train/heads/device_stepper.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/plan_options.hpp"

namespace dissent {
namespace {

// Columns of the table of an epoch's steps: the total, whether the step was skipped, each term.
enum Column : int64_t { kColumnTotal, kColumnSkipped, kColumnTerms };

}  // namespace

StepperOptions head_step_options(const TrainConfig& config) {
  return {.clip_norm = config.training.clip_norm,
          .skip_not_finite = config.training.on_nan == OnNan::kSkipStep};
}

HeadEngine::HeadEngine(const TrainConfig& config, HeadData& data, Grid& grid,
                       const RunContext& context)
    : config_(config),
      data_(data),
      grid_(grid),
      plan_options_(
          plan_options(config, context.seed,
                       {.rows_per_pass = data.train.rows_per_pass(),
                        .passes = data.train.passes(),
                        .unlabelled_rows = data.unlabelled ? data.unlabelled->rows() : 0})),
      objective_(objective_options(config)) {
  const std::shared_ptr<const Head> head =
      make_head(config.ensemble.model, data.dim, config.ensemble.hidden, data.classes);

  // Initial weights depend on the seed and a member's number alone, not on the rank that holds it.
  members_ = make_members(head, config.ensemble.members,
                          part_of(config.ensemble.members, grid.shape.members, grid.member_part),
                          context.seed, parameter_type(config.training.precision), context.device);
}

std::vector<std::string> HeadEngine::loss_names() const {
  std::vector<std::string> names;
  for (const auto& term : objective_.terms) names.push_back(term.name);
  return names;
}

int64_t HeadEngine::steps_per_epoch() const { return dissent::steps_per_epoch(plan_options_); }

void HeadEngine::start(const TrainingServices& services) {
  services_.emplace(services);
  const auto options = head_step_options(config_);

  // On the host threads share the members of a wave; on a GPU batched products compute them at
  // once.
  if (members_.values.is_cpu()) {
    stepper_ =
        std::make_unique<HostStepper>(members_, services.optimizer, objective_, options, grid_);
  } else {
    const DeviceStepperOptions device{.step = options,
                                      .compute = product_type(config_.training.precision)};
    stepper_ =
        std::make_unique<DeviceStepper>(members_, services.optimizer, objective_, device, grid_);
  }
}

RunContents HeadEngine::contents() {
  // Data ranks hold the same members: those of the first part write them.
  return {.data_kind = "caches",
          .data = data_.identity,
          .dim = data_.dim,
          .classes = data_.classes,
          .networks = members_.total,
          .first_network = members_.first,
          .local_networks = members_.count(),
          .writes_networks = grid_.data_part == 0,
          .stacks = {{kMembersPrefix, members_.values, &members_.head->layout()}},
          .shared = {},
          .loss_scale = nullptr};
}

NamedTensors HeadEngine::weights() const {
  NamedTensors tensors;
  add_stack(tensors, kMembersPrefix, members_.values, members_.head->layout());
  return tensors;
}

TraceShape HeadEngine::trace_shape() const {
  // An upper bound: a row's features, its number and its label, which unlabelled rows do not have.
  const int64_t batches = plan_options_.unlabelled_rows > 0 ? 2 : 1;
  const int64_t row_bytes =
      data_.dim * members_.values.element_size() + 2 * static_cast<int64_t>(sizeof(int64_t));
  return {.kind = "heads", .step_bytes = batches * plan_options_.batch_size * row_bytes};
}

bool HeadEngine::updates(int64_t epoch) const {
  return !(config_.training.frozen_first_epoch && epoch == 0);
}

// Schedules and weights of losses count the epochs that update.
int64_t HeadEngine::updating_epoch() const {
  return std::max<int64_t>(0, epoch_ - (config_.training.frozen_first_epoch ? 1 : 0));
}

double HeadEngine::last_learning_rate() const {
  return services_->schedule.rate(updating_epoch(), plan_->steps() - 1);
}

EpochTables HeadEngine::begin_epoch(int64_t epoch, int64_t step) {
  epoch_ = epoch;
  plan_.emplace(plan_options_, epoch);
  steps_.clear();
  for (int64_t s = 0; s < plan_->steps(); ++s) steps_.push_back(plan_->step(s));

  // Gradients of base and diversity losses are compared in few steps only: a probe takes longer
  // than the step itself.
  probed_.clear();
  if (updates(epoch) && has_both_kinds(objective_))
    probed_ = probed_steps(steps_, plan_options_.members, config_.training.gradient_samples);

  // A run that resumes at the epoch's end has its validation left, which reads no training rows.
  if (step < plan_->steps()) data_.train.start_pass(plan_->pass(), plan_->chunk_of(step));

  // Both tables start with zeros: each rank fills in its own values and a sum over ranks joins
  // them.
  const auto terms = static_cast<int64_t>(objective_.terms.size());
  const int64_t active = plan_options_.round_robin ? 1 : plan_options_.active;
  return {.steps = at::zeros({plan_->steps(), kColumnTerms + terms}, at::kDouble),
          .probes = at::zeros({static_cast<int64_t>(probed_.size()), active, 3}, at::kDouble)};
}

// Runs the waves of one chunk of rows. Once the ranks agree on a request, only those waves follow
// that complete the steps already begun.
Advance HeadEngine::advance(int64_t step, EpochTables& tables) {
  const int64_t chunk = plan_->chunk_of(step);
  data_.train.chunk(*grid_.run, chunk);

  // A trace has the steps in their order. The grouping into waves changes no bit.
  const int64_t look_ahead = services_->trace ? 1 : config_.training.look_ahead;
  WavePlanner planner(steps_, step, plan_->chunk_begin(chunk + 1), look_ahead);
  int64_t rows_done = epoch_ * plan_options_.rows_per_pass + step * plan_options_.batch_size;
  Request agreed = Request::kNone;

  for (auto wave = planner.next(); !wave.empty(); wave = planner.next()) {
    const auto inputs = load_wave(wave);
    for (const int64_t s : wave) rows_done += static_cast<int64_t>(steps_[s].rows.size());
    services_->heartbeat.beat("training", epoch_, wave.front());
    probe(inputs, tables.probes);

    // Collective: every rank runs every wave, also those without one of its members.
    const auto results = stepper_->run(inputs, updating_epoch(), updates(epoch_), request());

    for (size_t i = 0; i < wave.size(); ++i)
      if (results[i].known)
        record(wave[i], steps_[wave[i]].active, results[i], rows_done, tables.steps);
    if (services_->trace && !stepper_->failure())
      for (size_t i = 0; i < wave.size(); ++i) trace(inputs[i], results[i]);
    record_late(/*all=*/false, rows_done, tables.steps);

    // Ranks learn of a request in the exchange of the wave, all at the same one. Waves that skip
    // ahead have left gaps among the steps, which are filled before a checkpoint.
    if (stepper_->agreed() > agreed) {
      agreed = stepper_->agreed();
      if (agreed == Request::kFail) break;
      planner.drain();
    }
  }

  if (agreed != Request::kFail) record_late(/*all=*/true, rows_done, tables.steps);
  raise_failure();
  return {.step = planner.end(), .request = agreed};
}

// One rank alone may find a loss or gradient that is not finite: its request makes all ranks fail.
Request HeadEngine::request() const {
  return stepper_->failure() ? Request::kFail : services_->request();
}

void HeadEngine::raise_failure() {
  agree(*grid_.run, [&] {
    if (stepper_->failure()) throw *stepper_->failure();
  });
}

std::vector<StepInput> HeadEngine::load_wave(const std::vector<int64_t>& wave) const {
  std::vector<StepInput> inputs;
  for (const int64_t s : wave) {
    // The rate is that of the step's own number, whatever wave it is computed in.
    StepInput input{&steps_[s], services_->schedule.rate(updating_epoch(), s), {}, {}};
    if (stepper_->takes_part(steps_[s])) load_batch(steps_[s], input);
    inputs.push_back(std::move(input));
  }
  return inputs;
}

// This data rank's features of the batch, and the labels of the whole batch: every rank computes
// the losses on all logits.
void HeadEngine::load_batch(const Step& step, StepInput& input) const {
  // The plan numbers the rows within a pass; the cache holds the passes one after the other.
  std::vector<int64_t> rows;
  for (const int64_t row : step.rows)
    rows.push_back(plan_->pass() * plan_options_.rows_per_pass + row);
  input.labels = data_.train.take_labels(rows);

  const auto part = batch_part(step, grid_.shape.data, grid_.data_part);
  const auto local = [](const std::vector<int64_t>& all, Part rows_of_rank) {
    return std::span(all).subspan(rows_of_rank.first, rows_of_rank.count);
  };
  input.x = data_.train.take(local(rows, part.labelled)).to(members_.values.scalar_type());

  // Unlabelled rows follow the labelled ones.
  if (step.unlabelled_rows.empty()) return;
  const auto unlabelled = data_.unlabelled->take(local(step.unlabelled_rows, part.unlabelled))
                              .to(input.x.scalar_type());
  input.x = at::cat({input.x, to_device(unlabelled, input.x.device())});
}

// Writes a result into the epoch's table, on one rank per step.
void HeadEngine::record(int64_t step, const std::vector<int64_t>& active, const StepResult& result,
                        int64_t rows_done, at::Tensor& table) {
  services_->progress.update(rows_done, fmt::format("epoch {} step {}/{} loss {:.4f}", epoch_, step,
                                                    table.size(0), result.total));

  // Several ranks know the result; the table is summed over ranks, so just one may write it.
  if (grid_.data_part != 0 || !members_.holds(active[0])) return;
  auto* row = table.data_ptr<double>() + step * table.size(1);
  row[kColumnTotal] = result.total;
  row[kColumnSkipped] = result.skipped ? 1 : 0;
  std::copy(result.losses.begin(), result.losses.end(), row + kColumnTerms);
}

// Results that a GPU returns some waves later.
void HeadEngine::record_late(bool all, int64_t rows_done, at::Tensor& table) {
  for (const auto& late : stepper_->late_results(all))
    record(late.step, late.active, late.result, rows_done, table);
}

// Gradients of base and diversity losses, before the update of those steps.
void HeadEngine::probe(const std::vector<StepInput>& inputs, at::Tensor& probes) {
  std::vector<StepInput> chosen;
  for (const auto& input : inputs)
    if (std::binary_search(probed_.begin(), probed_.end(), input.step->index))
      chosen.push_back(input);
  if (chosen.empty()) return;

  // Every data rank has the same values: the first one fills the table.
  const auto values = stepper_->probe(chosen, updating_epoch());
  if (grid_.data_part != 0) return;

  // The stepper returns its values in the order of local_pairs().
  const auto pairs = local_pairs(chosen, members_);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const int64_t step = chosen[pairs[i].step].step->index;
    const auto row = std::lower_bound(probed_.begin(), probed_.end(), step) - probed_.begin();
    probes[row][pairs[i].position].copy_(values[static_cast<int64_t>(i)]);
  }
}

void HeadEngine::trace(const StepInput& input, const StepResult& result) {
  if (!services_->trace->wants_more()) return;
  const auto numbers = [](const std::vector<int64_t>& values) {
    return at::tensor(values, at::kLong);
  };

  // With these inputs another program can repeat the step without the caches and the plan. A trace
  // is written by a run on one rank, which has the rows of every step.
  const Step& step = *input.step;
  TraceStep entry{.epoch = step.epoch,
                  .step = step.index,
                  .learning_rate = input.learning_rate,
                  .update = updates(epoch_) && !result.skipped,
                  .drawn = step.drawn_position,
                  .losses = result.losses,
                  .tensors = {{"rows", numbers(step.rows)},
                              {"active", numbers(step.active)},
                              {"labels", input.labels},
                              {"x", input.x}}};

  if (!step.unlabelled_rows.empty())
    entry.tensors.emplace_back("unlabelled_rows", numbers(step.unlabelled_rows));
  services_->trace->add(entry, [this] { return weights(); });
}

void HeadEngine::add_step(const at::Tensor& row, EpochRecord& record) const {
  const auto* values = row.const_data_ptr<double>();

  // Values of a skipped step may not be finite: they would spoil the means of the epoch.
  if (values[kColumnSkipped] != 0) {
    ++record.skipped;
    return;
  }

  record.total += values[kColumnTotal];
  for (size_t term = 0; term < record.losses.size(); ++term)
    record.losses[term] += values[kColumnTerms + static_cast<int64_t>(term)];
}

void HeadEngine::finish_record(const EpochTables& tables, EpochRecord& record) const {
  for (const auto& member :
       gradient_values(tables.probes, probed_, steps_, plan_options_.members)) {
    record.gradients.push_back(member.base_norm);
    record.gradients.push_back(member.diversity_norm);
    record.gradients.push_back(member.angle_degrees);
  }
}

std::optional<ValidationPlan> HeadEngine::validation() const {
  if (!data_.validation) return std::nullopt;
  return ValidationPlan{data_.validation->rows(),
                        validation_block_rows(members_.total, data_.classes)};
}

ValidationBlock HeadEngine::validate_block(int64_t block, std::optional<int64_t>) {
  const auto rows = validation()->rows_of(block);
  return {.logits = member_logits(data_.validation->take(rows)),
          .labels = data_.validation->take_labels(rows)};
}

// Logits [m, B, C] of this rank's members on rows of the host, on the host.
at::Tensor HeadEngine::member_logits(const at::Tensor& rows) const {
  const auto& values = members_.values;

  // On the host one task per member, each on one thread, as in training.
  if (values.is_cpu()) {
    const auto x = rows.to(values.options());

    auto logits = at::empty({members_.count(), x.size(0), data_.classes}, x.options());
    parallel_tasks(members_.count(), [&](int64_t i) {
      logits[i].copy_(members_.head->forward(values[i], x, nullptr));
    });
    return logits;
  }

  // A GPU's work goes onto the stream of this thread, and one copy transfers all logits.
  const auto x = to_device(rows.to(values.scalar_type()), values.device());
  std::vector<at::Tensor> logits;
  for (int64_t i = 0; i < members_.count(); ++i)
    logits.push_back(members_.head->forward(values[i], x, nullptr));
  return at::stack(logits).cpu();
}

}  // namespace dissent
