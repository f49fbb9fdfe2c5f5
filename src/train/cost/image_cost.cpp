#include "train/cost/image_cost.hpp"

#include <cmath>

#include "ensemble/split_loss.hpp"
#include "train/cost/cost_constants.hpp"
#include "train/images/image_engine.hpp"
#include "train/images/plan_options.hpp"

namespace dissent {
namespace {

using losses::Field;

constexpr double kPasses = 3;  // a forward and a backward pass, in forward passes

int64_t up(int64_t value, int64_t by) { return (value + by - 1) / by; }

// Networks of the rank that holds most, and its images of a batch.
int64_t most_networks(const ImageRunShape& run, const GridShape& grid) {
  return run.multihead() ? 1 : part_of(run.members, grid.members, 0).count;
}

// Values of a field, a member and image; 0: none is sent.
int64_t values_of(const ImageRunShape& run, Field field) {
  const auto pixels = run.size * run.size * run.network->channels();
  switch (field) {
    case Field::kLogits:
    case Field::kUnlabelledLogits: return run.network->classes();
    case Field::kFeatures: return run.network->feature_dim();
    case Field::kSaliencyMaps: return run.map_pixels;
    case Field::kInputGradients: return pixels;
    default: return 0;  // labels, a drawn member: next to nothing
  }
}

// Networks after each other on the threads of a rank.
double rounds(const ImageRunShape& run, const GridShape& grid, int64_t threads) {
  return static_cast<double>(up(most_networks(run, grid), threads));
}

}  // namespace

bool ImageRunShape::couples() const {
  return std::any_of(objective.terms.begin(), objective.terms.end(),
                     [](const auto& term) { return !is_base(term); });
}

ImageRunShape image_run_shape(const ImageTrainConfig& c, int64_t classes,
                              std::optional<int64_t> rows, std::optional<int64_t> validation_rows,
                              int64_t config_bytes) {
  ImageRunShape run;
  run.network = image_network(c, classes);
  run.objective = image_objective(c);
  run.members = c.ensemble.members;
  run.size = find_transform(c.data.transform).options.size;
  run.batch = std::min(c.data.batch_size, rows.value_or(c.data.batch_size));
  run.unlabelled = c.with_unlabelled ? c.unlabelled.batch_size : 0;
  run.accumulation = c.training.accumulation;
  run.prefetch = c.data.workers > 0 ? c.data.prefetch : 0;
  run.epochs = c.training.epochs;
  run.states = optimizer_states(c.optimizer);
  if (const auto discriminator = make_discriminator(c, run.objective, *run.network, 1, at::kFloat))
    for (const auto& parameter : discriminator->parameters())
      run.discriminator += parameter.numel();
  run.ema = c.training.ema_decay > 0;
  run.rows = rows;
  if (rows) run.batches = batches_per_epoch(image_plan_options(c, /*seed=*/0, *rows, 0));
  run.validation_rows = validation_rows;
  run.validation_batch = c.with_validation ? c.validation.batch_size : 0;
  run.config_bytes = config_bytes;
  return run;
}

ImageStepCost image_step_cost(const ImageRunShape& run, const GridShape& grid) {
  ImageStepCost cost;
  const auto data = static_cast<double>(grid.data), steps = static_cast<double>(run.accumulation);
  const int64_t networks = most_networks(run, grid), own = part_of(run.batch, grid.data, 0).count,
                common = part_of(run.common_images(), grid.data, 0).count;
  cost.images = steps * static_cast<double>(networks * (own + (run.common_batch() ? common : 0)));
  const double all = static_cast<double>(run.common_images() * kFloatBytes),
               others = 1 - 1 / (static_cast<double>(grid.members) * data);
  // All members and rows but its own; where no member sees another, the rows of its own members
  // alone.
  const auto gather = [&](Field field, bool of_members) {
    const double values = static_cast<double>(values_of(run, field)) * all;
    cost.exchange_bytes += steps * values *
                           (of_members ? static_cast<double>(run.members) * others
                                       : static_cast<double>(networks) * (1 - 1 / data));
    cost.messages += values > 0 ? run.accumulation * 2
                                : 0;  // and the message in which ranks compare what they have
  };
  for (const auto& term : run.objective.terms) {
    if (is_base(term)) continue;
    const auto traits = losses::traits_of(losses::find_loss(term.name), term.options);
    const auto sent = [&](Field field) {
      return std::find(traits.exchanged.begin(), traits.exchanged.end(), field) !=
             traits.exchanged.end();
    };
    for (const auto field : traits.exchanged) gather(field, true);
    if (sent(Field::kSaliencyMaps) || sent(Field::kInputGradients)) continue;
    for (const auto field : traits.needs)
      if (!sent(field)) gather(field, false);
  }
  if (run.couples() && run.objective.unlabelled)
    gather(Field::kLogits, true);  // the ensemble's predictions
  cost.messages += 1;              // norms, and what ranks want
  if (grid.members * grid.data == 1) cost.messages = 0, cost.exchange_bytes = 0;
  cost.reduce_bytes =
      static_cast<double>(networks * run.flat() * kFloatBytes) * 2 * (data - 1) / data;
  return cost;
}

ImageMemoryCost image_memory_cost(const ImageRunShape& run, const GridShape& grid,
                                  int64_t threads) {
  const int64_t networks = most_networks(run, grid), team = std::min(networks, threads),
                slab = networks * run.flat() * kFloatBytes;
  const int64_t own = part_of(run.batch, grid.data, 0).count,
                common = part_of(run.common_images(), grid.data, 0).count;
  ImageMemoryCost cost;
  cost.parameters = slab * (run.ema ? 2 : 1) + networks * run.buffers() * kFloatBytes +
                    4 * run.discriminator * kFloatBytes;
  cost.optimizer = run.states * slab;
  cost.gradients = slab * (run.common_batch() ? 3 : 2);
  const int64_t base = run.training.of(own),
                kept = run.common_batch() ? run.common.of(common) : base,
                derivative = run.derivative.of(run.common_batch() ? common : own);
  if (!run.couples()) {
    cost.activations = team * base;
  } else if (!run.common_batch()) {
    cost.activations = networks * kept;
    cost.saliency = networks * derivative;
  } else {
    // With running statistics a network's training pass is done before its other pass; without,
    // others' passes may be kept meanwhile.
    const int64_t beside =
        run.buffers() > 0 ? std::max<int64_t>(0, base - kept - derivative) : base;
    cost.activations = networks * kept + team * beside;
    cost.saliency = networks * derivative;
  }
  cost.activations += team * run.backward.of(std::max(own, run.common_batch() ? common : 0));
  cost.sets = run.set_bytes;
  const int64_t image = run.network->channels() * run.size * run.size * kFloatBytes,
                loads = run.objective.same_batch ? 1 : networks;
  cost.images = image * (loads * own + (run.common_batch() ? common : 0)) * (1 + run.prefetch);
  if (run.validation_batch > 0)
    cost.validation =
        team * run.forward.of(run.validation_batch) + 2 * image * run.validation_batch;
  int64_t largest = 0;
  for (const auto& entry : run.network->layout().entries())
    largest = std::max(largest, entry.numel);
  cost.checkpoint = networks * largest * kFloatBytes + kCheckBytes;
  return cost;
}

StorageCost image_storage_cost(const ImageRunShape& run, int64_t ranks) {
  const auto &parameters = run.network->layout(), &buffers = run.network->buffer_layout();
  const int64_t copies = 1 + run.states + (run.ema ? 1 : 0), networks = run.networks();
  const auto tensors = static_cast<int64_t>(parameters.entries().size()) * copies +
                       static_cast<int64_t>(buffers.entries().size());
  StorageCost cost;
  cost.checkpoint =
      networks * (copies * parameters.parameter_count() + buffers.parameter_count()) * kFloatBytes +
      4 * run.discriminator * kFloatBytes + run.config_bytes + kFileBytes +
      tensors * kParameterBytes;
  cost.peak = cost.checkpoint * (run.validation_batch > 0 ? 3 : 2);
  cost.logs = (256 + 60 * run.members) * run.epochs + 4096 + 2 * run.config_bytes + 256 * ranks;
  return cost;
}

ImageTimeCost image_time_cost(const ImageRunShape& run, const GridShape& grid, int64_t runs,
                              const ImageRankTimes& times, const MessageCost& messages,
                              int64_t workers) {
  const auto step = image_step_cost(run, grid);
  const int64_t ranks = grid.members * grid.data, batches = run.accumulation;
  ImageTimeCost cost;
  cost.exchange_s = static_cast<double>(step.messages * (ranks - 1)) * messages.latency_s +
                    step.exchange_bytes / messages.bytes_per_second;
  if (grid.data > 1)
    cost.exchange_s += messages.all_reduce(
        grid.data, static_cast<double>(most_networks(run, grid) * run.flat() * kFloatBytes));
  // Pixels that the rank makes: one batch for all with same_batch.
  const int64_t own = part_of(run.batch, grid.data, 0).count,
                loads = run.objective.same_batch ? 1 : most_networks(run, grid);
  const bool other = run.common_batch() && (run.objective.unlabelled || grid.members > 1);
  const double pixels = static_cast<double>(
      batches * (loads * own + (other ? part_of(run.common_images(), grid.data, 0).count : 0)));
  cost.reading_s = pixels * times.image_s;
  const double passes = static_cast<double>(batches) * times.batch_s;
  cost.step_s = (workers > 0 ? std::max(passes, cost.reading_s) : passes + cost.reading_s) +
                times.update_s + cost.exchange_s;
  cost.validation_s = times.validation_s;
  if (!run.batches) return cost;
  // The last step of an epoch may have fewer batches.
  cost.epoch_s = cost.step_s * static_cast<double>(*run.batches) / static_cast<double>(batches) +
                 times.validation_s;
  cost.run_s = static_cast<double>(run.epochs) * *cost.epoch_s;
  cost.total_s = *cost.run_s * static_cast<double>(up(runs, grid.runs));
  return cost;
}

std::optional<GridShape> best_image_grid(const ImageRunShape& run, int64_t ranks, int64_t runs,
                                         int64_t threads, const MessageCost& messages) {
  std::optional<GridShape> best;
  double best_s = 0;
  for (int64_t data = 1; data <= std::min(ranks, run.batch); ++data)
    for (int64_t members = 1;
         ranks % data == 0 && members <= std::min(ranks / data, run.multihead() ? 1 : run.members);
         ++members) {
      if (ranks / data % members != 0 || ranks / data / members > runs) continue;
      const GridShape grid{ranks / data / members, members, data};
      const auto step = image_step_cost(run, grid);
      const double batch_s = kPasses * run.pass_s * step.images /
                             static_cast<double>(run.accumulation * most_networks(run, grid)) *
                             rounds(run, grid, threads);
      const double seconds =
          image_time_cost(run, grid, runs, {batch_s, 0, 0, 0}, messages, 0).step_s *
          static_cast<double>(up(runs, grid.runs));
      if (!best || seconds < best_s) best = grid, best_s = seconds;
    }
  return best;
}

}  // namespace dissent
