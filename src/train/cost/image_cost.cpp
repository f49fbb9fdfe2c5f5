#include "train/cost/image_cost.hpp"

#include <algorithm>

#include "core/divide_up.hpp"
#include "ensemble/split_loss.hpp"
#include "storage/h5.hpp"
#include "train/images/image_engine.hpp"
#include "train/images/plan_options.hpp"

namespace dissent {
namespace {

using losses::Field;

constexpr double kPasses = 3;  // a forward and a backward pass, in forward passes

// Networks of the rank that holds most, and its images of a batch.
int64_t most_networks(const ImageRunShape& run, const GridShape& grid) {
  return run.multihead() ? 1 : part_of(run.members, grid.members, 0).count;
}
int64_t own_images(const ImageRunShape& run, const GridShape& grid) {
  return part_of(run.batch, grid.data, 0).count;
}
int64_t common_images(const ImageRunShape& run, const GridShape& grid) {
  return part_of(run.common_images(), grid.data, 0).count;
}

int64_t pixel_bytes(const ImageRunShape& run) {
  return run.network->channels() * run.size * run.size * kFloatBytes;
}

// Values of a field per member and image; 0: none is sent.
int64_t values_of(const ImageRunShape& run, Field field) {
  const auto pixels = run.size * run.size * run.network->channels();
  switch (field) {
    case Field::kLogits:
    case Field::kUnlabelledLogits: return run.network->classes();
    case Field::kFeatures: return run.network->feature_dim();
    case Field::kSaliencyMaps: return run.map_pixels;
    case Field::kInputGradients: return pixels;
    default: return 0;  // labels, a drawn member: negligible
  }
}

// Rounds in which the threads of a rank take its networks, one network per thread at a time.
double rounds(const ImageRunShape& run, const GridShape& grid, int64_t threads) {
  return static_cast<double>(divide_up(most_networks(run, grid), threads));
}

// Adds up what a rank receives per step for losses between members.
class Gathers {
 public:
  Gathers(const ImageRunShape& run, const GridShape& grid)
      : run_(run),
        networks_(static_cast<double>(most_networks(run, grid))),
        data_(static_cast<double>(grid.data)),
        ranks_(static_cast<double>(grid.members) * data_) {}

  // The values of all members and rows, without those that the rank has.
  void from_members(Field field) {
    add(field, static_cast<double>(run_.members) * (1 - 1 / ranks_));
  }
  // The rows that other data ranks have of the rank's own members.
  void from_data_ranks(Field field) { add(field, networks_ * (1 - 1 / data_)); }

  double bytes() const { return bytes_; }
  int64_t messages() const { return messages_; }

 private:
  void add(Field field, double members) {
    const double values = static_cast<double>(values_of(run_, field)) *
                          static_cast<double>(run_.common_images() * kFloatBytes);
    bytes_ += static_cast<double>(run_.accumulation) * values * members;

    // Each gather is preceded by a message in which ranks compare what they hold.
    if (values > 0) messages_ += run_.accumulation * 2;
  }

  const ImageRunShape& run_;
  double networks_, data_, ranks_;
  double bytes_ = 0;
  int64_t messages_ = 0;
};

// Fields that a loss between members reads.
void gather_fields(const losses::LossTerm& term, Gathers& gathers) {
  const auto traits = traits_of(term);
  for (const auto field : traits.exchanged) gathers.from_members(field);

  // Maps and input gradients are made from logits that stay on their rank. Every other field that
  // members do not exchange is gathered for the rank's own members, over the rows of the batch.
  if (traits.exchanges(Field::kSaliencyMaps) || traits.exchanges(Field::kInputGradients)) return;
  for (const auto field : traits.needs)
    if (!traits.exchanges(field)) gathers.from_data_ranks(field);
}

// Activations and graphs of derivatives: what the passes of a step hold at the same time.
void add_pass_memory(const ImageRunShape& run, const GridShape& grid, int64_t team,
                     ImageMemoryCost& cost) {
  const int64_t networks = most_networks(run, grid), own = own_images(run, grid),
                common = run.common_batch() ? common_images(run, grid) : 0;
  const int64_t base = run.training.of(own), saved = common > 0 ? run.common.of(common) : base,
                derivative = run.derivative.of(common > 0 ? common : own);

  if (!run.couples()) {
    // Without losses between members a network's pass ends, backward included, before the next one
    // on its thread begins.
    cost.activations = team * base;
  } else if (!run.common_batch()) {
    cost.activations = networks * saved;
    cost.saliency = networks * derivative;
  } else {
    // With running statistics a network ends its training pass before its pass on the common batch
    // begins. Without them training passes run while the common passes of other networks are saved.
    const int64_t beside =
        run.buffers() > 0 ? std::max<int64_t>(0, base - saved - derivative) : base;
    cost.activations = networks * saved + team * beside;
    cost.saliency = networks * derivative;
  }
  cost.activations += team * run.backward.of(std::max(own, common));
}

// Seconds per step to read the images of the rank. With same_batch one batch serves all networks;
// a common batch is read in addition where it is not one of the rank's own.
double reading_seconds(const ImageRunShape& run, const GridShape& grid, double image_s) {
  const int64_t loads = run.objective.same_batch ? 1 : most_networks(run, grid);
  const bool reads_common = run.common_batch() && (run.objective.unlabelled || grid.members > 1);
  const int64_t images =
      loads * own_images(run, grid) + (reads_common ? common_images(run, grid) : 0);
  return static_cast<double>(run.accumulation * images) * image_s;
}

double exchange_seconds(const ImageRunShape& run, const GridShape& grid,
                        const MessageCost& messages) {
  const auto step = image_step_cost(run, grid);
  const int64_t ranks = grid.members * grid.data;
  double seconds = static_cast<double>(step.messages * (ranks - 1)) * messages.latency_s +
                   step.exchange_bytes / messages.bytes_per_second;

  // Gradients are summed once per update, however many batches it has.
  if (grid.data > 1)
    seconds += messages.all_reduce(
        grid.data, static_cast<double>(most_networks(run, grid) * run.flat() * kFloatBytes));
  return seconds;
}

}  // namespace

bool ImageRunShape::couples() const {
  return std::any_of(objective.terms.begin(), objective.terms.end(),
                     [](const auto& term) { return !is_base(term); });
}

ImageRunShape image_run_shape(const ImageTrainConfig& config, int64_t classes,
                              std::optional<int64_t> rows, std::optional<int64_t> validation_rows,
                              int64_t config_bytes) {
  ImageRunShape run;
  run.network = image_network(config, classes);
  run.objective = image_objective(config);
  run.members = config.ensemble.members;
  run.size = find_transform(config.data.transform).options.size;

  run.batch = std::min(config.data.batch_size, rows.value_or(config.data.batch_size));
  run.unlabelled = config.with_unlabelled ? config.unlabelled.batch_size : 0;
  run.accumulation = config.training.accumulation;
  run.prefetch = config.data.workers > 0 ? config.data.prefetch : 0;

  run.epochs = config.training.epochs;
  run.states = optimizer_states(config.optimizer);
  run.ema = config.training.ema_decay > 0;

  // DICE's discriminator is built rather than counted by a formula.
  const auto discriminator = make_discriminator(config, run.objective, *run.network, 1, at::kFloat);
  if (discriminator) {
    for (const auto& parameter : discriminator->parameters())
      run.discriminator += parameter.numel();
  }

  run.rows = rows;
  if (rows) run.batches = batches_per_epoch(image_plan_options(config, /*seed=*/0, *rows, 0));
  run.validation_rows = validation_rows;
  run.validation_batch = config.with_validation ? config.validation.batch_size : 0;
  run.config_bytes = config_bytes;
  return run;
}

ImageStepCost image_step_cost(const ImageRunShape& run, const GridShape& grid) {
  ImageStepCost cost;
  const auto data = static_cast<double>(grid.data);
  const int64_t networks = most_networks(run, grid),
                images =
                    own_images(run, grid) + (run.common_batch() ? common_images(run, grid) : 0);

  // Each network sees its own batch, and the common one where losses between members read it.
  cost.images = static_cast<double>(run.accumulation) * static_cast<double>(networks * images);
  cost.reduce_bytes =
      static_cast<double>(networks * run.flat() * kFloatBytes) * 2 * (data - 1) / data;
  if (grid.members * grid.data == 1) return cost;

  // Each loss between members gathers its fields, and losses on unlabelled images the ensemble's
  // predictions there. One more message per step has gradient norms and stop requests.
  Gathers gathers(run, grid);
  for (const auto& term : run.objective.terms)
    if (!is_base(term)) gather_fields(term, gathers);
  if (run.couples() && run.objective.unlabelled) gathers.from_members(Field::kLogits);
  cost.exchange_bytes = gathers.bytes();
  cost.messages = gathers.messages() + 1;
  return cost;
}

ImageMemoryCost image_memory_cost(const ImageRunShape& run, const GridShape& grid,
                                  int64_t threads) {
  const int64_t networks = most_networks(run, grid), team = std::min(networks, threads),
                slab = networks * run.flat() * kFloatBytes;
  ImageMemoryCost cost;

  // The discriminator has its gradient and two states in addition to its parameters.
  cost.parameters = slab * (run.ema ? 2 : 1) + networks * run.buffers() * kFloatBytes +
                    4 * run.discriminator * kFloatBytes;

  cost.optimizer = run.states * slab;
  cost.gradients = slab * (run.common_batch() ? 3 : 2);
  add_pass_memory(run, grid, team, cost);
  cost.sets = run.set_bytes;

  // Batches that are read ahead are as large as the one that is trained on.
  const int64_t image = pixel_bytes(run), loads = run.objective.same_batch ? 1 : networks,
                common = run.common_batch() ? common_images(run, grid) : 0;
  cost.images = image * (loads * own_images(run, grid) + common) * (1 + run.prefetch);

  if (run.validation_batch > 0)
    cost.validation =
        team * run.forward.of(run.validation_batch) + 2 * image * run.validation_batch;

  int64_t largest = 0;
  for (const auto& entry : run.network->layout().entries())
    largest = std::max(largest, entry.numel);
  cost.checkpoint = networks * largest * kFloatBytes + kReadBackBytes;
  return cost;
}

StorageCost image_storage_cost(const ImageRunShape& run, int64_t ranks) {
  const auto &parameters = run.network->layout(), &buffers = run.network->buffer_layout();
  const int64_t copies = 1 + run.states + (run.ema ? 1 : 0);
  const int64_t values =
      run.networks() * (copies * parameters.parameter_count() + buffers.parameter_count()) +
      4 * run.discriminator;
  // Records of epochs and sets of states are left out: they are small compared to networks.
  return storage_cost({.value_bytes = values * kFloatBytes,
                       .tensors = static_cast<int64_t>(parameters.entries().size()) * copies +
                                  static_cast<int64_t>(buffers.entries().size()),
                       .config_bytes = run.config_bytes,
                       .members = run.members,
                       .epochs = run.epochs,
                       .ranks = ranks,
                       .validates = run.validation_batch > 0});
}

ImageTimeCost image_time_cost(const ImageRunShape& run, const GridShape& grid, int64_t runs,
                              const ImageRankTimes& times, const MessageCost& messages,
                              int64_t workers) {
  ImageTimeCost cost;
  cost.exchange_s = exchange_seconds(run, grid, messages);
  cost.reading_s = reading_seconds(run, grid, times.image_s);
  cost.validation_s = times.validation_s;

  // Workers read while the networks compute: the slower of the two decides. Without workers both
  // follow each other.
  const double passes = static_cast<double>(run.accumulation) * times.batch_s;
  const double images = workers > 0 ? std::max(passes, cost.reading_s) : passes + cost.reading_s;
  cost.step_s = images + times.update_s + cost.exchange_s;
  if (!run.batches) return cost;

  // In steps and parts of a step: the last step of an epoch may have fewer batches.
  const double epoch_s =
      cost.step_s * static_cast<double>(*run.batches) / static_cast<double>(run.accumulation) +
      times.validation_s;

  cost.epoch_s = epoch_s;
  cost.run_s = static_cast<double>(run.epochs) * epoch_s;
  cost.total_s = *cost.run_s * static_cast<double>(rounds_of_runs(runs, grid));
  return cost;
}

std::optional<GridShape> best_image_grid(const ImageRunShape& run, int64_t ranks, int64_t runs,
                                         int64_t threads, const MessageCost& messages) {
  const GridLimits limits{runs, run.networks(), run.batch};
  return fastest_grid(ranks, limits, [&](const GridShape& grid) {
    // From one measured forward pass: a backward pass takes about twice as long.
    const auto step = image_step_cost(run, grid);
    const double batch_s = kPasses * run.pass_s * step.images /
                           static_cast<double>(run.accumulation * most_networks(run, grid)) *
                           rounds(run, grid, threads);
    return image_time_cost(run, grid, runs, {batch_s, 0, 0, 0}, messages, 0).step_s *
           static_cast<double>(rounds_of_runs(runs, grid));
  });
}

}  // namespace dissent
