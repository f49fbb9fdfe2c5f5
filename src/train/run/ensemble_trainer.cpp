#include "train/run/ensemble_trainer.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/stop.hpp"
#include "core/timing.hpp"
#include "storage/run_folder.hpp"
#include "train/run/run_checkpoint.hpp"
#include "train/run/validation.hpp"

namespace dissent {
namespace {

std::unique_ptr<TraceWriter> make_trace(const RunContext& context, const TrainingEngine& engine) {
  if (context.trace == 0) return nullptr;
  const auto shape = engine.trace_shape();
  return std::make_unique<TraceWriter>(context, shape.kind, engine.loss_names(), context.trace,
                                       shape.step_bytes, engine.weights());
}

}  // namespace

EnsembleTrainer::EnsembleTrainer(TrainerOptions options, TrainingEngine& engine, Grid& grid,
                                 RunContext context)
    : options_(std::move(options)),
      engine_(engine),
      grid_(grid),
      context_(std::move(context)),
      optimizer_(options_.optimizer, engine.parameters()),
      schedule_(options_.schedule, options_.optimizer.learning_rate, options_.epochs,
                engine.schedule_steps()),
      progress_(fmt::format("seed {}", context_.seed), options_.epochs * engine.epoch_rows(),
                engine.row_name(), !context_.show_progress),
      heartbeat_(context_.folder, grid.run->rank()),
      trace_(make_trace(context_, engine)) {
  state_.losses = static_cast<int64_t>(engine.loss_names().size());
}

EnsembleTrainer::~EnsembleTrainer() { grid_.run->wait_settings().while_waiting = {}; }

bool EnsembleTrainer::train(bool resume) {
  engine_.start({.optimizer = optimizer_,
                 .schedule = schedule_,
                 .heartbeat = heartbeat_,
                 .progress = progress_,
                 .trace = trace_.get(),
                 .request = [this] { return own_request(); }});

  // A rank that waits for a message is alive: its heartbeat continues, so that only a rank that
  // hangs falls silent.
  grid_.run->wait_settings().while_waiting = [this] { heartbeat_.beat("waiting"); };

  if (resume) read_checkpoint();
  write_start_files();
  last_checkpoint_ = Clock::now();

  try {
    if (!run_epochs()) return false;
  } catch (Error& error) {
    // A collective that timed out says who waited. The heartbeats say for whom.
    if (error.kind() != ErrorKind::kComm) throw;
    heartbeat_.beat("waiting", true);
    DISSENT_FAIL(kComm, "{}; {}", error.what(), silent_ranks(context_.folder, grid_.run->size()));
  }

  // The final checkpoint comes last: a run whose checkpoint has all epochs is complete.
  progress_.finish();
  if (trace_) trace_->finish([this] { return engine_.weights(); });
  engine_.finish();
  write_checkpoint(kCheckpointFile);
  return true;
}

void EnsembleTrainer::read_checkpoint() {
  agree(*grid_.run, [&] {
    state_ = read_run_checkpoint(context_.folder + "/" + kCheckpointFile, engine_.contents(),
                                 optimizer_, schedule_);
  });
  spdlog::info("event=resume folder={} epoch={} step={}", context_.folder, state_.epoch,
               state_.step);
}

// The first epoch may take hours, and an earlier run in this folder may have left another number of
// epochs: `dissent jobs status` reads progress.json from the start.
void EnsembleTrainer::write_start_files() {
  agree(*grid_.run, [&] {
    if (grid_.run->rank() != 0) return;
    write_progress(context_, state_.epoch, options_.epochs, engine_.steps_per_epoch());
    engine_.write_run_files(context_.folder);
  });
}

// False if a stop was agreed on before the last epoch ended.
bool EnsembleTrainer::run_epochs() {
  while (state_.epoch < options_.epochs)
    if (!run_epoch()) return false;
  return true;
}

// Every rank may be told to stop; only the first one looks at the clock, so that ranks whose clocks
// differ request one checkpoint, not two.
Request EnsembleTrainer::own_request() const {
  if (stop_requested()) return Request::kStop;
  const bool due = Clock::now() - last_checkpoint_ >
                   std::chrono::duration<double, std::ratio<60>>(options_.checkpoint_minutes);
  return grid_.run->rank() == 0 && due ? Request::kCheckpoint : Request::kNone;
}

// From state_.step to the end of the epoch. False if a stop was agreed on.
bool EnsembleTrainer::run_epoch() {
  // A resumed epoch begins at state_.step; its plan is made again, since it depends on the seed and
  // the epoch alone.
  tables_ = engine_.begin_epoch(state_.epoch, state_.step);
  restore_tables();

  Request request = Request::kNone;
  const int64_t steps = tables_.steps.size(0);
  while (state_.step < steps) {
    const auto advance = engine_.advance(state_.step, tables_);
    state_.step = advance.step;

    // The steps before the abandoned one are complete: the checkpoint stands between two steps.
    if (advance.abandoned) {
      spdlog::info("event=step_abandoned folder={} epoch={} step={}", context_.folder, state_.epoch,
                   state_.step);
      write_checkpoint_inside_epoch();
      return false;
    }

    // A request that comes with the epoch's last step is answered after the epoch's validation: one
    // checkpoint then serves both.
    request = std::max(request, advance.request);
    if (request == Request::kNone || state_.step == steps) continue;
    write_checkpoint_inside_epoch();
    if (request == Request::kStop) return false;
    request = Request::kNone;
  }

  if (!finish_epoch()) return false;
  const bool done = state_.epoch == options_.epochs;
  if (request != Request::kNone && !done) write_checkpoint(kCheckpointFile);
  return request != Request::kStop || done;
}

// The values of a resumed epoch are already sums over ranks: one rank takes them, the others keep
// zeros.
void EnsembleTrainer::restore_tables() {
  if (grid_.run->rank() == 0) {
    if (state_.steps.defined()) tables_.steps.narrow(0, 0, state_.step).copy_(state_.steps);
    if (state_.probes.defined()) tables_.probes.copy_(state_.probes);
  }
  state_.steps = state_.probes = at::Tensor();
}

void EnsembleTrainer::write_checkpoint_inside_epoch() {
  // Sums over ranks, in tensors of their own: the epoch continues with this rank's values.
  if (state_.step > 0) {
    state_.steps = tables_.steps.narrow(0, 0, state_.step).clone();
    grid_.run->all_reduce(state_.steps, ReduceOp::kSum);
  }
  if (tables_.probes.numel() > 0) {
    state_.probes = tables_.probes.clone();
    grid_.run->all_reduce(state_.probes, ReduceOp::kSum);
  }
  write_checkpoint(kCheckpointFile);
  state_.steps = state_.probes = at::Tensor();
}

// False if a stop was agreed on during validation: the checkpoint then holds all steps of the
// epoch, and the resumed training starts with the validation.
bool EnsembleTrainer::finish_epoch() {
  grid_.run->all_reduce(tables_.steps, ReduceOp::kSum);
  if (tables_.probes.numel() > 0) grid_.run->all_reduce(tables_.probes, ReduceOp::kSum);

  // Every rank computes the record from the same sums, so the schedule and the best epoch need no
  // further message.
  auto record = sum_steps();
  engine_.finish_record(tables_, record);
  record.learning_rate = engine_.last_learning_rate();

  // NaN stands for an epoch without validation: an empty field of train.csv.
  const bool validated = engine_.validation().has_value();
  record.accuracy_ensemble = record.accuracy_best = record.accuracy_mean = record.nll = kNaN;
  if (validated && !validate(engine_, grid_, record)) {
    spdlog::info("event=validation_abandoned folder={} epoch={}", context_.folder, state_.epoch);
    state_.steps = tables_.steps;
    if (tables_.probes.numel() > 0) state_.probes = tables_.probes;
    write_checkpoint(kCheckpointFile);
    state_.steps = state_.probes = at::Tensor();
    return false;
  }

  // The plateau schedule looks at epochs that train; a frozen epoch says nothing about progress.
  if (engine_.updates(state_.epoch)) schedule_.observe(validated ? record.nll : record.total);

  state_.records.push_back(record);
  ++state_.epoch;
  state_.step = 0;

  agree(*grid_.run, [&] { write_log(); });

  // Of equal epochs the later one stays: it has trained longer.
  if (validated && record.accuracy_ensemble >= state_.best_accuracy) {
    state_.best_accuracy = record.accuracy_ensemble;
    write_checkpoint(kBestFile);
  }
  return true;
}

// Means over the steps that were not skipped, added in step order: the same bits on every grid.
EpochRecord EnsembleTrainer::sum_steps() const {
  EpochRecord record;
  record.epoch = state_.epoch;
  record.steps = tables_.steps.size(0);
  record.losses.assign(static_cast<size_t>(state_.losses), 0);
  for (int64_t step = 0; step < record.steps; ++step) engine_.add_step(tables_.steps[step], record);

  // If all steps were skipped: 0 / 0 = NaN.
  const auto counted = static_cast<double>(record.steps - record.skipped);
  record.total /= counted;
  for (auto& loss : record.losses) loss /= counted;
  return record;
}

void EnsembleTrainer::write_log() const {
  if (grid_.run->rank() != 0) return;
  write_epoch_log(context_, engine_.loss_names(), state_.records, options_.epochs);
}

void EnsembleTrainer::write_checkpoint(const std::string& name) {
  heartbeat_.beat("writing a checkpoint", state_.epoch, state_.step, true);
  {
    // A slow file system is not a rank that hangs: the timeout of collectives is suspended.
    const TimeoutScope no_timeout(*grid_.run, kNoTimeout);
    write_run_checkpoint(context_.folder + "/" + name, grid_, context_, engine_.contents(),
                         optimizer_, schedule_, state_);
  }

  // best.h5 does not count for checkpoint.every_minutes: a run resumes from checkpoint.h5 alone.
  if (name == kCheckpointFile) last_checkpoint_ = Clock::now();
  spdlog::info("event=checkpoint path={}/{} next_epoch={} next_step={}", context_.folder, name,
               state_.epoch, state_.step);
}

}  // namespace dissent
