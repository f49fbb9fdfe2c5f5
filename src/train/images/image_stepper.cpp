#include "train/images/image_stepper.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "comm/device.hpp"
#include "core/parallel.hpp"
#include "train/images/ensemble_losses.hpp"

namespace dissent {

ImageStepper::ImageStepper(ImageMembers& members, const ImageObjective& objective,
                           const ImageStepOptions& options, Grid& grid,
                           Discriminator* discriminator)
    : members_(members),
      objective_(objective),
      options_(options),
      grid_(grid),
      discriminator_(discriminator) {
  for (const auto& term : objective_.terms) {
    column_.push_back(columns_);
    columns_ += is_base(term) ? members_.total_networks() : 1;
  }

  gradients_ = at::zeros_like(members_.values);
  if (options_.compute == at::kHalf) scale_.start();

  // On a GPU outputs and gradients travel between device memories; what is small stays with MPI.
  if (!members_.values.is_cpu()) {
    const auto device = members_.values.device();
    if (grid.shape.members > 1) device_members_ = make_device_communicator(*grid.members, device);
    if (grid.shape.data > 1) device_data_ = make_device_communicator(*grid.data, device);
  }

  // With one data rank the statistics of a part are those of the whole batch anyway.
  const bool has_statistics = members_.buffers.size(1) > 0;
  if (options_.synchronised_batch_norm && grid.shape.data > 1 && has_statistics)
    batch_norm_ = device_data_ ? device_data_.get() : grid.data.get();

  passes_ = std::make_unique<NetworkPasses>(
      members_, objective_,
      NetworkPasses::Options{.compute = options_.compute, .batch_norm = batch_norm_}, grid_,
      scale_);
}

ImageStepper::~ImageStepper() = default;

EnsembleSplit ImageStepper::split(int64_t rows) {
  return {.run = *grid_.run,
          .members = device_members_ ? *device_members_ : *grid_.members,
          .data = device_data_ ? *device_data_ : *grid_.data,
          .total = members_.total,
          .rows = rows,
          .unlabelled_rows = rows};
}

bool ImageStepper::reads_common_batch(const ImageStepInput& input) const {
  return objective_.has_common_batch() && !active_terms(objective_, input).ensemble.empty();
}

// Everything that is decided about a batch before any pass runs.
BatchContext ImageStepper::plan_batch(const ImageStepInput& input, double share) const {
  auto terms = active_terms(objective_, input);
  const bool ensemble_losses = !terms.ensemble.empty();
  const bool reads_common = ensemble_losses && objective_.has_common_batch();

  // Without a batch of their own, losses between members read the one batch that all members have.
  const auto& common = reads_common ? input.common : input.own[0];
  return {.input = input,
          .share = share,
          .terms = std::move(terms),
          .common = common,
          .common_labels = common.labels,
          .schedule = schedule_passes({.networks = members_.networks(),
                                       .threads = threads(),
                                       .on_host = members_.values.is_cpu(),
                                       .ensemble_losses = ensemble_losses,
                                       .common_batch = objective_.has_common_batch(),
                                       .labelled = common.labels.defined(),
                                       .running_statistics = members_.buffers.size(1) > 0,
                                       .synchronised_statistics = batch_norm_ != nullptr}),
          .gradients = {}};
}

std::optional<at::Tensor> ImageStepper::accumulate(const ImageStepInput& input, double share) {
  begin_step();
  auto batch = plan_batch(input, share);
  const bool ensemble_on = !batch.terms.ensemble.empty();
  if (ensemble_on) check_rows(batch.common);

  std::vector<NetworkState> states;
  for (int64_t i = 0; i < members_.networks(); ++i) states.push_back(passes_->begin(i));

  // Each network by itself: base losses on its own batch, outputs on the common one.
  if (!run_stage(batch.schedule.before, batch, states)) return std::nullopt;

  // All members together: the losses between them and the derivatives with respect to their
  // outputs; then each network by itself again, from these derivatives to its parameters.
  EnsembleLossValues ensemble;
  if (ensemble_on) {
    const auto ranks = split(batch.common.total);
    batch.common_labels = common_labels(batch.common, states, ranks);
    const auto& maps = batch.schedule.maps;
    if (!maps.tasks.empty() && !run_stage(maps, batch, states)) return std::nullopt;
    ensemble =
        ensemble_losses(members_, objective_, batch, states, ranks, scale_.value, discriminator_);
    batch.gradients = ensemble.gradients;
    if (!run_stage(batch.schedule.after, batch, states)) return std::nullopt;
  }

  const auto values = values_of(states, ensemble_on ? &ensemble : nullptr, share);

  // Always in this order, whichever pass was computed first: the sums then have the same bits on
  // any number of threads.
  each_network(members_, [&](int64_t i) {
    add_gradient(i, states[i].base_gradient);
    add_gradient(i, states[i].ensemble_gradient);
    states[i] = {};
  });
  return values;
}

// Runs the tasks of a stage on the threads of this process; one after the other, in order, on a GPU
// and where passes wait for other ranks. False, on every rank, if the step was abandoned.
bool ImageStepper::run_stage(const PassStage& stage, const BatchContext& batch,
                             std::vector<NetworkState>& states) {
  const auto run_task = [&](int64_t i) {
    // Ranks that exchange statistics run all passes, so that none waits for one that was left out.
    if (!stage.in_order && stop_wanted()) return;
    const at::AutoGradMode with_graph(true);
    const auto& task = stage.tasks[i];
    for (const auto pass : task.passes)
      passes_->run_pass(pass, task.network, batch, states[task.network]);
  };

  const auto tasks = static_cast<int64_t>(stage.tasks.size());
  if (members_.values.is_cpu() && !stage.in_order) {
    parallel_tasks(tasks, run_task);
  } else {
    for (int64_t i = 0; i < tasks; ++i) run_task(i);
  }
  return !abandoned();
}

// Base losses by network; an ensemble loss, which every rank knows, from the first rank alone: the
// sum over ranks is exact.
at::Tensor ImageStepper::values_of(const std::vector<NetworkState>& states,
                                   const EnsembleLossValues* ensemble, double share) const {
  auto values = at::zeros({columns_}, at::kDouble);
  auto* value = values.data_ptr<double>();
  for (size_t t = 0; t < objective_.terms.size(); ++t) {
    if (is_base(objective_.terms[t])) {
      for (size_t i = 0; i < states.size(); ++i)
        value[column_[t] + members_.first + static_cast<int64_t>(i)] = states[i].base_values[t];
    } else if (ensemble && grid_.run->rank() == 0) {
      value[column_[t]] = share * ensemble->values[t];
    }
  }
  return values;
}

// Every rank of the run finds the same, so all fail here, before any waits for another.
void ImageStepper::check_rows(const ImageRows& rows) const {
  if (rows.total >= grid_.shape.data) return;
  Error error(ErrorKind::kUsage,
              fmt::format("a batch that losses between members read: expected at least one image "
                          "per data rank ({}), found {}; data.drop_last = true leaves out a short "
                          "last batch",
                          grid_.shape.data, rows.total),
              __FILE__, __LINE__);
  error.set_agreed();
  throw error;
}

// A step that may take long can be abandoned between the passes of networks. The duration of the
// last step decides; ranks exchange it in update(), so it is the same on all. The first step of a
// training may take any time.
void ImageStepper::begin_step() {
  constexpr double kLongStepS = 1;
  if (in_step_) return;
  const at::NoGradGuard no_graph;
  in_step_ = true;
  step_start_ = std::chrono::steady_clock::now();
  watches_ = options_.stop && longest_s_ > kLongStepS;

  // Training passes move the running statistics in place. A step that is abandoned puts them back.
  const bool has_statistics = members_.buffers.size(1) > 0;
  buffers_before_ = watches_ && has_statistics ? members_.buffers.clone() : at::Tensor();
}

// Whether any rank wants to stop; then nothing is left of the step. Collective over the run.
bool ImageStepper::abandoned() {
  if (!watches_) return false;
  auto stop = at::full({1}, static_cast<int64_t>(options_.stop()), at::kLong);
  if (grid_.run->size() > 1) {
    // A rank that skipped its passes waits for others that do not know yet: up to the duration of a
    // step, which does not mean that a rank hangs.
    const double more_s = options_.stop() ? longest_s_ : 0;
    const TimeoutScope longer(*grid_.run, grid_.run->wait_settings().timeout_s + more_s);
    grid_.run->all_reduce(stop, ReduceOp::kMax);
  }
  if (stop.item<int64_t>() == 0) return false;

  const at::NoGradGuard no_graph;
  gradients_.zero_();
  if (buffers_before_.defined()) members_.buffers.copy_(buffers_before_);
  if (discriminator_) discriminator_->discard();
  in_step_ = false;
  return true;
}

void ImageStepper::add_gradient(int64_t network, const std::vector<at::Tensor>& gradient) {
  const at::NoGradGuard no_graph;
  const auto flat = gradients_[network];
  for (size_t i = 0; i < gradient.size(); ++i)
    if (gradient[i].defined())
      parameter(flat, members_.network->layout().entry(i)).add_(gradient[i]);
}

}  // namespace dissent
