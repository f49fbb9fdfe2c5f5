#include "cli/plan_images.hpp"

#include <cstdlib>
#include <thread>

#include "cli/plan_report.hpp"
#include "config/resolved.hpp"
#include "core/parallel.hpp"
#include "data/datasets/registry.hpp"
#include "storage/atomic_file.hpp"
#include "storage/node_memory.hpp"
#include "train/image_calibration.hpp"

namespace dissent::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ImageGridCost {
  int64_t ranks = 1, ranks_per_node = 1, threads = 1;
  std::string problem = {};  // why there is no such grid
  GridShape shape = {};
  ImageStepCost step = {};
  ImageMemoryCost memory = {};
  StorageCost storage = {};
  std::optional<ImageTimeCost> time = {};
  std::vector<std::string> notes = {};
  int64_t node_bytes() const { return ranks_per_node * memory.rank(); }
};

// The sets, as far as they are there.
struct Images {
  std::optional<ImageTrainData> data;
  int64_t classes = 0;
  std::optional<int64_t> rows, validation_rows;
  int64_t bytes = 0;  // of memory that they take
  std::string text;   // for the report
};

Images find_images(const CommandLine& line, const ImageTrainConfig& config) {
  for (const char* option : {"dim", "passes", "dtype", "unlabelled-rows"})
    DISSENT_CHECK(!line.has(option), kUsage, "--{} is for a cache: data.kind is \"images\"",
                  option);
  Images images;
  const int64_t before = peak_memory_bytes();
  try {
    images.data = open_image_train_data(config);
    images.bytes = peak_memory_bytes() - before;
    images.classes = images.data->classes;
    images.rows = images.data->train.source->rows();
    if (images.data->validation) images.validation_rows = images.data->validation->source->rows();
    images.text = fmt::format("  {}, {} classes, {} of memory\n", images.data->identity,
                              images.classes, byte_text(images.bytes));
    for (const char* option : {"rows", "classes", "validation-rows"})
      DISSENT_CHECK(!line.has(option), kUsage, "--{} is for images that are not there; these are",
                    option);
    return images;
  } catch (const Error& error) {
    if (images.data) throw;
    images.text = fmt::format(
        "  the images are not there, sizes follow from the configuration and the options: {}\n",
        error.what());
  }
  const auto number = [&](const char* option) {
    const auto value = line.get<int64_t>(option);
    DISSENT_CHECK(value >= 1, kUsage, "--{}: expected an integer >= 1, found {}", option, value);
    return value;
  };
  const auto name = image_sets(config).front().second.dataset;
  for (const auto& set : dataset_table())
    if (set.name == name) images.classes = set.classes;
  if (name == "imagenet")
    images.classes = 1000;  // of OpenOOD's lists, where the name is a name only
  if (name == "imagenet200") images.classes = 200;
  images.classes = config.data.classes.value_or(images.classes);
  if (line.has("classes")) images.classes = number("classes");
  DISSENT_CHECK(
      images.classes > 0, kUsage,
      "data.dataset: {} is not there; --classes (and --rows, --validation-rows) give its shape",
      name);
  if (line.has("rows"))
    images.rows = number("rows");
  else
    images.text += "  number of images unknown, so no figures of an epoch: --rows gives it\n";
  if (line.has("validation-rows")) images.validation_rows = number("validation-rows");
  return images;
}

class ImagePlanner {
 public:
  ImagePlanner(Communicator& world, const CommandLine& line, const ImageTrainConfig& config,
               const Images& images, int64_t config_bytes)
      : world_(world),
        line_(line),
        config_(config),
        images_(images),
        runs_(static_cast<int64_t>(config.experiment.seeds.size())),
        run_(image_run_shape(config, images.classes, images.rows, images.validation_rows,
                             config_bytes)) {
    cores_ = std::max<int64_t>(1, std::thread::hardware_concurrency());
    run_.set_bytes = images.bytes;
    set_threads(1);
    say_planning(line.flag("quiet"), world_.rank(), "counting what a pass of one network keeps");
    count_passes(run_);
    const auto first = of_first(
        world_, {run_.pass_s, static_cast<double>(available_memory_bytes()),
                 static_cast<double>(free_bytes(
                     path_exists(config.experiment.output) ? config.experiment.output : "."))});
    run_.pass_s = first[0];
    available_bytes_ = static_cast<int64_t>(first[1]);
    disk_bytes_ = static_cast<int64_t>(first[2]);
    messages_measured_ =
        world_.size() > 1 && !line_.has("latency-us") && !line_.has("bandwidth-gbs");
    if (messages_measured_)
      messages_ = message_cost(world_);
    else
      messages_ = {line_.get<double>("latency-us") * 1e-6,
                   line_.get<double>("bandwidth-gbs") * 1e9};
    const auto same = of_first(world_, {messages_.latency_s, messages_.bytes_per_second});
    messages_ = {same[0], same[1]};
  }

  // The configuration's own grid on so many ranks, if it fits them.
  bool add_own(int64_t ranks, int64_t on_node) {
    GridShape shape;
    try {
      shape = resolve_grid(config_.grid, ranks, runs_, config_.ensemble.members,
                           config_.data.batch_size);
    } catch (const Error& error) {
      problem_ = error.what();
      return false;
    }
    add(ranks, on_node, shape);
    return true;
  }
  void add_count(int64_t ranks) {
    const int64_t on_node =
        std::min(ranks, line_.has("ranks-per-node") ? line_.get<int64_t>("ranks-per-node") : ranks);
    if (line_.flag("own-grid")) {
      if (!add_own(ranks, on_node)) grids_.push_back({.ranks = ranks, .problem = problem_});
      return;
    }
    const bool asked = config_.grid.members || config_.grid.data.value_or(1) > 1;
    const bool own = asked && add_own(ranks, on_node);
    if (const auto best = best_image_grid(run_, ranks, runs_, threads_of(on_node), messages_))
      add(ranks, on_node, *best);
    else if (!own)
      grids_.push_back(
          {.ranks = ranks,
           .problem = fmt::format(
               "more ranks than work, or no split of them: {} runs, {} networks, batch {}", runs_,
               run_.networks(), run_.batch)});
  }
  bool empty() const { return grids_.empty(); }
  const std::string& problem() const { return problem_; }
  std::string text() const;
  std::string json() const;

 private:
  int64_t threads_of(int64_t ranks_on_node) const {
    if (config_.runtime.threads) return *config_.runtime.threads;
    if (const char* text = std::getenv("OMP_NUM_THREADS"); text && std::atoi(text) > 0)
      return std::atoi(text);
    return std::max<int64_t>(1, cores_ / ranks_on_node);
  }

  void add(int64_t ranks, int64_t on_node, const GridShape& shape) {
    for (const auto& grid : grids_)
      if (grid.ranks == ranks && grid.shape.runs == shape.runs &&
          grid.shape.members == shape.members && grid.shape.data == shape.data)
        return;
    const int64_t threads = threads_of(on_node);
    ImageGridCost grid{.ranks = ranks,
                       .ranks_per_node = on_node,
                       .threads = threads,
                       .shape = shape,
                       .step = image_step_cost(run_, shape),
                       .memory = image_memory_cost(run_, shape, threads),
                       .storage = image_storage_cost(run_, shape.members * shape.data)};
    if (grid.node_bytes() > available_bytes_)
      grid.notes.push_back(fmt::format("a node needs {}, this one has {} available",
                                       byte_text(grid.node_bytes()), byte_text(available_bytes_)));
    if (on_node * threads > cores_)
      grid.notes.push_back(
          fmt::format("{} ranks x {} threads a node, this one has {} cores: the times are those of "
                      "nodes with a core a thread",
                      on_node, threads, cores_));
    if (shape.data > 1 && run_.buffers() > 0)
      grid.notes.push_back(
          "each data rank normalises by its own part of a batch: another training than with fewer "
          "parts");
    else if (shape.data > 1)
      grid.notes.push_back(
          "the batch is split: values agree with those of other grids to a tolerance, not bit for "
          "bit");
    if (config_.training.precision == "f16" || config_.training.precision == "tf32")
      grid.notes.push_back(fmt::format("{} is for GPUs: this is the cost in f32 on CPUs",
                                       config_.training.precision));
    if (config_.training.precision == "f64") grid.notes.push_back(kF64Note);
    if (!line_.flag("no-calibration")) time(grid);
    grids_.push_back(std::move(grid));
  }

  // As many ranks as there are here measure at the same time.
  void time(ImageGridCost& grid) {
    const int64_t measuring = std::min<int64_t>(world_.size(), grid.ranks);
    if (measuring * grid.memory.rank() > available_bytes_) {
      grid.notes.push_back("no time: its ranks do not fit the memory of this node");
      return;
    }
    set_threads(static_cast<int>(grid.threads));
    say_planning(line_.flag("quiet"), world_.rank(),
                 fmt::format("measuring steps, ranks {}, grid {} x {} x {}", grid.ranks,
                             grid.shape.runs, grid.shape.members, grid.shape.data));
    world_.barrier();
    const bool measures = world_.rank() < measuring;
    const auto own = measures ? calibrate_images(config_, run_, grid.shape,
                                                 images_.data ? &images_.data->train : nullptr,
                                                 line_.get<double>("seconds"))
                              : ImageRankTimes{};
    grid.time = image_time_cost(run_, grid.shape, runs_, merge(world_, own, measures), messages_,
                                config_.data.workers);
  }

  std::string sizes_text() const;
  Json grid_json(const ImageGridCost& grid) const;

  Communicator& world_;
  const CommandLine& line_;
  const ImageTrainConfig& config_;
  const Images& images_;
  int64_t runs_;
  ImageRunShape run_;
  int64_t cores_ = 1, available_bytes_ = 0, disk_bytes_ = 0;
  bool messages_measured_ = false;
  MessageCost messages_;
  std::vector<ImageGridCost> grids_;
  std::string problem_;
};

std::string maybe(const std::optional<double>& seconds) {
  return seconds ? duration(*seconds) : "-";
}
std::string ImagePlanner::sizes_text() const {
  std::string text =
      fmt::format("{}: {} members ({}, {} parameters each), batch {} of {} x {} pixels{}{}, {}\n",
                  config_.experiment.experiment, run_.members, config_.ensemble.model,
                  run_.network->layout().parameter_count(), run_.batch, run_.size, run_.size,
                  run_.objective.same_batch ? ", the same for all" : " each",
                  run_.unlabelled > 0 ? fmt::format(", {} unlabelled", run_.unlabelled) : "",
                  config_.optimizer.name);
  const int64_t a_step =
      run_.accumulation * (run_.batch * run_.networks() +
                           (run_.common_batch() ? run_.common_images() * run_.networks() : 0));
  text += fmt::format(
      "  images through networks: {} a step{}{}; epochs {}, runs {}\n", a_step,
      run_.batches ? fmt::format(", {} an epoch",
                                 *run_.rows * run_.networks() +
                                     (run_.common_batch()
                                          ? *run_.batches * run_.common_images() * run_.networks()
                                          : 0))
                   : "",
      run_.batches ? fmt::format("; {} batches, {} steps an epoch", *run_.batches,
                                 (*run_.batches + run_.accumulation - 1) / run_.accumulation)
                   : "",
      run_.epochs, runs_);
  text += images_.text;
  text += fmt::format("  a network keeps {} and {} an image for a backward pass",
                      byte_text(run_.training.fixed), byte_text(run_.training.image));
  if (run_.common_batch())
    text += fmt::format(", {} and {} of the batch that all see", byte_text(run_.common.fixed),
                        byte_text(run_.common.image));
  if (run_.derivative.image > 0)
    text += fmt::format(", {} and {} for the graph of a derivative",
                        byte_text(run_.derivative.fixed), byte_text(run_.derivative.image));
  return text + "\n";
}

std::string ImagePlanner::text() const {
  std::vector<std::vector<std::string>> memory{{"ranks", "grid", "parameters", "optimiser",
                                                "gradients", "activations", "saliency", "images",
                                                "then", "sets", "a rank", "a node", "of free"}},
      messages{{"ranks", "grid", "images a rank", "received", "gradients sent", "messages"}},
      times{{"ranks", "grid", "threads", "a step", "of it messages", "reading", "validation",
             "an epoch", "a run", "all runs", "images/s"}};
  std::string notes;
  const ImageGridCost* first = nullptr;
  for (const auto& grid : grids_) {
    if (!grid.problem.empty()) notes += fmt::format("  {} ranks: {}\n", grid.ranks, grid.problem);
    for (const auto& note : grid.notes) notes += fmt::format("  {} ranks: {}\n", grid.ranks, note);
    if (!grid.problem.empty()) continue;
    if (!first) first = &grid;
    const std::vector<std::string> place{
        std::to_string(grid.ranks),
        fmt::format("{} x {} x {}", grid.shape.runs, grid.shape.members, grid.shape.data)};
    const auto put = [&](auto& lines, const std::vector<std::string>& cells) {
      lines.push_back(place);
      lines.back().insert(lines.back().end(), cells.begin(), cells.end());
    };
    const auto& m = grid.memory;
    put(memory,
        {byte_text(m.parameters), byte_text(m.optimizer), byte_text(m.gradients),
         byte_text(m.activations), byte_text(m.saliency), byte_text(m.images),
         byte_text(std::max(m.validation, m.checkpoint)), byte_text(m.sets), byte_text(m.rank()),
         fmt::format("{} ({} ranks)", byte_text(grid.node_bytes()), grid.ranks_per_node),
         fmt::format("{:.0f} %", 100.0 * static_cast<double>(grid.node_bytes()) /
                                     static_cast<double>(available_bytes_))});
    put(messages, {fmt::format("{:.0f}", grid.step.images), bytes(grid.step.exchange_bytes),
                   bytes(grid.step.reduce_bytes), std::to_string(grid.step.messages)});
    if (!grid.time) continue;
    const auto& t = *grid.time;
    const double own =
        static_cast<double>(grid.shape.runs * run_.accumulation * run_.networks() * run_.batch);
    put(times, {std::to_string(grid.threads), duration(t.step_s), duration(t.exchange_s),
                duration(t.reading_s), duration(t.validation_s), maybe(t.epoch_s), maybe(t.run_s),
                maybe(t.total_s), fmt::format("{:.0f}", own / t.step_s)});
  }
  std::string text = sizes_text();
  if (first) {
    text += fmt::format(
        "  on disk: checkpoint {}; {} at most while one is written, logs {}; {} free; all runs "
        "{}\n",
        byte_text(first->storage.checkpoint), byte_text(first->storage.peak),
        byte_text(first->storage.logs), byte_text(disk_bytes_),
        byte_text(runs_ * first->storage.peak));
    text += fmt::format(
        "\nMemory at the peak; each rank {} of libraries besides; `then`: the larger of validation "
        "and checkpoint, if that is more than activations, saliency and images; free now {}\n",
        byte_text(kBaseBytes), byte_text(available_bytes_));
    text += text_table(memory, 2) +
            "  n networks of P parameters and Q running statistics: n (P + Q) [+ n P of a moving "
            "average], states n P, gradients n P summed and n P a pass;\n"
            "  activations: what passes keep and a backward pass adds, counted in passes of one "
            "and two images; sets: what opening them took; not in it: what the allocator keeps\n";
    text += "\nA step: images through the networks of the busiest rank, and its messages\n" +
            text_table(messages, 2) +
            "  received: accumulation x values of all members and images but its own (logits, "
            "features, maps or input gradients), a loss; gradients: 2 (d - 1) / d n P over d data "
            "ranks\n";
  }
  if (times.size() > 1) {
    text += "\nTime on CPUs; grid = runs x members x data\n" + text_table(times, 2);
    text += fmt::format(
        "  model: a step takes accumulation x (passes + reading) + update, measured here on random "
        "images, and its messages ({:.3g} us each and {:.3g} GB/s, {});\n"
        "  with data.workers reading goes on beside the passes. {}\n  Not in it: checkpoints, "
        "ranks that wait for each other because of noise.\n",
        messages_.latency_s * 1e6, messages_.bytes_per_second * 1e-9,
        messages_measured_ ? "measured" : "assumed",
        images_.data ? "Reading is that of the first images of the set."
                     : "Reading is not in it: the images are not there.");
  }
  return notes.empty() ? text : text + "\n" + notes;
}

Json ImagePlanner::grid_json(const ImageGridCost& grid) const {
  auto json = place_json(grid);
  if (!grid.problem.empty()) return json;
  const auto& m = grid.memory;
  json["memory"] = {{"base", m.base},
                    {"parameters", m.parameters},
                    {"optimizer", m.optimizer},
                    {"gradients", m.gradients},
                    {"activations", m.activations},
                    {"saliency", m.saliency},
                    {"images", m.images},
                    {"validation", m.validation},
                    {"checkpoint", m.checkpoint},
                    {"sets", m.sets},
                    {"rank", m.rank()},
                    {"data_node", 0},
                    {"resident_rank", m.rank()},
                    {"node", grid.node_bytes()},
                    {"available", available_bytes_}};
  json["step"] = {{"images", grid.step.images},
                  {"exchange_bytes", grid.step.exchange_bytes},
                  {"reduce_bytes", grid.step.reduce_bytes},
                  {"messages", grid.step.messages}};
  json["storage"] = {{"checkpoint", grid.storage.checkpoint},
                     {"peak", grid.storage.peak},
                     {"logs", grid.storage.logs}};
  if (grid.time) {
    const auto& t = *grid.time;
    json["time"] = {{"step_s", t.step_s},
                    {"exchange_s", t.exchange_s},
                    {"reading_s", t.reading_s},
                    {"validation_s", t.validation_s}};
    if (t.epoch_s)
      json["time"]["epoch_s"] = *t.epoch_s, json["time"]["run_s"] = *t.run_s,
      json["time"]["total_s"] = *t.total_s;
  }
  json["notes"] = grid.notes;
  return json;
}

std::string ImagePlanner::json() const {
  Json json{{"format", "dissent-plan"},
            {"version", 1},
            {"experiment", config_.experiment.experiment},
            {"kind", "images"},
            {"model", config_.ensemble.model}};
  json["members"] = run_.members;
  json["batch_size"] = run_.batch;
  json["parameters_per_member"] = run_.network->layout().parameter_count();
  if (run_.batches)
    json["images"] = *run_.rows, json["batches_per_epoch"] = *run_.batches,
    json["steps_per_epoch"] = (*run_.batches + run_.accumulation - 1) / run_.accumulation;
  json["epochs"] = run_.epochs;
  json["runs"] = runs_;
  json["messages"] = {{"latency_s", messages_.latency_s},
                      {"bytes_per_second", messages_.bytes_per_second},
                      {"measured", messages_measured_}};
  for (const auto& grid : grids_) json["grids"].push_back(grid_json(grid));
  return json.dump(2) + "\n";
}

}  // namespace

int plan_images(Runtime& runtime, const CommandLine& line, const config::Document& document,
                const std::vector<int64_t>& counts) {
  auto config = read_image_train_config(document);
  apply_runtime(runtime, config.runtime.threads, config.runtime.timeout_s);
  auto& world = runtime.world();
  Images images;
  agree(world, [&] {
    DISSENT_CHECK(config.runtime.device != "cuda", kUsage,
                  "runtime.device = \"cuda\": the cost model is that of training on CPUs; --set "
                  "runtime.device=cpu gives it");
    images = find_images(line, config);
  });
  auto node = world.split_by_node();
  ImagePlanner planner(
      world, line, config, images,
      static_cast<int64_t>(config::result_toml(image_train_schema(config)).size()));
  const bool own = planner.add_own(world.size(), node->size());
  // A grid for other ranks than these is fine where --ranks names them.
  agree(world, [&] { DISSENT_CHECK(own || !counts.empty(), kUsage, "{}", planner.problem()); });
  for (const int64_t count : counts) planner.add_count(count);
  if (world.rank() == 0) fmt::print("{}", line.flag("json") ? planner.json() : planner.text());
  return 0;
}

}  // namespace dissent::cli
