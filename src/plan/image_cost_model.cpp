#include "plan/image_cost_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <sstream>

#include "core/parallel.hpp"
#include "plan/coordination.hpp"
#include "storage/atomic_file.hpp"
#include "train/cost/image_calibration.hpp"
#include "train/images/pass_schedule.hpp"

namespace dissent::plan {
namespace {

Json memory_json(const ImageMemoryCost& memory) {
  return {{"parameters", memory.parameters},
          {"optimizer", memory.optimizer},
          {"gradients", memory.gradients},
          {"activations", memory.activations},
          {"saliency", memory.saliency},
          {"images", memory.images},
          {"validation", memory.validation},
          {"checkpoint", memory.checkpoint},
          {"sets", memory.sets}};
}

Cells memory_cells(const ImageMemoryCost& memory) {
  // Validation and checkpoint do not happen at the same time: the larger one counts.
  Cells cells;
  for (const int64_t part :
       {memory.parameters, memory.optimizer, memory.gradients, memory.activations, memory.saliency,
        memory.images, std::max(memory.validation, memory.checkpoint), memory.sets})
    cells.push_back(byte_text(part));
  return cells;
}

std::string per_network(const PassBytes& bytes) {
  return fmt::format("{} and {}", byte_text(bytes.fixed), byte_text(bytes.image));
}

}  // namespace

ImageCostModel::ImageCostModel(Communicator& world, const ImageTrainConfig& config,
                               const ImageSets& sets, const Settings& settings,
                               int64_t config_bytes)
    : world_(world),
      config_(config),
      sets_(sets),
      run_(image_run_shape(config, sets.classes, sets.rows, sets.validation_rows, config_bytes)) {
  run_.set_bytes = sets.bytes;

  // Bytes are counted per thread, so one thread runs all passes.
  set_threads(1);
  say_planning(settings.quiet, world_.rank(), "counting what a pass of one network saves");
  count_passes(run_);

  // pass_s is a time and differs between ranks, but it decides which grid is the fastest: all ranks
  // have to choose the same one.
  run_.pass_s = values_of_first_rank(world_, {run_.pass_s})[0];
}

std::string ImageCostModel::run_text() const {
  std::string text =
      fmt::format("{}: {} members ({}, {} parameters each), batch {} of {} x {} pixels{}{}, {}\n",
                  config_.experiment.experiment, run_.members, config_.ensemble.model,
                  run_.network->layout().parameter_count(), run_.batch, run_.size, run_.size,
                  run_.objective.same_batch ? ", the same for all" : " each",
                  run_.unlabelled > 0 ? fmt::format(", {} unlabelled", run_.unlabelled) : "",
                  optimizer_name(config_.optimizer.kind));

  // Each network sees a batch of its own. Where losses between members read a common batch, it is
  // one more pass of each network.
  const int64_t networks = run_.networks();
  text += fmt::format("  images through networks: {} per step",
                      run_.accumulation * (run_.batch * networks + run_.common_passes()));
  if (run_.batches)
    text += fmt::format(", {} per epoch; {} batches, {} steps per epoch",
                        *run_.rows * networks + *run_.batches * run_.common_passes(), *run_.batches,
                        run_.steps_per_epoch());
  text += fmt::format("; epochs {}, runs {}\n", run_.epochs, runs());
  return text + sets_.text + passes_text();
}

std::string ImageCostModel::passes_text() const {
  std::string text =
      fmt::format("  a network saves {} per image for a backward pass", per_network(run_.training));
  if (run_.common_batch())
    text +=
        fmt::format(", {} per image of the batch that all members see", per_network(run_.common));
  if (run_.derivative.image > 0)
    text +=
        fmt::format(", {} per image for the graph of a derivative", per_network(run_.derivative));
  return text + "\n";
}

void ImageCostModel::add_run_json(Json& json) const {
  json["kind"] = "images";
  json["model"] = config_.ensemble.model;
  json["members"] = run_.members;
  json["batch_size"] = run_.batch;

  json["parameters_per_member"] = run_.network->layout().parameter_count();

  // Without the images their number is unknown, and so is all that is counted per epoch.
  if (run_.batches) {
    json["images"] = *run_.rows;
    json["batches_per_epoch"] = *run_.batches;
    json["steps_per_epoch"] = run_.steps_per_epoch();
  }
  json["epochs"] = run_.epochs;
  json["runs"] = runs();
}

std::optional<GridShape> ImageCostModel::best_grid(int64_t ranks, int64_t threads_per_rank,
                                                   const MessageCost& messages) {
  return best_image_grid(run_, ranks, runs(), threads_per_rank, messages);
}

GridCost ImageCostModel::cost(const Placement& placement, const GridShape& shape,
                              const NodeResources&) {
  // Every rank opens the image sets itself, so ranks of a node share no data: node_data_bytes is 0.
  const auto memory = image_memory_cost(run_, shape, placement.threads_per_rank);
  const auto step = image_step_cost(run_, shape);
  GridCost grid{.placement = placement, .shape = shape};

  grid.rank_bytes = memory.rank();
  grid.storage = image_storage_cost(run_, shape.members * shape.data);
  grid.memory = memory_json(memory);
  grid.memory_cells = memory_cells(memory);

  grid.sections["step"] = {{"images", step.images},
                           {"exchange_bytes", step.exchange_bytes},
                           {"reduce_bytes", step.reduce_bytes},
                           {"messages", step.messages}};
  grid.message_cells = {fmt::format("{:.0f}", step.images), mean_bytes_text(step.exchange_bytes),
                        mean_bytes_text(step.reduce_bytes), std::to_string(step.messages)};
  return grid;
}

void ImageCostModel::measure(GridCost& grid, bool measures, double seconds,
                             const MessageCost& messages) {
  ImageRankTimes own;
  if (measures)
    own = calibrate_images(config_, run_, grid.shape, sets_.data ? &sets_.data->train : nullptr,
                           seconds);

  // Collective: ranks that do not measure take part with zeros.
  const auto times = merge(world_, own, measures);
  const auto time =
      image_time_cost(run_, grid.shape, runs(), times, messages, config_.data.workers);

  // Images of the members' own batches, over all runs of the grid.
  const auto images =
      static_cast<double>(grid.shape.runs * run_.accumulation * run_.networks() * run_.batch);

  grid.time = time;
  grid.times = {{"reading_s", time.reading_s}};
  grid.time_cells = {seconds_text(time.reading_s), fmt::format("{:.0f}", images / time.step_s)};
}

std::string ImageCostModel::split_batch_note() const {
  if (run_.buffers() == 0 || config_.training.batch_norm == BatchNormMode::kSynchronised)
    return CostModel::split_batch_note();
  return "BatchNorm on each data rank uses the statistics of its own part of the batch: results "
         "differ from those with fewer data ranks";
}

TableText ImageCostModel::memory_table() const {
  return {
      "`then` is the larger of validation and checkpoint, which counts if it exceeds "
      "activations, saliency and images",
      {"parameters", "optimiser", "gradients", "activations", "saliency", "images", "then", "sets"},
      "  n networks of P parameters and Q running statistics: n (P + Q) [+ n P of a moving "
      "average], states n P, gradients n P summed and n P per pass;\n"
      "  activations: what passes save and a backward pass adds, counted in passes of one and "
      "two images; sets: what opening them took; not included: what the allocator caches\n"};
}

TableText ImageCostModel::message_table() const {
  return {"images through the networks of the busiest rank, and its messages",
          {"images per rank", "received", "gradients sent", "messages"},
          "  received: accumulation x values of all members and images but its own (logits, "
          "features, maps or input gradients), per loss; gradients: 2 (d - 1) / d n P over d data "
          "ranks\n"};
}

// The passes of a batch on the first rank, as the training schedules them.
std::string ImageCostModel::step_text(const GridCost& first) const {
  constexpr int64_t kMostShown = 8;  // one line per stage has to stay readable
  const int64_t networks = part_of(run_.networks(), first.shape.members, 0).count;
  if (networks > kMostShown) return "";

  const bool synchronised =
      config_.training.batch_norm == BatchNormMode::kSynchronised && first.shape.data > 1;
  const auto schedule =
      schedule_passes({.networks = networks,
                       .threads = first.placement.threads_per_rank,
                       .on_host = true,
                       .ensemble_losses = run_.couples(),
                       .common_batch = run_.objective.has_common_batch(),
                       .labelled = !run_.objective.unlabelled,
                       .running_statistics = run_.buffers() > 0,
                       .synchronised_statistics = synchronised && run_.buffers() > 0});
  std::string text = "  passes of rank 0 on a batch, in stages (network passes | network ...):\n";
  std::istringstream stages(schedule.text());
  for (std::string stage; std::getline(stages, stage);) text += fmt::format("    {}\n", stage);
  return text;
}

TableText ImageCostModel::time_table() const {
  return {"",
          {"reading", "images/s"},
          fmt::format("  model: a step takes accumulation x (passes + reading) + update, measured "
                      "here on random images, and its messages;\n"
                      "  with data.workers reading overlaps with the passes. {}\n"
                      "  Not included: checkpoints, ranks that wait for each other because of "
                      "noise.\n",
                      sets_.data ? "Reading is measured on the first images of the set."
                                 : "Reading is not included, because the images were not found.")};
}

}  // namespace dissent::plan
