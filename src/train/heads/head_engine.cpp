#include "train/heads/head_engine.hpp"

#include <cmath>
#include <limits>

#include "comm/device.hpp"
#include "core/parallel.hpp"
#include "core/progress_bar.hpp"
#include "core/stop.hpp"
#include "core/timing.hpp"
#include "storage/atomic_file.hpp"
#include "train/heads/device_stepper.hpp"
#include "train/heads/gradient_probe.hpp"
#include "train/run/heartbeat.hpp"
#include "train/heads/logit_exchange.hpp"
#include "train/run/run_checkpoint.hpp"
#include "train/heads/host_stepper.hpp"
#include "train/heads/waves.hpp"

namespace dissent {
namespace {

// Columns of the table of an epoch's steps. Each row is filled by one rank, the others hold zeros:
// summing over ranks is exact.
enum Column : int64_t { kColumnTotal, kColumnSkipped, kColumnTerms };

}  // namespace

HeadTrainer::HeadTrainer(const TrainConfig& config, HeadData& data, Grid& grid, RunContext context)
    : config_(config), data_(data), grid_(grid), context_(std::move(context)) {
  plan_ = {.seed = context_.seed,
           .rows_per_pass = data.train.rows_per_pass(),
           .passes = data.train.passes(),
           .batch_size = std::min(config.data.batch_size, data.train.rows_per_pass()),
           .unlabelled_rows = data.unlabelled ? data.unlabelled->rows() : 0,
           .members = config.ensemble.members,
           .active = config.active_members(),
           .round_robin = config.ensemble.selection == "round_robin",
           .chunk_rows = config.data.chunk_rows};
  std::shared_ptr<const Head> head =
      make_head(config.ensemble.model, data.dim, config.ensemble.hidden, data.classes);
  const Part part = part_of(config.ensemble.members, grid.shape.members, grid.member_part);
  objective_ = objective_options(config);
  state_.losses = static_cast<int64_t>(objective_.terms.size());
  members_ = make_members(std::move(head), config.ensemble.members, part, context_.seed,
                          parameter_type(config.training.precision), context_.device);
  if (context_.trace > 0) start_trace();
}

HeadTrainer::~HeadTrainer() { grid_.run->wait_settings().while_waiting = {}; }

int64_t HeadTrainer::updating_epoch() const {
  return std::max<int64_t>(0, state_.epoch - (config_.training.frozen_first_epoch ? 1 : 0));
}

bool HeadTrainer::train(bool resume) {
  optimizer_ = std::make_unique<Optimizer>(config_.optimizer, members_.values);
  schedule_ = std::make_unique<Schedule>(config_.schedule, config_.optimizer.learning_rate,
                                         config_.training.epochs, steps_per_epoch(plan_));
  const StepperOptions options{.clip_norm = config_.training.clip_norm,
                               .skip_not_finite = config_.training.on_nan == "skip_step"};
  if (context_.device.is_cpu()) {
    stepper_ = std::make_unique<HostStepper>(members_, *optimizer_, objective_, options, grid_);
  } else {
    const DeviceStepperOptions batched{
        .step = options,
        .compute = config_.training.precision == "bf16" ? at::kBFloat16 : at::kFloat};
    stepper_ = std::make_unique<DeviceStepper>(members_, *optimizer_, objective_, batched, grid_);
  }
  progress_ = std::make_unique<ProgressBar>(fmt::format("seed {}", context_.seed),
                                            config_.training.epochs * plan_.rows_per_pass, "rows",
                                            !context_.show_progress);
  heartbeat_ = std::make_unique<Heartbeat>(context_.folder, grid_.run->rank());
  grid_.run->wait_settings().while_waiting = [this] { heartbeat_->beat("waiting"); };
  if (resume) {
    agree(*grid_.run, [&] {
      state_ = read_run_checkpoint(context_.folder + "/checkpoint.h5", data_, members_, *optimizer_,
                                   *schedule_);
    });
    spdlog::info("event=resume folder={} epoch={} step={}", context_.folder, state_.epoch,
                 state_.step);
  }
  last_checkpoint_ = Clock::now();
  try {
    while (state_.epoch < config_.training.epochs)
      if (!run_epoch()) return false;
  } catch (Error& error) {
    if (error.kind() != ErrorKind::kComm) throw;
    heartbeat_->beat("waiting", true);
    DISSENT_FAIL(kComm, "{}; {}", error.what(), silent_ranks(context_.folder, grid_.run->size()));
  }
  progress_->finish();
  if (trace_) trace_->finish([this] { return weights(); });
  write_checkpoint("checkpoint.h5");
  return true;
}

NamedTensors HeadTrainer::weights() const {
  NamedTensors tensors;
  add_stack(tensors, "members/", members_.values, members_.head->layout());
  return tensors;
}

void HeadTrainer::start_trace() {
  std::vector<std::string> names;
  for (const auto& term : objective_.terms) names.push_back(term.name);
  const int64_t rows = plan_.batch_size * (plan_.unlabelled_rows > 0 ? 2 : 1);
  trace_ = std::make_unique<TraceWriter>(context_, "heads", names, context_.trace,
                                         rows * (data_.dim * members_.values.element_size() +
                                                 2 * static_cast<int64_t>(sizeof(int64_t))),
                                         weights());
}

void HeadTrainer::trace(const StepInput& input, const StepResult& result) {
  const auto numbers = [](const std::vector<int64_t>& values) {
    return at::tensor(values, at::kLong);
  };
  const Step& step = *input.step;
  TraceStep entry{.epoch = step.epoch,
                  .step = step.index,
                  .learning_rate = input.learning_rate,
                  .update = update_members() && !result.skipped,
                  .drawn = step.drawn,
                  .losses = result.losses,
                  .tensors = {{"rows", numbers(step.rows)},
                              {"active", numbers(step.active)},
                              {"labels", input.labels},
                              {"x", input.x}}};
  if (!step.unlabelled_rows.empty())
    entry.tensors.emplace_back("unlabelled_rows", numbers(step.unlabelled_rows));
  trace_->add(entry, [this] { return weights(); });
}

// What this rank asks of the others with the next wave: every rank may fail or be told to stop, the
// first one looks at the clock.
Request HeadTrainer::own_request() const {
  if (stepper_->failure()) return Request::kFail;
  if (stop_requested()) return Request::kStop;
  const bool due = Clock::now() - last_checkpoint_ >
                   std::chrono::duration<double, std::ratio<60>>(config_.checkpoint.every_minutes);
  return grid_.run->rank() == 0 && due ? Request::kCheckpoint : Request::kNone;
}

// From state_.step to the end of the epoch; false if a stop was agreed on.
bool HeadTrainer::run_epoch() {
  const EpochPlan plan(plan_, state_.epoch);
  std::vector<Step> steps;
  for (int64_t s = 0; s < plan.steps(); ++s) steps.push_back(plan.step(s));
  table_ = at::zeros({plan.steps(), kColumnTerms + static_cast<int64_t>(objective_.terms.size())},
                     at::kDouble);
  probed_ = update_members() && has_both_kinds(objective_)
                ? probed_steps(steps, plan_.members, config_.training.gradient_samples)
                : std::vector<int64_t>{};
  probes_ = at::zeros(
      {static_cast<int64_t>(probed_.size()), plan_.round_robin ? 1 : plan_.active, 3}, at::kDouble);
  if (grid_.run->rank() == 0) {
    if (state_.steps.defined()) table_.narrow(0, 0, state_.step).copy_(state_.steps);
    if (state_.probes.defined()) probes_.copy_(state_.probes);
  }
  state_.steps = state_.probes = at::Tensor();
  Request pending = Request::kNone;
  data_.train.start_pass(plan.pass(), plan.chunk_of(state_.step));
  while (state_.step < plan.steps()) {
    const int64_t chunk = plan.chunk_of(state_.step);
    data_.train.chunk(*grid_.run, chunk);
    run_steps(steps, plan.pass(), plan.chunk_begin(chunk + 1), pending);
    raise_failure();
    if (state_.step == plan.steps() || pending == Request::kNone) continue;
    state_.steps = table_.narrow(0, 0, state_.step).clone();
    state_.probes = probes_.clone();
    gather_tables(state_.steps, state_.probes);
    write_checkpoint("checkpoint.h5");
    state_.steps = state_.probes = at::Tensor();
    if (pending == Request::kStop) return false;
    pending = Request::kNone;
  }
  gather_tables(table_, probes_);
  finish_epoch(steps);
  if (pending != Request::kNone && state_.epoch < config_.training.epochs)
    write_checkpoint("checkpoint.h5");
  return pending != Request::kStop || state_.epoch == config_.training.epochs;
}

// Waves from state_.step to `end` or, once something is pending, to the end of the prefix that is
// then under way.
void HeadTrainer::run_steps(const std::vector<Step>& steps, int64_t pass, int64_t end,
                            Request& pending) {
  // A trace has the steps in their order. Waves change no bit.
  WavePlanner planner(steps, state_.step, end, trace_ ? 1 : config_.training.look_ahead);
  int64_t rows_done = state_.epoch * plan_.rows_per_pass + state_.step * plan_.batch_size;
  for (auto wave = planner.next(); !wave.empty(); wave = planner.next()) {
    std::vector<StepInput> inputs;
    for (const int64_t s : wave) {
      StepInput input{&steps[s], schedule_->rate(updating_epoch(), s), {}, {}};
      if (stepper_->takes_part(steps[s])) load_batch(steps[s], pass, input);
      inputs.push_back(std::move(input));
      rows_done += static_cast<int64_t>(steps[s].rows.size());
    }
    heartbeat_->beat("training", state_.epoch, wave.front());
    probe(inputs);
    const auto results = stepper_->run(inputs, updating_epoch(), update_members(), own_request());
    for (size_t i = 0; i < wave.size(); ++i)
      if (results[i].known) record(wave[i], steps[wave[i]].active, results[i], rows_done);
    for (size_t i = 0; trace_ && !stepper_->failure() && i < wave.size(); ++i)
      if (trace_->wants_more()) trace(inputs[i], results[i]);
    for (const auto& late : stepper_->late_results(false))
      record(late.step, late.active, late.result, rows_done);
    if (stepper_->agreed() > pending) {
      pending = stepper_->agreed();
      if (pending == Request::kFail) return;
      planner.drain();
    }
  }
  for (const auto& late : stepper_->late_results(true))
    record(late.step, late.active, late.result, rows_done);
  state_.step = planner.end();
}

// Into the table of the epoch, by one rank a step.
void HeadTrainer::record(int64_t step, const std::vector<int64_t>& active, const StepResult& result,
                         int64_t rows_done) {
  progress_->update(rows_done, fmt::format("epoch {} step {}/{} loss {:.4f}", state_.epoch, step,
                                           table_.size(0), result.total));
  if (grid_.data_part != 0 || !members_.holds(active[0])) return;
  auto* row = table_.data_ptr<double>() + step * table_.size(1);
  row[kColumnTotal] = result.total;
  row[kColumnSkipped] = result.skipped ? 1 : 0;
  std::copy(result.losses.begin(), result.losses.end(), row + kColumnTerms);
}

// Each row is filled by one rank, or by the ranks of its members: sums are exact.
void HeadTrainer::gather_tables(at::Tensor& steps, at::Tensor& probes) {
  grid_.run->all_reduce(steps, ReduceOp::kSum);
  if (probes.numel() > 0) grid_.run->all_reduce(probes, ReduceOp::kSum);
}

// How the losses pull at the members in those of these steps that are looked at.
void HeadTrainer::probe(const std::vector<StepInput>& inputs) {
  std::vector<StepInput> chosen;
  for (const auto& input : inputs)
    if (std::binary_search(probed_.begin(), probed_.end(), input.step->index))
      chosen.push_back(input);
  if (chosen.empty()) return;
  const auto figures = stepper_->probe(chosen, updating_epoch());
  if (grid_.data_part != 0) return;
  const auto pairs = local_pairs(chosen, members_);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto row =
        std::lower_bound(probed_.begin(), probed_.end(), chosen[pairs[i].step].step->index) -
        probed_.begin();
    probes_[row][pairs[i].position].copy_(figures[static_cast<int64_t>(i)]);
  }
}

// A failure that some rank has met becomes one error of all.
void HeadTrainer::raise_failure() {
  agree(*grid_.run, [&] {
    if (stepper_->failure()) throw *stepper_->failure();
  });
}

void HeadTrainer::load_batch(const Step& step, int64_t pass, StepInput& input) const {
  std::vector<int64_t> rows;
  for (const int64_t row : step.rows) rows.push_back(pass * plan_.rows_per_pass + row);
  input.labels = data_.train.take_labels(rows);
  const Part part = part_of(static_cast<int64_t>(rows.size()), grid_.shape.data, grid_.data_part);
  input.x = data_.train.take(std::span(rows).subspan(part.first, part.count))
                .to(members_.values.scalar_type());
  if (step.unlabelled_rows.empty()) return;
  const Part extra =
      part_of(static_cast<int64_t>(step.unlabelled_rows.size()), grid_.shape.data, grid_.data_part);
  const auto unlabelled =
      data_.unlabelled->take(std::span(step.unlabelled_rows).subspan(extra.first, extra.count))
          .to(input.x.scalar_type());
  input.x = at::cat({input.x, to_device(unlabelled, input.x.device())});
}

void HeadTrainer::finish_epoch(const std::vector<Step>& steps) {
  // Added in step order; a skipped step has no losses worth a mean.
  EpochRecord record;
  std::vector<double> sums(table_.size(1), 0);
  const auto values = table_.accessor<double, 2>();
  record.epoch = state_.epoch;
  record.steps = table_.size(0);
  for (int64_t s = 0; s < table_.size(0); ++s) {
    if (values[s][kColumnSkipped] != 0) {
      ++record.skipped;
      continue;
    }
    for (int64_t c = 0; c < table_.size(1); ++c) sums[c] += values[s][c];
  }
  const auto counted = static_cast<double>(record.steps - record.skipped);
  record.total = sums[kColumnTotal] / counted;
  for (size_t c = kColumnTerms; c < sums.size(); ++c) record.losses.push_back(sums[c] / counted);
  for (const auto& figures : gradient_figures(probes_, probed_, steps, plan_.members))
    record.gradients.insert(record.gradients.end(),
                            {figures.base_norm, figures.diversity_norm, figures.angle_degrees});
  record.learning_rate = schedule_->rate(updating_epoch(), record.steps - 1);
  record.accuracy_ensemble = record.accuracy_best = record.accuracy_mean = record.nll = kNaN;
  if (data_.validation) validate(record);
  if (update_members()) schedule_->observe(data_.validation ? record.nll : record.total);
  state_.records.push_back(record);
  ++state_.epoch;
  state_.step = 0;
  agree(*grid_.run, [&] { write_log(); });
  if (data_.validation && record.accuracy_ensemble >= state_.best_accuracy) {
    state_.best_accuracy = record.accuracy_ensemble;
    write_checkpoint("best.h5");
  }
}

// Logits [m, B, C] of this rank's members on rows of the host, on the host.
at::Tensor HeadTrainer::member_logits(const at::Tensor& rows) const {
  const auto& values = members_.values;
  if (values.is_cpu()) {
    const auto x = rows.to(values.options());
    auto logits = at::empty({members_.count(), x.size(0), data_.classes}, x.options());
    parallel_tasks(members_.count(), [&](int64_t i) {
      logits[i].copy_(members_.head->forward(values[i], x, nullptr));
    });
    return logits;
  }
  // A GPU's work goes onto the stream of this thread, and one copy brings all logits.
  const auto x = to_device(rows.to(values.scalar_type()), values.device());
  std::vector<at::Tensor> logits;
  for (int64_t i = 0; i < members_.count(); ++i)
    logits.push_back(members_.head->forward(values[i], x, nullptr));
  return at::stack(logits).cpu();
}

void HeadTrainer::validate(EpochRecord& record) {
  const int64_t rows = data_.validation->rows(), members = members_.total;
  const int64_t block =
      std::clamp<int64_t>((int64_t{1} << 24) / (members * data_.classes), 16, 1024);
  const int64_t blocks = (rows + block - 1) / block;
  std::vector<int64_t> counts;
  // Columns: right answers of each member, right answers of the ensemble, sum of the ensemble's
  // negative log-likelihoods. A row a block, each filled by one rank.
  auto table = at::zeros({blocks, members + 2}, at::kDouble);
  for (int64_t b = grid_.data_part; b < blocks; b += grid_.shape.data) {
    std::vector<int64_t> positions;
    for (int64_t row = b * block; row < std::min(rows, (b + 1) * block); ++row)
      positions.push_back(row);
    const auto count = static_cast<int64_t>(positions.size());
    const auto labels = data_.validation->take_labels(positions);
    const auto local = member_logits(data_.validation->take(positions));
    counts.clear();
    for (int64_t g = 0; g < grid_.shape.members; ++g)
      counts.push_back(part_of(members, grid_.shape.members, g).count * count * data_.classes);
    const auto logits =
        grid_.members->all_gather(local, counts).view({members, count, data_.classes});
    if (grid_.member_part != 0) continue;
    const auto mean = logits.mean(0);
    table[b].narrow(0, 0, members).copy_(logits.argmax(2).eq(labels).sum(1));
    table[b][members].copy_(mean.argmax(1).eq(labels).sum());
    table[b][members + 1].copy_(
        at::log_softmax(mean.to(at::kDouble), 1).gather(1, labels.unsqueeze(1)).neg_().sum());
  }
  grid_.run->all_reduce(table, ReduceOp::kSum);
  const auto sums = table.sum(0).div_(static_cast<double>(rows));
  const auto accuracies = sums.narrow(0, 0, members);
  record.accuracy_best = accuracies.max().item<double>();
  record.accuracy_mean = accuracies.mean().item<double>();
  record.accuracy_ensemble = sums[members].item<double>();
  record.nll = sums[members + 1].item<double>();
}

void HeadTrainer::write_checkpoint(const std::string& name) {
  // A slow file system is not a stuck rank.
  auto& settings = grid_.run->wait_settings();
  const double timeout_s =
      std::exchange(settings.timeout_s, std::numeric_limits<double>::infinity());
  heartbeat_->beat("writing a checkpoint", state_.epoch, state_.step, true);
  write_run_checkpoint(context_.folder + "/" + name, grid_, context_, data_, members_, *optimizer_,
                       *schedule_, state_);
  settings.timeout_s = timeout_s;
  if (name == "checkpoint.h5") last_checkpoint_ = Clock::now();
  spdlog::info("event=checkpoint path={}/{} next_epoch={} next_step={}", context_.folder, name,
               state_.epoch, state_.step);
}

void HeadTrainer::write_log() {
  if (grid_.run->rank() != 0) return;
  std::vector<std::string> losses;
  for (const auto& term : objective_.terms) losses.push_back(term.name);
  write_epoch_log(context_, losses, state_.records, config_.training.epochs);
}

}  // namespace dissent
